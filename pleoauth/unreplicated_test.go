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

// A pair that is stored but not confirmed by replicas is used by all: another
// replica may be sending its token when a failover loses both the pair and the
// mark. Whoever puts it back does so with an unknown mark.
func TestAPairThatWasStoredUnconfirmedIsPutBackWithAnUnknownMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		before := w.store.record("default")

		// A's pair is stored while replicas confirm nothing, and held.
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
		done := make(chan error, 1)
		go func() { done <- a.Refresh(context.Background(), "default") }()
		<-hold.Reached()
		w.store.setLagging(true)
		hold.Release()
		require.NoError(t, <-done)
		stored := w.store.record("default")
		require.NotEqual(t, before.Version, stored.Version)
		for a.Health(t.Context()).Unsaved == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		a.store.setAway(true)
		w.store.loseLocks()
		w.store.setLagging(false)

		// B has read it, and its request with that pair's token travels.
		travels := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayBefore: 9 * time.Second})
		for w.token(b, "default").Version() != stored.Version {
			time.Sleep(100 * time.Millisecond)
		}
		go func() { _ = b.Refresh(context.Background(), "default") }()
		<-travels.Reached()
		b.store.setAway(true) // or killed

		// A server takes over that has none of it; a third replica, which knows
		// only what that has, is the first to mark it there.
		w.store.failover(0)
		old := before
		old.Epoch, old.Mark = w.store.runNow(), &pleoauth.Mark{Nonce: "u", Version: before.Version, Kind: pleoauth.MarkUnknown, EarlierRun: true, Life: 15 * time.Second}
		w.store.put("default", old)
		a.store.setAway(false)
		time.Sleep(3 * time.Second)
		back := w.store.record("default")
		require.Equal(t, stored.Version, back.Version, "A has put it back")
		c := w.replica()
		go func() { _ = c.Refresh(context.Background(), "default") }()
		time.Sleep(time.Minute)
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func (m *memServer) runNow() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.run
}
