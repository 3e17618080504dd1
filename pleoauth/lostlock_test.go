package pleoauth_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// expiredCountingDials returns a replica whose token has expired, and a count of
// its connections to Pleo from then on.
func expiredCountingDials(w *world) (*replica, *atomic.Int64) {
	dials := new(atomic.Int64)
	a := w.replicaDialling(func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return w.dial(ctx, network, address)
	})
	w.authorise(a, "default", "")
	time.Sleep(idle)
	dials.Store(0)
	return a, dials
}

// The lock saves work and no more: a store that forgets it, as in a failover,
// holds up neither calls nor the refresh, and Pleo is not dialled again and again.
func TestALockThatIsLostBeforeTheMarkIsWrittenHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, dials := expiredCountingDials(w)
		var once sync.Once
		a.store.onStep(func(op, when string) error {
			if op == "swap" && when == "before" {
				once.Do(w.store.loseLocks)
			}
			return nil
		})
		began := time.Now()
		token, err := a.Token(t.Context(), "default")
		require.LessOrEqual(t, time.Since(began), a.Config().RefreshTimeout, "%d dials later: %v", dials.Load(), err)
		require.NoError(t, err)
		require.True(t, w.lives(token))
		require.Equal(t, 1, w.pleo.Counters().Refreshes)
		require.LessOrEqual(t, dials.Load(), int64(4), "to ask and to refresh, and once more")
	})
}

func TestAStoreThatKeepsNoLockHoldsNoCallAndDialsPleoSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, dials := expiredCountingDials(w)
		a.store.onStep(func(op, when string) error {
			if op == "swap" && when == "before" {
				w.store.loseLocks()
			}
			return nil
		})
		began := time.Now()
		for time.Since(began) < time.Minute {
			asked := time.Now()
			_, err := a.Token(t.Context(), "default")
			require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable)
			require.LessOrEqual(t, time.Since(asked), a.Config().RefreshTimeout)
			time.Sleep(50 * time.Millisecond)
		}
		require.Zero(t, w.pleo.Counters().RefreshRequests)
		require.Less(t, dials.Load(), int64(120))

		a.store.onStep(nil)
		time.Sleep(2 * time.Second)
		w.token(a, "default")
	})
}
