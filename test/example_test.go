package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

const example = "../Caddyfile.example"

// replica is one proxy that runs Caddyfile.example as it is.
type replica struct {
	*process
	env       []string
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
		fmt.Sprintf("PLEO_PORT=%d", port), "PLEO_SITE_ADDRESS="+site, "PLEO_SITE_BIND=127.0.0.1",
		"PLEO_REDIRECT_URI="+site+"/pleo/callback", "PLEO_AUTHORISE_URI="+site+"/pleo/authorise",
		"CADDY_ADMIN=unix/"+filepath.Join(dir, "admin.sock"),
	)
	return env, port
}

func startExample(t *testing.T, e *pleo, r *redistest.Server) replica {
	t.Helper()
	env, port := exampleEnv(t, e, r)
	p := replica{env: env, URL: fmt.Sprintf("http://127.0.0.1:%d", port), site: fmt.Sprintf("http://localhost:%d", port+1)}
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
}

// A default would move a running proxy to other servers or ports when it is
// reloaded from a shell without the variables.
func TestTheExampleConfigurationHasNoDefaultsAndNamesAllThatIsMissingAtOnce(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	env, _ := exampleEnv(t, e, r)
	_, bare := home(t)
	text, err := os.ReadFile(example)
	require.NoError(t, err)
	for _, kind := range []struct{ pattern, name string }{{`\{\$(PLEO_[A-Z_]+)`, "before it is parsed"}, {`\{env\.(PLEO_[A-Z_]+)\}`, "at the start"}} {
		names := regexp.MustCompile(kind.pattern).FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, names)
		code, out := runProgram(t, bare, nil, proxyBinary, "validate", "--config", example, "--adapter", "caddyfile")
		require.NotZero(t, code, kind.name)
		for _, name := range names {
			require.Contains(t, out, name[1], kind.name)
		}
		// The next ones are looked at once these are there.
		for _, setting := range env {
			if slices.ContainsFunc(names, func(name []string) bool { return strings.HasPrefix(setting, name[1]+"=") }) {
				bare = append(bare, setting)
			}
		}
	}
	code, out := runProgram(t, bare, nil, proxyBinary, "validate", "--config", example, "--adapter", "caddyfile")
	require.Zero(t, code, out)

	p := startExample(t, e, r)
	code, out = runProgram(t, p.env, nil, proxyBinary, "reload", "--config", example, "--adapter", "caddyfile")
	require.Zero(t, code, out)
	without := slices.DeleteFunc(slices.Clone(p.env), func(setting string) bool {
		return strings.HasPrefix(setting, "PLEO_AUTH_SERVER=") || strings.HasPrefix(setting, "PLEO_PORT=")
	})
	code, out = runProgram(t, without, nil, proxyBinary, "reload", "--config", example, "--adapter", "caddyfile")
	require.NotZero(t, code)
	require.Contains(t, out, "not set: PLEO_AUTH_SERVER, PLEO_PORT")
	requireProblem(t, get(t, p.URL+"/v2/employees"), http.StatusUnauthorized, "not-connected")
}
