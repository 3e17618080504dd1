package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// A user disconnects, tries to connect again, and that fails. The tombstone has
// to stay: a replica that was cut off still holds a pair from before.
func TestAFailedConsentDoesNotTakeTheTombstoneAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		heldBy(t, w, a)
		time.Sleep(20 * time.Second)
		require.NoError(t, b.Disconnect(t.Context(), "default"))

		begun := begin(t, b, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		cb := callback(t, back, begun)
		cb.Code = "no such code"
		_, err = b.CompleteAuthorisation(t.Context(), cb)
		require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)
		time.Sleep(2 * time.Minute) // the sweep comes by

		a.store.setAway(false)
		time.Sleep(time.Minute)
		require.Equal(t, pleoauth.StateDisconnected, w.store.record("default").State, "the disconnect is undone")
	})
}
