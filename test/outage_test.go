package test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// outages are the ways in which Redis can be away, and come back.
var outages = map[string]struct{ begin, end func(*redistest.Server) error }{
	"killed": {func(r *redistest.Server) error { r.Kill(); return nil }, (*redistest.Server).Restart},
	"hung":   {(*redistest.Server).Pause, (*redistest.Server).Continue},
}

func TestCallsGoOnFromMemoryWithoutRedisUntilTheTokenExpiresAndByThemselvesAfterwards(t *testing.T) {
	t.Parallel()
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const life = 5 * time.Second
			e := startPleo(t, pleotest.WithAccessTokenLife(life))
			r := redistest.Start(t, redistest.WithAppendOnly())
			c := onRedis(r)
			c.options = "refresh_timeout 1s"
			p, cold := startProxy(t, e, c), startProxy(t, e, c)
			before := time.Now()
			e.authorise(t, p, "default", company(0))
			p.employees(t)
			require.NoError(t, outage.begin(r))
			e.ResetCounters()

			// A replica that has nothing in memory can only say so.
			requireStoreUnavailable(t, get(t, cold.URL+"/v2/employees"))
			require.Equal(t, http.StatusOK, cold.health(), "it serves whatever is in memory, and must not be taken down")

			var served int
			var last time.Time
			var refused answer
			steady(t, func() bool { return refused.status != 0 }, func() {
				a := get(t, p.URL+"/v2/employees")
				if a.status != http.StatusOK {
					refused = a
					return
				}
				served, last = served+1, time.Now()
			})
			requireStoreUnavailable(t, refused)
			// The refresh window is the second half of the token's life.
			require.Greater(t, last.Sub(before), life-2*time.Second, "the calls ended before the token's end")
			require.Greater(t, served, 20, "the calls waited for Redis")
			require.Contains(t, string(get(t, p.URL+"/healthz").body), `"status":"degraded"`)
			require.Zero(t, e.Counters().TokenRequests, "nothing refreshes without lock and mark")

			require.NoError(t, outage.end(r))
			// A store that has been restarted may have forgotten a mark: as long as
			// one could stand, nothing is refreshed.
			awaitServing(t, p)
			awaitServing(t, cold)
			require.Equal(t, 1, e.Counters().RefreshRequests)
			require.Eventually(t, func() bool { return p.healthStatus(t) == "ready" }, patience, 5*tick)
		})
	}
}

func requireStoreUnavailable(t *testing.T, a answer) {
	t.Helper()
	requireProblem(t, a, http.StatusServiceUnavailable, "store-unavailable")
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)
}

// awaitServing waits until calls are answered, by themselves.
func awaitServing(t *testing.T, p *proxy, options ...option) {
	t.Helper()
	require.Eventually(t, func() bool {
		return send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", options...)).status == http.StatusOK
	}, patience, 5*tick)
}

func (p *proxy) healthStatus(t *testing.T) string {
	t.Helper()
	var health struct{ Status string }
	get(t, p.URL+"/healthz").decode(t, &health)
	return health.Status
}

func TestAProxyStartsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t, redistest.WithAppendOnly())
	first := startProxy(t, e, onRedis(r))
	e.authorise(t, first, "default", company(0))
	r.Kill()

	p := startProxy(t, e, onRedis(r))
	require.Equal(t, "degraded", p.healthStatus(t))
	requireStoreUnavailable(t, get(t, p.URL+"/v2/employees"))
	require.Equal(t, http.StatusServiceUnavailable, newBrowser(t).open(t, p.origin()+"/pleo/authorise").status)

	require.NoError(t, r.Restart())
	awaitServing(t, p)
}
