package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// While Pleo does not say whether a refused token lives, it is asked with a
// growing delay, however many calls are refused.
func TestARefusedTokenThatCannotBeAskedAboutIsAskedAboutWithAGrowingDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		before := w.pleo.Counters()
		for range 1200 {
			_, _ = r.Refused(t.Context(), "default", token)
			time.Sleep(100 * time.Millisecond)
		}
		require.Less(t, w.pleo.Counters().Introspections-before.Introspections, 12, "introspections in two minutes")
	})
}

func TestATokenThatIsKnownToBeDeadIsNotHandedOutAfterItsRecordIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
		require.NoError(t, r.JudgeLate(t.Context(), "default")())
		r.GiveUp("default")
		next, err := r.Refused(t.Context(), "default", token)
		require.NoError(t, err)
		require.True(t, w.lives(next))
	})
}

func TestAReplicaWhoseNewTokenIsDeadTooLearnsOfANewConsentThoughItMissesTheNotice(t *testing.T) {
	for name, missed := range map[string]func(r *replica, meanwhile func()){
		"the subscription drops it": func(r *replica, meanwhile func()) {
			r.store.setDeaf(true)
			meanwhile()
		},
		"the store is away": func(r *replica, meanwhile func()) {
			r.store.setAway(true)
			meanwhile()
			r.store.setAway(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a, b := w.replica(), w.replica()
				w.authorise(a, "default", "")
				first := w.token(a, "default")
				w.token(b, "default")
				w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
				second, err := a.Refused(t.Context(), "default", first)
				require.NoError(t, err)
				w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
				_, err = a.Refused(t.Context(), "default", second)
				require.ErrorIs(t, err, pleoauth.ErrRefreshFailed)
				missed(a, func() { w.authorise(b, "default", "") })
				time.Sleep(1100 * time.Millisecond)
				next, err := a.Refused(t.Context(), "default", second)
				require.NoError(t, err)
				require.True(t, w.lives(next))
			})
		})
	}
}

func TestATokenKnownToBeDeadIsReadAnewAfterAFailoverAndItsSuccessorIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		first := w.token(b, "default")
		w.token(a, "default")
		w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
		second, err := b.Refused(t.Context(), "default", first)
		require.NoError(t, err)
		time.Sleep(time.Second)
		w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
		_, err = a.Refused(t.Context(), "default", second)
		require.ErrorIs(t, err, pleoauth.ErrRefreshFailed)
		b.stop()
		c := w.replica()
		require.NoError(t, c.Disconnect(t.Context(), "default"))
		time.Sleep(100 * time.Millisecond)
		_, err = a.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
		w.store.failover(1) // forgets the disconnect
		time.Sleep(100 * time.Millisecond)
		again, err := a.Token(t.Context(), "default")
		require.NoError(t, err)
		require.Equal(t, second.Version(), again.Version())
		a.store.setAway(true)
		w.authorise(c, "default", "")
		a.store.setAway(false)
		time.Sleep(1100 * time.Millisecond)
		next, err := a.Refused(t.Context(), "default", again)
		require.NoError(t, err)
		require.True(t, w.lives(next))
	})
}
