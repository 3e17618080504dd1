package pleoauth_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestCallersWithADeadTokenShareOneIntrospectionAndOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
		before := w.pleo.Counters()
		var calls sync.WaitGroup
		for range 50 {
			calls.Go(func() {
				next, err := r.Refused(t.Context(), "default", token)
				if err != nil || !w.lives(next) {
					t.Errorf("a caller got no live token: %v", err)
				}
			})
		}
		calls.Wait()
		after := w.pleo.Counters()
		require.Equal(t, 2, after.Introspections-before.Introspections, "of the refused token, and of the refresh token before it is spent")
		require.Equal(t, 1, after.RefreshRequests-before.RefreshRequests)
	})
}

func TestACallerWhoIsLateToAskWhetherATokenLivesDoesNotAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
		before := w.pleo.Counters()
		late := r.JudgeLate(t.Context(), "default")
		asked := make(chan error, 1)
		r.store.onStep(func(op, when string) error {
			if op == "lock" && when == "before" && len(asked) == 0 {
				asked <- late()
			}
			return nil
		})
		next, err := r.Refused(t.Context(), "default", token)
		require.NoError(t, err)
		require.True(t, w.lives(next))
		require.NoError(t, <-asked)
		after := w.pleo.Counters()
		require.Equal(t, 2, after.Introspections-before.Introspections, "of the refused token, and of the refresh token before it is spent")
		require.Equal(t, 1, after.RefreshRequests-before.RefreshRequests)
	})
}

func TestARefusedTokenThatLivesIsTheApplicationsOwnAffair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		before := w.pleo.Counters()
		for range 100 {
			_, err := r.Refused(t.Context(), "default", token)
			require.ErrorIs(t, err, pleoauth.ErrTokenAlive)
		}
		after := w.pleo.Counters()
		require.Equal(t, 1, after.Introspections-before.Introspections)
		require.Zero(t, after.RefreshRequests-before.RefreshRequests)
	})
}

func TestARefusedTokenThatIsNoLongerCurrentIsReplacedWithoutAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		old := w.token(a, "default")
		w.token(b, "default")
		require.NoError(t, b.Refresh(t.Context(), "default"))
		before := w.pleo.Counters()
		next, err := a.Refused(t.Context(), "default", old)
		require.NoError(t, err)
		require.True(t, w.lives(next))
		require.Equal(t, before, w.pleo.Counters())
	})
}

func TestAnAPIThatRefusesEveryTokenDoesNotRotateThemForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		replicas := []*replica{w.replica(), w.replica()}
		w.authorise(replicas[0], "default", "")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Times: pleotest.Always, AccessDeadOnArrival: true})
		w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
		before := w.pleo.Counters()
		for range 600 {
			for _, r := range replicas {
				if token, err := r.Token(t.Context(), "default"); err == nil {
					_, _ = r.Refused(t.Context(), "default", token)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		after := w.pleo.Counters()
		require.LessOrEqual(t, after.RefreshRequests-before.RefreshRequests, 3, "in a minute")
		require.LessOrEqual(t, after.Introspections-before.Introspections, 8, "in a minute")
		require.Zero(t, after.Replays)
	})
}

func TestARefusedTokenThatCannotBeAskedAboutIsUnsettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		before := w.pleo.Counters()
		for range 100 {
			_, err := r.Refused(t.Context(), "default", token)
			require.ErrorIs(t, err, pleoauth.ErrRefreshUnsettled)
		}
		require.Equal(t, 1, w.pleo.Counters().Introspections-before.Introspections)
		w.pleo.ClearFaults()
		time.Sleep(2 * time.Second)
		_, err := r.Refused(t.Context(), "default", token)
		require.ErrorIs(t, err, pleoauth.ErrTokenAlive)
	})
}

func TestTokensThatExpireAtOnceAndAreRefusedAreRefreshedForOneReasonNotForTwoInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.pleo.Fault(pleotest.Fault{
			Endpoint: pleotest.Token, Times: pleotest.Always, Set: map[string]any{"expires_in": 0}, AccessDeadOnArrival: true,
		})
		r := w.replica()
		begun := begin(t, r, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		_, err = r.CompleteAuthorisation(t.Context(), callback(t, back, begun))
		require.NoError(t, err)
		for range 600 {
			if token, err := r.Token(t.Context(), "default"); err == nil {
				_, _ = r.Refused(t.Context(), "default", token)
			}
			time.Sleep(100 * time.Millisecond)
		}
		require.LessOrEqual(t, w.pleo.Counters().Refreshes, 65, "in a minute")
	})
}

// When a store comes back, it is back for one replica before it is for the others,
// whose tokens its refresh kills.
func TestACallRefusedByTheRefreshOfAReplicaThatTheStoreIsBackForEarlierWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithAccessTokenLife(time.Minute))
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		old := w.token(b, "default")
		for _, r := range []*replica{a, b} {
			r.store.setAway(true)
			r.store.queue.put(pleoauth.Notice{Kind: pleoauth.NoticeLost})
		}
		time.Sleep(31 * time.Second)
		for range 20 { // it is due, and cannot be refreshed
			w.token(b, "default")
			time.Sleep(100 * time.Millisecond)
		}
		a.store.setAway(false)
		require.NoError(t, a.Refresh(t.Context(), "default"))
		time.AfterFunc(100*time.Millisecond, func() { b.store.setAway(false) })
		token, err := b.Refused(t.Context(), "default", old)
		require.NoError(t, err)
		require.True(t, w.lives(token))
	})
}
