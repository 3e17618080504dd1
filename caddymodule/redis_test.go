package caddymodule_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestGrantsAreKeptInRedis(t *testing.T) {
	w := newWorld(t)
	server := redistest.Start(t, redistest.WithRules("~test:*", "&test:*"))
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	t.Setenv("TEST_REDIS", server.URL())
	app := "encryption_key {env.TEST_KEY}\n\t\tstore redis {env.TEST_REDIS} {\n\t\t\tkey_prefix test:\n\t\t}"
	w.start(app, "", "")
	w.connect("acme", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode)
	res := w.adminCall(http.MethodGet, "/pleo/connections")
	require.Contains(t, res.body, "acme")

	// With the embedded store nothing is known; back at Redis all of it is.
	w.start("", "", "")
	w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme"), 401, "not-connected")
	w.start(app, "", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode)
	require.Zero(t, w.pleo.Counters().Replays)
	require.Equal(t, 1, w.pleo.Counters().Exchanges)
}

func TestGrantsAreKeptInRedisOverTLS(t *testing.T) {
	w := newWorld(t)
	ca := redistest.NewCA(t)
	server := redistest.Start(t, redistest.WithTLS(t, ca, true, "redis.internal"))
	certificate, key := ca.Issue(t)
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	store := func(block string) string {
		return fmt.Sprintf("encryption_key {env.TEST_KEY}\n\t\tstore redis %s {\n\t\t\ttls {\n%s\t\t\t}\n\t\t}", server.TLSURL(), block)
	}
	files := fmt.Sprintf("ca %s\ncertificate %s %s\n", ca.File, certificate, key)
	w.start(store(files+"server_name redis.internal\n"), "", "")
	w.connect("acme", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode)
	require.Contains(t, server.Dump(t), "record:acme")

	for name, block := range map[string]string{
		"no certificate of its own":      fmt.Sprintf("ca %s\nserver_name redis.internal\n", ca.File),
		"another name than the server's": files,
		"the system's authorities":       fmt.Sprintf("certificate %s %s\nserver_name redis.internal\n", certificate, key),
	} {
		w.start(store(block), "", "")
		w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme"), 503, "store-unavailable")
		require.Equal(t, "degraded", w.call(http.MethodGet, "/healthz", nil).json(t)["status"], name)
	}
}
