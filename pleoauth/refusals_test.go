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

// An address that refuses new connections does not prove that the server behind
// it has ended: a Kubernetes service whose only pod is not ready refuses them,
// while those that exist go on. One replica is refused for longer than a mark
// lives; the other goes on in the old run, and is refreshing when the server
// restarts without its last write.
func TestARefusalOfNewConnectionsDoesNotProveThatNobodyIsRefreshing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store.single = true
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")

		b.store.setAway(true) // its subscription goes on, too
		until := time.Now().Add(20 * time.Second)
		for time.Now().Before(until) {
			_, err := b.Connection(t.Context(), "default")
			require.Error(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayBefore: 8 * time.Second})
		go func() { _ = a.Refresh(context.Background(), "default") }()
		<-hold.Reached()
		w.store.failover(1)
		b.store.setAway(false)
		go func() { _ = b.Refresh(context.Background(), "default") }()
		time.Sleep(time.Minute)
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

// A server that is restarted over and over is up for moments in between. A run
// in which a mark was written has ended later than refusals before it tell.
func TestARunBetweenTwoRefusalsIsNotCountedAsOverBeforeItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store.single = true
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")

		for _, r := range []*replica{a, b} {
			r.store.setAway(true)
			r.store.queue.put(pleoauth.Notice{Kind: pleoauth.NoticeLost})
			time.Sleep(250 * time.Millisecond) // they do not look out at the same moments
		}
		time.Sleep(20 * time.Second)
		// The server is up for less than half a second, in which A may get through.
		// B sees that it is up.
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayBefore: 8 * time.Second})
		w.store.failover(0)
		a.store.setAway(false)
		b.store.setAway(false)
		up, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
		defer cancel()
		go func() {
			for up.Err() == nil && a.Refresh(up, "default") != nil {
				time.Sleep(20 * time.Millisecond)
			}
		}()
		<-up.Done()
		require.Equal(t, 1, hold.Hits())
		// It ends again, and what was written in that moment is not on its disk.
		w.store.failover(4)
		go func() { _ = b.Refresh(context.Background(), "default") }()
		time.Sleep(time.Minute)
		require.Zero(t, w.pleo.Counters().Replays)
	})
}
