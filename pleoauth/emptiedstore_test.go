package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A consent comes after the one that this process knows, although the store has
// forgotten that and the clock was ahead when it was given.
func TestAConsentInAnEmptiedStoreComesAfterTheOneThatThisProcessKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		ahead := w.store.record("default")
		ahead.Seq += (10 * time.Minute).Milliseconds()
		ahead.Version = "ahead"
		w.store.put("default", ahead)
		w.token(b, "default")
		a.stop()

		w.store.failover(-1)
		w.authorise(b, "default", "")
		consented := w.store.record("default")
		require.NotEqual(t, ahead.Lineage, consented.Lineage, "an older grant was put back instead")
		time.Sleep(time.Minute)
		require.Equal(t, consented.Lineage, w.store.record("default").Lineage)
		w.token(b, "default")
	})
}

// Whose connection it is, is known here although the store has forgotten it.
func TestAnotherCompanyDoesNotTakeAConnectionOverWhileTheStoreHasForgottenWhoseItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		subject := w.store.record("default").Subject
		w.store.failover(-1)
		_, err := w.tryAuthorise(a, pleoauth.AuthorisationRequest{Connection: "default"}, pleotest.Companies()[1].Name)
		require.ErrorIs(t, err, pleoauth.ErrOtherSubject)
		time.Sleep(time.Minute)
		require.Equal(t, subject, w.store.record("default").Subject)
		w.token(a, "default")
	})
}
