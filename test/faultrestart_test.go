package test

import (
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestFaultThreeReplicasRestartedAtOnceWithAnExpiredTokenRefreshItOnce(t *testing.T) {
	t.Parallel()
	const row = "all replicas restarted at once"
	e, replicas := replicasOn(t, "redis "+redistest.Start(t, redistest.WithAppendOnly()).URL())
	rounds := count(1, 5)
	var calls, refreshes, introspections int
	var longest time.Duration
	for range rounds {
		for _, p := range replicas {
			p.stop(t, syscall.SIGTERM)
		}
		e.awaitExpiry(t)
		e.ResetCounters()
		e.SetAccessTokenLife(15 * time.Minute)

		// Callers are there before the replicas are.
		began := time.Now()
		var all sync.WaitGroup
		for _, p := range replicas {
			all.Go(func() { p.restart(t) })
			for range 20 {
				all.Go(func() { awaitUse(t, p, "default") })
			}
		}
		all.Wait()
		longest = max(longest, time.Since(began))
		c := e.Counters()
		require.Equal(t, 1, c.RefreshRequests)
		e.requireAsked(t, 0, 1) // by the replica that refreshes, and by no other
		calls, refreshes, introspections = calls+c.APICalls, refreshes+c.RefreshRequests, introspections+c.Introspections
		require.Zero(t, c.Replays)

		// The next round needs a token that expires.
		e.SetAccessTokenLife(shortLife)
		require.Equal(t, http.StatusOK, replicas[0].admin(t, http.MethodPost, "/pleo/connections/default/refresh", "", nil).status)
	}
	figure(t, row, "times", rounds)
	figure(t, row, "calls meanwhile", calls)
	figure(t, row, "refreshes", refreshes)
	figure(t, row, "introspections", introspections)
	figure(t, row, "longest from the start of the processes until all callers were answered", rounded(longest))
}

func TestFaultAReloadInMidRefreshLosesNothingAndRefreshesOnce(t *testing.T) {
	t.Parallel()
	const row = "reloaded in mid-refresh"
	s := startStand(t)
	rounds := count(2, 10)
	var longest time.Duration
	for round := range rounds {
		name := []string{"before", "after"}[round%2]
		s.connect(t, name)
		s.e.ResetCounters()
		hold := s.e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: stages[round%2]})
		s.call(t, s.first, name)
		await(t, hold)
		changed := s.first.config
		changed.site = map[bool]string{true: "header X-Reload a", false: "header X-Reload b"}[round/2%2 == 0]
		code, out := s.first.reload(t, changed)
		require.Zero(t, code, out)
		hold.Release()

		began := time.Now()
		awaitUse(t, s.first, name)
		longest = max(longest, time.Since(began))
		awaitUse(t, s.second, name)
		c := s.e.Counters()
		require.Equal(t, 1, c.RefreshRequests)
		s.e.requireAsked(t, 0, 1) // before it left: there is nothing to settle
		require.Zero(t, c.Replays)
	}
	figure(t, row, "times", rounds)
	figure(t, row, "longest from Pleo's answer until it was in use", rounded(longest))
	figure(t, row, "replays", s.e.Counters().Replays)
}
