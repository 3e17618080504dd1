package test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// herdTest is a herd of connections that were made together, and so are due together.
type herdTest struct {
	row         string
	connections int
	limit       int           // requests a second that Pleo takes at both endpoints together; 0: all
	slow        time.Duration // how long a refresh takes
	life        time.Duration // of an access token
	options     string
	within      time.Duration // all are refreshed, counted from the first one being due
	failed      int           // calls; -1: as many as there are tokens whose turn could not come
}

// inProportion scales what a thousand connections need, and the times with it: the
// short selection has fewer of them.
func (h herdTest) inProportion(short int) herdTest {
	h.connections = count(short, 1000)
	scale := func(d time.Duration) time.Duration { return d * time.Duration(h.connections) / 1000 }
	h.life, h.within = scale(h.life), scale(h.within)
	return h
}

func TestLoadOfManyConnectionsDueTogetherKeepsThePaceThatPleoTakes(t *testing.T) {
	apart(t)
	herdTest{
		row: "herd, Pleo takes 40 requests a second", limit: 40, life: 140 * time.Second, within: 65 * time.Second, failed: 10,
	}.inProportion(300).play(t)
}

func TestLoadOfMoreConnectionsThanPleoTakesInTimeLosesNothingAndIsNoStorm(t *testing.T) {
	apart(t)
	herdTest{
		row: "herd, Pleo takes 25 requests a second", limit: 25, life: 120 * time.Second, within: 200 * time.Second, failed: -1,
	}.inProportion(100).play(t)
}

func TestLoadOfManyConnectionsOnASlowTokenEndpointIsABoundedNumberOfRequestsAtOnce(t *testing.T) {
	apart(t)
	herdTest{
		row: "herd, a refresh takes 4 seconds", slow: 4 * time.Second, life: 240 * time.Second, options: fmt.Sprintf("refresh_before %ds", count(12, 120)),
		within: 120 * time.Second,
	}.inProportion(100).play(t)
}

// atOnceLimit is how many requests a process has under way to Pleo's token and
// introspection endpoints.
const atOnceLimit = 64

func (h herdTest) play(t *testing.T) {
	t.Helper()
	e := startPleo(t, pleotest.WithAccessTokenLife(h.life))
	c := onRedis(redistest.Start(t))
	c.quiet, c.options = true, h.options
	p := startProxy(t, e, c)
	names := make([]string, h.connections)
	made := time.Now()
	var makers sync.WaitGroup
	for maker := range 8 {
		makers.Go(func() {
			for i := maker; i < len(names); i += 8 {
				names[i] = fmt.Sprintf("customer-%04d", i)
				e.authorise(t, p, names[i], company(0))
			}
		})
	}
	makers.Wait()
	figure(t, h.row, "connections", h.connections)
	figure(t, h.row, "made within", rounded(time.Since(made)))
	e.SetAccessTokenLife(30 * time.Minute)
	l := startLoad(t, 200, func(i int) answer {
		return send(client, request(t, http.MethodGet, p.URL+"/v1/companies", "", on(names[i%len(names)])))
	})
	asked, since := 0, time.Now()
	require.Eventually(t, func() bool { // what is asked once for each new grant
		if now := e.Counters().Introspections; now != asked {
			asked, since = now, time.Now()
		}
		return time.Since(since) > 2*time.Second
	}, patience, tick)
	require.Zero(t, e.Counters().RefreshRequests, "none was due yet")
	e.ResetCounters()
	require.NoError(t, e.SetRateLimit(pleotest.RateLimit{Requests: h.limit}))
	if h.slow != 0 {
		e.slowRefresh(h.slow)
	}

	require.Eventually(t, func() bool { return e.Counters().Introspections > 0 }, h.life, tick)
	due := time.Now()
	require.Eventually(t, func() bool { return e.Counters().Refreshes == h.connections }, 2*h.within, 5*tick,
		"%+v", e.Counters())
	took := time.Since(due)
	pass(t, time.Now().Add(3*time.Second))
	calls := l.end()
	counters, failed := e.Counters(), failedCalls(calls)
	requests := counters.TokenRequests + counters.Introspections
	limited := counters.TokenRequestsLimited + counters.IntrospectionsLimited
	perConnection := float64(requests) / float64(h.connections)
	figure(t, h.row, "from the first one due until all were refreshed", rounded(took))
	figure(t, h.row, "requests for each connection", float64(int(perConnection*100))/100)
	figure(t, h.row, "of them answered with 429", limited)
	figure(t, h.row, "most requests in a second", counters.AuthRequestsInASecond)
	figure(t, h.row, "most token requests at once", counters.TokenRequestsAtOnce)
	figure(t, h.row, "most introspections at once", counters.IntrospectionsAtOnce)
	figure(t, h.row, "calls", len(calls))
	figure(t, h.row, "failed", outcomes(failed))

	require.LessOrEqual(t, took, h.within)
	require.LessOrEqual(t, perConnection, 2.3)
	require.LessOrEqual(t, counters.TokenRequestsAtOnce, atOnceLimit)
	require.LessOrEqual(t, counters.IntrospectionsAtOnce, atOnceLimit)
	require.Zero(t, counters.DeadRefreshes)
	for kind := range outcomes(failed) {
		require.Contains(t, []string{seesFailed, seesUnsettled}, kind, "that is not what is wrong: %v", outcomes(failed))
	}
	if h.limit != 0 {
		require.LessOrEqual(t, counters.AuthRequestsInASecond, 2*h.limit, "a storm")
	}
	if h.failed >= 0 {
		require.LessOrEqual(t, len(failed), h.failed)
	}
	for _, name := range names {
		require.Equal(t, http.StatusOK, get(t, p.URL+"/v1/companies", on(name)).status, name)
	}
}
