package test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// withStatus has the connections page beside the calls.
func withStatus(c config) config {
	c.site += "\npleo_status /pleo/status"
	return c
}

// statusPage returns the connections page.
func (p *proxy) statusPage(t *testing.T) string {
	t.Helper()
	a := get(t, p.URL+"/pleo/status")
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	return string(a.body)
}

func TestAConnectionWhoseCallsFailSaysSinceWhenAndWhyOnThePageTheCommandLineAndInTheAPI(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	p := startProxy(t, e, withStatus(onRedis(r)))
	const life = 3 * time.Second
	e.SetAccessTokenLife(life)
	e.authorise(t, p, "acme", company(0))
	require.Equal(t, http.StatusOK, get(t, p.URL+"/v2/employees", on("acme")).status)
	require.Zero(t, p.info(t, "acme").FailingSince)
	require.NotContains(t, p.statusPage(t), "Calls fail")
	e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Times: pleotest.Always, Status: 503, Process: pleotest.NotProcessed})

	var info pleoauth.ConnectionInfo
	require.Eventually(t, func() bool {
		_ = send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on("acme")))
		info = p.info(t, "acme")
		return !info.FailingSince.IsZero()
	}, patience, 10*tick)
	require.Equal(t, pleoauth.StateConnected, info.State)
	require.WithinDuration(t, info.ExpiresAt, info.FailingSince, time.Millisecond)
	require.Contains(t, []string{"refresh-failed", "refresh-unsettled"}, info.LastError)
	page := p.statusPage(t)
	require.Contains(t, page, "Calls fail")
	require.Contains(t, page, "Calls have been failing since "+info.FailingSince.UTC().Format("2006-01-02 15:04"))
	require.Contains(t, p.command(t, "connections").out, "calls fail since "+info.FailingSince.UTC().Format(time.RFC3339))
	require.Contains(t, p.command(t, "show", "acme").out, "calls fail since")

	e.ClearFaults()
	e.SetAccessTokenLife(15 * time.Minute)
	awaitUse(t, p, "acme")
	require.Zero(t, p.info(t, "acme").FailingSince)
	require.NotContains(t, p.statusPage(t), "Calls fail")
}

func TestAConnectionThatNoKeyOpensSaysSo(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	p := startProxy(t, e, withStatus(onRedis(r)))
	e.authorise(t, p, "acme", company(0))
	key := p.info(t, "acme").KeyID
	p.stop(t, syscall.SIGTERM)
	p.env = append(p.env, "PLEO_ENCRYPTION_KEY="+pleoauth.GenerateKey())
	p.restart(t)
	require.True(t, p.info(t, "acme").KeyMissing)
	page := p.statusPage(t)
	require.Contains(t, page, "Cannot be opened")
	require.Contains(t, page, "the id "+key+" is missing")
	require.Contains(t, p.command(t, "connections").out, "no key opens it ("+key+")")
}

func TestACallbackWithAnotherIssuerNamesBothAndAnIssuerThatDiffersCanBeConfigured(t *testing.T) {
	t.Parallel()
	e := startPleo(t, pleotest.WithIssuerParameter())
	issuer := e.AuthURL
	e.AuthURL = strings.Replace(e.AuthURL, "127.0.0.1", "localhost", 1)
	c := config{}
	p := startProxy(t, e, c)
	b := newBrowser(t)
	done := b.comeBack(t, e.approve(t, b, p.origin(), "acme", company(0)))
	require.Equal(t, http.StatusBadRequest, done.status, "%s", done.body)
	require.Contains(t, string(done.body), "another authorisation server")
	line := awaitLine(t, p, "an authorisation was not completed")
	require.Contains(t, line["error"], issuer)
	require.Contains(t, line["error"], e.AuthURL)
	require.Zero(t, e.Counters().ExchangeRequests)

	c.options = "issuer " + issuer
	code, out := p.reload(t, c)
	require.Zero(t, code, out)
	e.authorise(t, p, "acme", company(0))
}

func TestAScopeThatPleoHasNotGrantedIsLoggedOnceAndShown(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	p := startProxy(t, e, withStatus(onRedis(r)))
	e.Fault(pleotest.Fault{Endpoint: pleotest.Token, Set: map[string]any{"scope": "users:read tags:read"}})
	e.authorise(t, p, "acme", company(0))
	const missing = "export:read export:write tax-codes:read"
	require.Equal(t, missing, strings.Join(p.info(t, "acme").MissingScopes, " "))
	line := awaitLine(t, p, "Pleo has granted less than was asked for")
	require.Equal(t, missing, line["missing"])
	require.Contains(t, p.statusPage(t), "export:read, export:write, tax-codes:read is missing")
	require.Contains(t, p.command(t, "connections").out, "not granted: "+missing)
	for range 3 {
		require.Equal(t, http.StatusOK, get(t, p.URL+"/v2/employees", on("acme")).status)
	}
	require.Equal(t, 1, strings.Count(p.stderr.String(), "Pleo has granted less than was asked for"))
}
