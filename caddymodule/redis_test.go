package caddymodule_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestGrantsAreKeptInRedis(t *testing.T) {
	w := newWorld(t)
	server := redistest.Start(t)
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
