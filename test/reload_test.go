package test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// refreshUnderWay starts a proxy whose token has expired, and 20 callers that
// wait for a refresh which the emulator holds.
func refreshUnderWay(t *testing.T, stage pleotest.Stage) (e *pleo, p *proxy, hold *pleotest.ActiveFault, answers <-chan []answer) {
	t.Helper()
	e = startPleo(t, pleotest.WithAccessTokenLife(2*time.Second))
	p = startProxy(t, e, onRedis(redistest.Start(t)))
	e.authorise(t, p, "default", company(0))
	e.awaitExpiry(t)
	e.ResetCounters()
	e.SetAccessTokenLife(15 * time.Minute)
	hold = e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: stage})
	arrived := func() int { return strings.Count(p.stderr.String(), "selected upstream") }
	before, done := arrived(), make(chan []answer, 1)
	go func() {
		done <- herd(20, func(int) answer { return send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "")) })
	}()
	await(t, hold)
	require.Eventually(t, func() bool { return arrived() == before+20 }, patience, tick)
	return e, p, hold, done
}

// anotherSite is a change as a reload brings it.
const anotherSite = `
http://:{port+1} {
	bind 127.0.0.1
	pleo_proxy
}
`

func TestAReloadDuringARefreshRefreshesNothingTwice(t *testing.T) {
	t.Parallel()
	for name, reload := range map[string]func(*testing.T, *proxy, config){
		"reload command": func(t *testing.T, p *proxy, c config) {
			t.Helper()
			code, out := p.reload(t, c)
			require.Zero(t, code, out)
		},
		"POST /load": func(t *testing.T, p *proxy, c config) {
			t.Helper()
			require.Equal(t, http.StatusOK, p.load(t, c).status)
		},
		"five reloads": func(t *testing.T, p *proxy, c config) {
			t.Helper()
			before := p.config
			for i := range 4 {
				before.site = "header X-Reload " + strings.Repeat("x", i+1)
				require.Equal(t, http.StatusOK, p.load(t, before).status)
			}
			require.Equal(t, http.StatusOK, p.load(t, c).status)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, p, hold, answers := refreshUnderWay(t, pleotest.AfterProcessing)
			c := p.config
			c.sites = anotherSite
			reload(t, p, c)

			// Callers of the new configuration wait for the refresh that the old
			// one has begun. They call a port that only the new one has: on the
			// other one, Caddy may still be closing the old listener, and reset
			// what has just come in there.
			more := make(chan []answer, 1)
			go func() {
				more <- herd(20, func(int) answer {
					return send(client, request(t, http.MethodGet, p.site(1)+"/v2/employees", ""))
				})
			}()
			hold.Release()

			requireAll(t, <-answers)
			requireAll(t, <-more)
			require.Equal(t, 1, e.Counters().RefreshRequests)
			require.Equal(t, 1, e.Counters().Refreshes)
		})
	}
}

func TestAPairThatIsRefreshedWhileTheProxyIsToldToEndIsStored(t *testing.T) {
	t.Parallel()
	e, p, hold, answers := refreshUnderWay(t, pleotest.AfterProcessing)

	p.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "shutting down") }, patience, tick)
	hold.Release()
	p.awaitExit(t)
	requireAll(t, <-answers) // the callers are still answered

	p.restart(t)
	p.employees(t)
	require.Equal(t, 1, e.Counters().RefreshRequests)
	e.requireAsked(t, 0, 1) // before it left: there is nothing to settle
}

func TestAReloadWithAMistakeLeavesEverythingAsItWas(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t, pleotest.WithAccessTokenLife(2*time.Second)), redistest.Start(t)
	p := startProxy(t, e, onRedis(r))
	e.authorise(t, p, "default", company(0))

	mistakes := map[string]func(*config){
		"unknown option":      func(c *config) { c.options = "refresh_after 1s" },
		"faulty value":        func(c *config) { c.options = "refresh_before soon" },
		"missing environment": func(c *config) { c.secret = "{env.PLEO_TEST_NOT_SET}" },
		"missing file":        func(c *config) { c.secret = "{file./nonexistent/secret}" },
		"store": func(c *config) {
			c.store = "redis redis://127.0.0.1:1/0 {\n\t\t\ttls {\n\t\t\t\tca /nonexistent\n\t\t\t}\n\t\t}"
		},
		"another module's": func(c *config) { c.sites = "http://:{port+1} {\n\treverse_proxy {\n\t\ttransport nonsense\n\t}\n}" },
		"port that is taken": func(c *config) {
			c.sites = "http://:" + r.Addr()[strings.LastIndex(r.Addr(), ":")+1:] + " {\n\tbind 127.0.0.1\n\tpleo_proxy\n}"
		},
	}
	for name, spoil := range mistakes {
		c := p.config
		spoil(&c)
		a := p.load(t, c)
		require.GreaterOrEqual(t, a.status, 400, name)
		requireAsItWas(t, p)
	}
	c := p.config
	mistakes["faulty value"](&c)
	code, out := p.reload(t, c)
	require.NotZero(t, code, out)
	require.Contains(t, out, "refresh_before")
	requireAsItWas(t, p)

	// It also goes on refreshing, and takes a configuration without mistakes.
	refreshed := e.Counters().Refreshes
	steady(t, func() bool { return e.Counters().Refreshes >= refreshed+2 }, func() { p.employees(t) })
	c = p.config
	c.sites = anotherSite
	require.Equal(t, http.StatusOK, p.load(t, c).status)
	require.Equal(t, company(0).ID, get(t, p.site(1)+"/v1/echo").companyID(t))
	awaitServing(t, p) // the old listener may be closing still
	requireAsItWas(t, p)
}

// requireAsItWas requires that calls and the admin routes work.
func requireAsItWas(t *testing.T, p *proxy) {
	t.Helper()
	p.employees(t)
	require.Equal(t, "ready", p.healthStatus(t))
	list := p.admin(t, http.MethodGet, "/pleo/connections", "", nil)
	require.Equal(t, http.StatusOK, list.status, "%s", list.body)
	var page struct {
		Connections []struct{ Name, State, Subject string }
	}
	list.decode(t, &page)
	require.Len(t, page.Connections, 1)
	require.Equal(t, "default", page.Connections[0].Name)
	require.Equal(t, "connected", page.Connections[0].State)
	require.Equal(t, company(0).URN(), page.Connections[0].Subject)
}
