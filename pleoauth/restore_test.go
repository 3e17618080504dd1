package pleoauth_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// emptiedInMidRefresh has a replica refresh, and the store forget everything
// before the answer is there.
func emptiedInMidRefresh(w *world, a *replica) (answer func()) {
	hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.AfterProcessing})
	go func() { _ = a.Refresh(context.Background(), "default") }()
	<-hold.Reached()
	w.store.failover(-1)
	return hold.Release
}

func TestAReplicaWhoseGrantIsDeadInAnEmptiedStoreWaitsForWhoeverHasTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		old := w.token(b, "default")
		time.AfterFunc(500*time.Millisecond, emptiedInMidRefresh(w, a))
		token, err := b.Refused(t.Context(), "default", old)
		require.NoError(t, err, "and not that it is not connected")
		require.NotEqual(t, old.Version(), token.Version())
		require.True(t, w.lives(token))
	})
}

func TestAGrantThatIsDeadInAnEmptiedStoreAndThatNobodyHasTheNextOfIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.authorise(a, "default", "")
		w.token(b, "default")
		release := emptiedInMidRefresh(w, a)
		a.store.setAway(true) // for ever
		time.Sleep(5 * time.Second)
		_, err := b.Token(t.Context(), "default")
		var ended *pleoauth.TokenError
		require.ErrorAs(t, err, &ended)
		require.ErrorIs(t, err, pleoauth.ErrReauthorisationRequired)
		require.Equal(t, pleoauth.ReasonLostResponse, ended.Reason)
		require.EqualValues(t, 2, w.store.record("default").Generation, "the order of grants is kept")

		release()
		a.store.setAway(false)
		time.Sleep(5 * time.Second)
		w.token(b, "default") // its holder was not dead after all
	})
}

// The version tells what a record has, whatever its place in the order: a consent
// that was stored again in an emptied store may have another one there.
func TestARecordWithTheSameVersionIsTheSameGrantWhateverItsGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		require.NoError(t, a.Refresh(t.Context(), "default"))
		r := w.store.record("default")
		r.Generation--
		w.store.put("default", r)
		require.NoError(t, a.Refresh(t.Context(), "default"))
		w.token(a, "default")
	})
}
