package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestLoadOfFiftyCallersWithARefusedTokenCostsOneRefreshHoweverManyReplicasTheyAskAt(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 3} {
		t.Run(fmt.Sprint(replicas, " replicas"), func(t *testing.T) {
			t.Parallel()
			row := fmt.Sprintf("50 callers with a refused token, %d replicas", replicas)
			e, r := startPleo(t), redistest.Start(t, withReplicaUsers(replicas))
			all := startReplicas(t, e, r, replicas, nil)
			e.ResetCounters()
			require.Equal(t, 1, e.Revoke(pleotest.Target{Kind: pleotest.AccessToken}))

			answers := callBoth(t, all, 50)

			c := e.Counters()
			figure(t, row, "introspections", c.Introspections)
			figure(t, row, "refreshes", c.RefreshRequests)
			requireAll(t, answers)
			require.Equal(t, 1, c.RefreshRequests)
			require.LessOrEqual(t, c.DeadTokenCalls, 50, "no call may be sent twice with the same token")
			// A replica cannot know that another one asks at this moment. Before the
			// refresh its token is asked about, once for all.
			asked := int(e.aboutAccess.Load())
			require.LessOrEqual(t, asked, replicas)
			require.Positive(t, asked)
			e.requireAsked(t, asked, 1)
		})
	}
}

func TestLoadWithA401OfTheApplicationsOwnAsksOnceInThirtySeconds(t *testing.T) {
	t.Parallel()
	const row = "401 of the application's own"
	length := time.Duration(count(4, 62)) * time.Second
	e := startPleo(t)
	p := startProxy(t, e, config{quiet: true})
	e.authorise(t, p, "default", company(0))
	e.ResetCounters()
	e.Fault(pleotest.Fault{Endpoint: pleotest.API, Times: pleotest.Always, Status: http.StatusUnauthorized, Body: `{"error":"not_for_you"}`})

	calls := openLoop(t, 50, length, callReplicas(t, p))

	c := e.Counters()
	figure(t, row, "calls", len(calls))
	figure(t, row, "introspections", c.Introspections)
	require.Equal(t, map[string]int{"401": len(calls)}, outcomes(calls))
	require.Equal(t, `{"error":"not_for_you"}`, string(calls[0].body))
	require.Equal(t, len(calls), c.APICalls, "nothing is sent again")
	require.Zero(t, c.TokenRequests)
	require.Positive(t, c.Introspections)
	require.LessOrEqual(t, c.Introspections, 1+int(length/(30*time.Second)))
}

func TestLoadOnAnAPIThatRefusesEveryTokenRefreshesOnceInThirtySeconds(t *testing.T) {
	t.Parallel()
	const row = "tokens dead on arrival"
	length := time.Duration(count(5, 60)) * time.Second
	e, r := startPleo(t), redistest.Start(t, withReplicaUsers(2))
	replicas := startReplicas(t, e, r, 2, nil)
	e.ResetCounters()
	e.Fault(pleotest.Fault{Endpoint: pleotest.Token, Times: pleotest.Always, AccessDeadOnArrival: true})
	require.Equal(t, 1, e.Revoke(pleotest.Target{Kind: pleotest.AccessToken}))

	calls := openLoop(t, 60, length, callReplicas(t, replicas...))

	c := e.Counters()
	seen := outcomes(calls)
	figure(t, row, "calls", len(calls))
	figure(t, row, "refreshes", c.RefreshRequests)
	figure(t, row, "introspections", c.Introspections)
	figure(t, row, "answers", seen)
	require.Positive(t, c.RefreshRequests)
	require.LessOrEqual(t, c.RefreshRequests, 1+int(length/(30*time.Second)), "for both replicas together")
	require.LessOrEqual(t, c.Introspections, 2*2*(1+int(length/(30*time.Second))))
	require.Equal(t, map[string]int{"503 refresh-failed": len(calls)}, seen)
	require.LessOrEqual(t, c.APICalls, 2*60*(1+int(length/(30*time.Second))), "a token that is known to be dead was sent")
}

func TestLoadWith403And429NeverAsksPleoAboutTheToken(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{quiet: true})
	e.authorise(t, p, "default", company(0))
	e.ResetCounters()
	for _, status := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		f := e.Fault(pleotest.Fault{Endpoint: pleotest.API, Times: pleotest.Always, Status: status, Body: "{}"})
		calls := openLoop(t, 100, time.Second, callReplicas(t, p))
		require.Equal(t, map[string]int{fmt.Sprint(status): len(calls)}, outcomes(calls))
		f.Remove()
	}
	c := e.Counters()
	require.Zero(t, c.Introspections)
	require.Zero(t, c.TokenRequests)
}

func TestLoadOfBodiesIsRepeatedUpToTheReplayBufferAndRefusedAboveIt(t *testing.T) {
	t.Parallel()
	const buffer = 256 << 10
	e := startPleo(t)
	p := startProxy(t, e, config{proxy: "replay_buffer 256KiB"})
	e.authorise(t, p, "default", company(0))
	sizes := []int{0, 1, 4 << 10, buffer - 1, buffer, buffer + 1, 4 * buffer}
	body := func(i int) string { return strings.Repeat("b", sizes[i%len(sizes)]) }
	e.ResetCounters()
	require.Equal(t, 1, e.Revoke(pleotest.Target{Kind: pleotest.AccessToken}))

	answers := herd(3*len(sizes), func(i int) answer {
		return send(client, request(t, http.MethodPost, p.URL+"/v1/receipts", body(i), withHeader("Content-Type", "text/plain")))
	})

	for i, a := range answers {
		if len(body(i)) <= buffer {
			requireReceived(t, a, body(i))
			continue
		}
		// One that was sent late enough had the new token from the start.
		require.NoError(t, a.err)
		if a.status != http.StatusCreated {
			requireProblem(t, a, http.StatusServiceUnavailable, "call-not-repeated")
			require.Equal(t, "1", a.header.Get("Retry-After"))
		}
	}
	require.Equal(t, 1, e.Counters().RefreshRequests)
	e.requireAsked(t, 1, 1) // why the API refuses, and before the refresh
}
