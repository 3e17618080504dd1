package test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

const example = "../Caddyfile.example"

// replica is one proxy that runs Caddyfile.example as it is.
type replica struct {
	*process
	URL, site string
}

// exampleEnv sets the variables that the example names; its admin endpoint is
// Caddy's default one, which has a variable too.
func exampleEnv(t *testing.T, e *pleo, r *redistest.Server) (env []string, port int) {
	t.Helper()
	dir, env := home(t)
	port = freePorts(t, 2)
	site := fmt.Sprintf("http://localhost:%d", port+1)
	e.allowRedirect(t, site+"/pleo/callback")
	env = append(env,
		"PLEO_CLIENT_ID="+e.ClientID, "PLEO_CLIENT_SECRET="+e.ClientSecret,
		"PLEO_AUTH_SERVER="+e.AuthURL, "PLEO_API_SERVER="+e.APIURL,
		"PLEO_REDIS_URL="+r.URL(), "PLEO_ENCRYPTION_KEY="+sealingKey,
		fmt.Sprintf("PLEO_PORT=%d", port), "PLEO_SITE_ADDRESS="+site,
		"PLEO_REDIRECT_URI="+site+"/pleo/callback", "PLEO_AUTHORISE_URI="+site+"/pleo/authorise",
		"CADDY_ADMIN=unix/"+filepath.Join(dir, "admin.sock"),
	)
	return env, port
}

func startExample(t *testing.T, e *pleo, r *redistest.Server) replica {
	t.Helper()
	env, port := exampleEnv(t, e, r)
	p := replica{URL: fmt.Sprintf("http://127.0.0.1:%d", port), site: fmt.Sprintf("http://localhost:%d", port+1)}
	p.process = startProcess(t, env, proxyBinary, "run", "--config", example, "--adapter", "caddyfile")
	waiting := &proxy{process: p.process, URL: p.URL}
	require.Eventually(t, func() bool { return !p.running() || waiting.health() == http.StatusOK }, startTimeout, tick)
	require.True(t, p.running(), p.stderr.tail())
	return p
}

func TestTheExampleConfigurationServesAndAReplicaThatWasNeverAuthorisedServesToo(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	first, second := startExample(t, e, r), startExample(t, e, r)

	for _, p := range []replica{first, second} {
		unknown := requireProblem(t, get(t, p.URL+"/v2/employees"), http.StatusUnauthorized, "not-connected")
		require.Equal(t, p.site+"/pleo/authorise?connection=default", unknown.AuthoriseURI)
	}
	// The link comes from the answer, as an application would have it.
	e.authoriseWith(t, newBrowser(t), first.site, "default", company(0))

	for _, p := range []replica{first, second} {
		p := &proxy{URL: p.URL}
		// The second replica is told of it: its 'not connected' does not stand.
		require.Eventually(t, func() bool {
			return send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "")).status == http.StatusOK
		}, patience, tick)
		p.employees(t)
	}
	require.Equal(t, 1, e.Counters().Exchanges)
	require.Equal(t, http.StatusNotFound, get(t, first.site+"/elsewhere").status, "the browser's side serves nothing else")
}

func TestTheExampleConfigurationIsValidAndFormattedAndNamesItsEnvironment(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	env, _ := exampleEnv(t, e, r)

	code, out := runProgram(t, env, nil, proxyBinary, "validate", "--config", example, "--adapter", "caddyfile")
	require.Zero(t, code, out)
	code, out = runProgram(t, env, nil, proxyBinary, "fmt", "--diff", example)
	require.Zero(t, code, out)
	require.NotRegexp(t, `(?m)^[-+]`, out)

	// With nothing but the variables that its comment says are to be set, too.
	_, bare := home(t)
	bare = append(bare, "PLEO_CLIENT_ID=acme", "PLEO_CLIENT_SECRET=secret", "PLEO_REDIS_URL=redis://127.0.0.1:1/0", "PLEO_ENCRYPTION_KEY="+sealingKey)
	code, out = runProgram(t, bare, nil, proxyBinary, "validate", "--config", example, "--adapter", "caddyfile")
	require.Zero(t, code, out)
}
