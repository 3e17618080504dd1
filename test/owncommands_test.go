package test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

// A command that is pointed at a site without pleo_api must not become a call to
// Pleo: it would go there with the token of the default connection.
func TestACommandToASiteWithoutTheAPIDoesNotReachPleo(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	p := startProxy(t, e, onRedis(r))
	e.authorise(t, p, "default", company(0))
	p.employees(t)
	e.ResetCounters()
	for _, args := range [][]string{
		{"connections"}, {"show", "default"}, {"disconnect", "default"}, {"refresh", "default"}, {"authorise-url", "default"}, {"rekey"},
	} {
		s := p.command(t, append(args, "--address", p.URL)...)
		require.Equal(t, 3, s.code, "%v: %s", args, s.errors)
		require.Contains(t, s.errors, "Paths below /pleo/ are the proxy's own")
		require.Contains(t, s.errors, "--address or --config")
	}
	for _, path := range []string{"/pleo/connections/default", "/pleo/", "/%70leo/connections/default"} {
		requireProblem(t, do(t, client, request(t, http.MethodDelete, p.URL+path, "")), http.StatusNotFound, "no-such-route")
	}
	require.Zero(t, e.Counters().APICalls)
	p.employees(t)
}

// As `kubectl exec` finds it in a pod that has no port for an application.
func TestCommandsFindTheProxyByItsAdminSocketAlone(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	p := startProxy(t, e, onRedis(r))
	e.authorise(t, p, "acme", company(0))
	for _, address := range []string{"unix/" + p.adminSocket(), "unix://" + p.adminSocket()} {
		for _, args := range [][]string{{"health"}, {"connections"}, {"show", "acme"}, {"refresh", "acme"}, {"authorise-url", "acme"}, {"rekey"}, {"disconnect", "acme"}} {
			code, out := runProgram(t, p.env, nil, proxyBinary, append(append([]string{"pleo"}, args...), "--address", address)...)
			require.Zero(t, code, "%v: %s", args, out)
		}
		e.authorise(t, p, "acme", company(0))
	}
	require.Contains(t, p.command(t, "health", "--config", p.caddyfile(), "--adapter", "caddyfile").out, "ready")
	require.Equal(t, 3, p.command(t, "health", "--address", "unix//nowhere.sock").code)

	p.stop(t, syscall.SIGTERM)
	gone := p.command(t, "health", "--address", p.URL)
	require.Equal(t, 3, gone.code)
	require.Contains(t, gone.errors, "no proxy answers")
}

func TestTheVersionIsThisModulesAndAMetric(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	p := startProxy(t, e, onRedis(r))
	version := strings.Fields(p.program(t, "version").out)[0]
	metrics := p.admin(t, http.MethodGet, "/metrics", "", nil)
	require.Contains(t, string(metrics.body), `version="`+version+`"} 1`)
}
