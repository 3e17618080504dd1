package test

import (
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// healthReport is what pleo_health says.
type healthReport struct {
	code    int
	Status  string
	Reasons []string
	Unsaved int
	Risks   []string
}

func (p *proxy) healthReport(t *testing.T) (h healthReport) {
	t.Helper()
	a := get(t, p.URL+"/healthz")
	a.decode(t, &h)
	h.code = a.status
	return h
}

func TestHealthTellsReadyFromRedisAwayAndFromGrantsThatAreNotSaved(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t, redistest.WithAppendOnly())
	p := startProxy(t, e, onRedis(r))
	e.authorise(t, p, "default", company(0))
	p.employees(t)
	require.Equal(t, healthReport{code: http.StatusOK, Status: "ready"}, p.healthReport(t))

	// Redis is away, and calls go on.
	r.Kill()
	away := p.healthReport(t)
	require.Equal(t, http.StatusOK, away.code)
	require.Equal(t, "degraded", away.Status)
	require.Len(t, away.Reasons, 1)
	require.Contains(t, away.Reasons[0], "the store cannot be reached")
	require.Zero(t, away.Unsaved)
	p.employees(t)
	require.NoError(t, r.Restart())
	require.Eventually(t, func() bool { return p.healthReport(t).Status == "ready" }, patience, 5*tick)

	// It goes away in the middle of a refresh: there is a grant that it lacks.
	hold := e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
	refreshed := make(chan answer, 1)
	refresh := request(t, http.MethodPost, "http://127.0.0.1/pleo/connections/default/refresh", "")
	go func() { refreshed <- send(p.adminClient(), refresh) }()
	await(t, hold)
	r.Kill()
	hold.Release()
	require.Eventually(t, func() bool { return p.unsaved(t) == 1 }, patience, tick)
	unsaved := p.healthReport(t)
	require.Equal(t, http.StatusOK, unsaved.code)
	require.Equal(t, "degraded", unsaved.Status)
	require.Contains(t, unsaved.Reasons[len(unsaved.Reasons)-1], "grants that the store has not taken yet")
	p.employees(t)

	require.NoError(t, r.Restart())
	require.Eventually(t, func() bool { h := p.healthReport(t); return h.Status == "ready" && h.Unsaved == 0 }, patience, 5*tick)
	<-refreshed
}

// A start is watched until it is caught between its site and its store, which
// Caddy starts in either order.
func TestHealthSaysStartingUntilTheProxyCanServe(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t, redistest.WithAppendOnly())
	c := onRedis(r)
	// It waits for Redis for some seconds, to see whether it is durable.
	c.store += " {\nrequire_durable\n}"
	p := startProxy(t, e, c)
	p.stop(t, syscall.SIGTERM)

	const starts = 20 // the site is first in half of them
	for range starts {
		require.NoError(t, r.Pause())
		p.process = startProcess(t, p.env, proxyBinary, "run", "--config", p.caddyfile())
		code := 0
		require.Eventually(t, func() bool { code = p.health(); return code != 0 }, startTimeout, tick)
		var report healthReport
		if code == http.StatusServiceUnavailable {
			report = p.healthReport(t)
		}
		require.NoError(t, r.Continue())
		require.Eventually(t, func() bool { return p.healthReport(t).Status == "ready" }, startTimeout, tick)
		if report.Status == "starting" {
			require.Equal(t, http.StatusServiceUnavailable, report.code)
			return
		}
		p.stop(t, syscall.SIGKILL)
	}
	require.FailNow(t, "no start was seen")
}

// Load balancers take it off their lists meanwhile, and calls that come go on.
func TestHealthSaysStoppingInTheShutdownDelay(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	c := onRedis(r)
	c.globals = "shutdown_delay 2s"
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	p.employees(t)
	p.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool {
		h := p.healthReport(t)
		return h.code == http.StatusServiceUnavailable && h.Status == "stopping"
	}, patience, tick)
	p.employees(t)
	<-p.exited
}
