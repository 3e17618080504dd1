package pleoauth_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// A user connects again after a disconnect, and a failover loses the write: the
// tombstone is back, and it is older than the grant that every replica holds.
func TestAConsentAfterADisconnectOutlivesAFailoverThatLosesItsWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		require.NoError(t, a.Disconnect(t.Context(), "default"))
		time.Sleep(time.Second)
		w.authorise(a, "default", "")
		w.token(b, "default")
		w.store.failover(1)
		time.Sleep(time.Minute)
		for range 60 {
			_, _ = a.Token(t.Context(), "default")
			_, _ = b.Token(t.Context(), "default")
			time.Sleep(time.Minute)
		}
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
		w.token(a, "default")
		w.token(b, "default")
	})
}

// The answer to a disconnect is long in coming; meanwhile the user has connected
// again, and this replica knows.
func TestAnAnswerAboutATombstoneThatWasOvertakenDoesNotHideTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		hold := make(chan struct{})
		held := atomic.Bool{}
		a.store.onStep(func(op, when string) error {
			if op == "swap" && when == "after" && held.CompareAndSwap(false, true) {
				<-hold
			}
			return nil
		})
		done := make(chan error, 1)
		go func() { done <- a.Disconnect(t.Context(), "default") }()
		synctest.Wait()
		w.authorise(b, "default", "")
		synctest.Wait()
		w.token(a, "default") // it has learnt of the new grant
		close(hold)
		require.NoError(t, <-done)
		synctest.Wait()
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
		w.token(a, "default")
	})
}

// The sweep removes a tombstone when its time is over. Calls for the name are
// answered from memory as before.
func TestANameWhoseTombstoneIsGoneCostsNoReadForEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		require.NoError(t, a.Disconnect(t.Context(), "default"))
		_, err := a.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
		w.store.remove("default")
		w.store.repeat("default", 0)
		time.Sleep(time.Minute)
		reads := countReads(a)
		for range 100 {
			_, err := a.Token(t.Context(), "default")
			require.ErrorIs(t, err, pleoauth.ErrNotConnected)
			time.Sleep(10 * time.Millisecond)
		}
		require.LessOrEqual(t, reads.Load(), int64(2), "reads of the store for a hundred calls in a second")
	})
}

// remove takes a record out, as a sweep, an eviction or a FLUSHDB does.
func (m *memServer) remove(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, name)
}

// The store is away, and calls for a name without a grant go on: they are
// answered from memory, and the store is not asked once for each.
func TestANameWithoutAGrantCostsNoReadForEachCallWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		require.NoError(t, a.Disconnect(t.Context(), "default"))
		_, err := a.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
		reads := atomic.Int64{}
		a.store.onStep(func(op, when string) error {
			if op == "watch" && when == "before" { // each look at the store begins so
				reads.Add(1)
			}
			return nil
		})
		a.store.setAway(true)
		time.Sleep(time.Minute)
		reads.Store(0)
		for range 1000 {
			_, err := a.Token(t.Context(), "default")
			require.ErrorIs(t, err, pleoauth.ErrNotConnected)
			time.Sleep(10 * time.Millisecond)
		}
		require.LessOrEqual(t, reads.Load(), int64(20), "looks at the store in ten seconds, for a thousand calls")
	})
}
