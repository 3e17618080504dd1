package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestStatsCountConnectionsByState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		require.Zero(t, a.Stats().OldestGrant)
		w.authorise(a, "first", "")
		time.Sleep(time.Minute)
		w.authorise(a, "second", "")
		w.authorise(a, "third", "")
		require.NoError(t, a.Disconnect(t.Context(), "third"))
		_, err := a.Token(t.Context(), "nobody")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
		st := a.Stats()
		require.Equal(t, map[pleoauth.State]int{pleoauth.StateConnected: 2, pleoauth.StateDisconnected: 1, "": 1}, st.Connections)
		require.InDelta(t, time.Minute, st.OldestGrant, float64(time.Second))
		require.Zero(t, st.Unsaved)
	})
}

func TestStatsCountAGrantThatTheStoreHasNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		heldBy(t, w, a)
		require.Equal(t, int64(1), a.Stats().Unsaved)
		a.store.setAway(false)
		time.Sleep(time.Minute)
		require.Zero(t, a.Stats().Unsaved)
		require.Regexp(t, `level=ERROR msg="the grant is not safe in the store.* connection=default generation=2 .*result=held`, w.log.String())
		require.Regexp(t, `level=INFO msg="a held grant has been dealt with" connection=default generation=2 duration=\S+ result=stored`, w.log.String())
	})
}

// A replica that uses none of the connections finds the grants that nobody
// renews, since its sweeps do.
func TestAGrantThatSweepsCannotRenewShowsItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.KeepAlive = 4 * time.Hour
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		a.stop()
		seen := observe(b)
		b.Start()
		fault := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 429, Times: pleotest.Always})
		require.Zero(t, b.Stats().OldestGrant)
		for range 96 {
			time.Sleep(10 * time.Minute)
			if age := b.Stats().OldestGrant; age > 0 {
				require.Greater(t, age, 3*time.Hour+30*time.Minute)
			}
		}
		require.Greater(t, b.Stats().OldestGrant, 15*time.Hour)
		fault.Remove()
		time.Sleep(time.Hour)
		require.Less(t, b.Stats().OldestGrant, time.Hour)
		require.Equal(t, 1, b.Stats().Connections[pleoauth.StateConnected], "it is kept by the one that stored it")
		require.Positive(t, seen.now()["swept done 1"])
		require.Positive(t, seen.now()["swept done 0"])
	})
}

func TestASweepThatCannotAskTheStoreHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		seen := observe(a)
		a.store.setAway(true)
		a.Start()
		time.Sleep(time.Minute)
		require.Positive(t, seen.now()["swept failed 0"])
		require.Positive(t, seen.now()["store due"])
	})
}
