package pleoauth_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestAGrantThatNobodyUsesIsKeptAliveByWhicheverReplicaComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.cfg.KeepAlive = 4 * time.Hour
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		b.Start()
		time.Sleep(40 * time.Hour)
		refreshes := w.pleo.Counters().Refreshes
		require.GreaterOrEqual(t, refreshes, 10)
		require.LessOrEqual(t, refreshes, 12)
		require.Zero(t, w.pleo.Counters().Replays)
		w.token(a, "default")
	})
}

func TestAMarkThatACrashHasLeftIsSettledWithoutAnyCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		b.Start()
		r := w.store.record("default")
		r.Mark = &pleoauth.Mark{Nonce: "left", Version: r.Version, Kind: pleoauth.MarkRefresh, Life: 15 * time.Second}
		r.Due = time.Now()
		w.store.put("default", r)
		time.Sleep(3 * time.Minute)
		require.Nil(t, w.store.record("default").Mark)
		require.Equal(t, 1, w.pleo.Counters().Refreshes)
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func TestATombstoneIsRemovedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		require.NoError(t, a.Disconnect(t.Context(), "default"))
		a.stop()
		time.Sleep(88 * 24 * time.Hour)
		w.replica().Start()
		time.Sleep(24 * time.Hour)
		require.Equal(t, pleoauth.StateDisconnected, w.store.record("default").State)
		time.Sleep(2 * 24 * time.Hour)
		require.Empty(t, w.store.record("default").State)
	})
}

func TestAConnectionThatIsDueForNothingIsPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		record := w.store.record("default")
		record.Due = time.Now()
		w.store.put("default", record)
		time.Sleep(2 * time.Minute)
		require.Greater(t, time.Until(w.store.record("default").Due), 20*24*time.Hour)
		require.Zero(t, w.pleo.Counters().RefreshRequests)
	})
}

// A user who authorises a connection that was disconnected, and does not come to
// the end of it, must not bring the tombstone to its own.
func TestATombstoneOutlivesAnAuthorisationThatCameToNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		require.NoError(t, a.Disconnect(t.Context(), "default"))
		for _, name := range []string{"default", "never"} {
			w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.AfterProcessing})
			_, err := w.tryAuthorise(b, pleoauth.AuthorisationRequest{Connection: name}, "")
			require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)
		}
		r := w.store.record("default")
		r.Mark = &pleoauth.Mark{Nonce: "left", Version: r.Version, Kind: pleoauth.MarkAuthorise, Life: 15 * time.Second}
		w.store.put("default", r)
		time.Sleep(time.Hour)
		require.Equal(t, pleoauth.StateDisconnected, w.store.record("default").State)
		require.True(t, w.store.record("never").Empty(), "nothing is left of what never was")
	})
}

// A store's index may hold what this package has not put there, or what it can
// do nothing about.
func TestNamesThatNothingCanBeDoneAboutDoNotKeepOthersFromTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := range 100 {
			w.store.strayDue = append(w.store.strayDue, fmt.Sprintf("stray %d", i))
		}
		w.cfg.KeepAlive = time.Hour
		a := w.replica()
		w.authorise(a, "default", "")
		time.Sleep(65 * time.Minute)
		require.Equal(t, 1, w.pleo.Counters().Refreshes)
		w.token(a, "default")
	})
}
