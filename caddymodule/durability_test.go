package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// durableStore returns options with a Redis that must not lose grants.
func durableStore(t *testing.T, server *redistest.Server) string {
	t.Helper()
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	return fmt.Sprintf("encryption_key {env.TEST_KEY}\n\t\tstore redis %s {\n\t\t\trequire_durable\n\t\t}", server.URL())
}

func TestRedisThatMayLoseGrantsIsRefusedWhereItMustNot(t *testing.T) {
	w := newWorld(t)
	server := redistest.Start(t, redistest.WithConfig("maxmemory-policy allkeys-lru"))
	app := durableStore(t, server)
	w.start("", "", "")
	w.connect("default", "")

	err := load(t, w.caddyfile(app, "", ""))
	require.ErrorContains(t, err, "require_durable")
	require.ErrorContains(t, err, server.Addr()+": maxmemory-policy is allkeys-lru")
	require.ErrorContains(t, err, "set maxmemory-policy noeviction")
	require.ErrorContains(t, err, "set appendonly yes")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode, "what ran before goes on")

	client := server.Client(t)
	require.NoError(t, client.ConfigSet(t.Context(), "appendonly", "yes").Err())
	require.NoError(t, client.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
	w.start(app, "", "")
	require.Equal(t, "ready", w.call(http.MethodGet, "/healthz", nil).json(t)["status"])

	require.NoError(t, client.ConfigSet(t.Context(), "appendonly", "no").Err())
	err = load(t, w.caddyfile(app, "allow_clients 10.0.0.0/8", ""))
	require.ErrorContains(t, err, "require_durable")
	health := w.call(http.MethodGet, "/healthz", nil)
	require.Equal(t, http.StatusOK, health.StatusCode)
	require.Equal(t, "degraded", health.json(t)["status"])
	require.Contains(t, health.body, "set appendonly yes")
	require.NotContains(t, health.body, server.Addr())
}

func TestRedisThatMayLoseGrantsIsAWarningElsewhere(t *testing.T) {
	w := newWorld(t)
	server := redistest.Start(t)
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	w.start("encryption_key {env.TEST_KEY}\n\t\tstore redis "+server.URL(), "", "")
	require.Eventually(t, func() bool { return w.call(http.MethodGet, "/healthz", nil).json(t)["risks"] != nil }, 20*time.Second, 20*time.Millisecond)
	health := w.call(http.MethodGet, "/healthz", nil)
	require.Equal(t, "ready", health.json(t)["status"])
	require.Contains(t, health.body, "appendonly is no")
	log, err := os.ReadFile(w.log)
	require.NoError(t, err)
	require.Contains(t, string(log), "the store may lose grants: appendonly is no")
}

func TestRedisThatWouldTakeWritesOnBothSidesOfASplitIsSaidInLogHealthAndMetric(t *testing.T) {
	w := newWorld(t)
	server := redistest.Start(t, redistest.WithAppendOnly())
	server.StartReplica(t)
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	w.start("encryption_key {env.TEST_KEY}\n\t\tstore redis "+server.URL(), "", "")
	eventually(t, func() bool { return w.samples()[`pleo_store_risks{risk="split"}`] == 1 }, "the metric shows it")
	require.Contains(t, w.call(http.MethodGet, "/healthz", nil).body, "set min-replicas-to-write 1 and min-replicas-max-lag 10")
	log, err := os.ReadFile(w.log)
	require.NoError(t, err)
	require.Contains(t, string(log), "the store may lose grants: min-replicas-to-write is 0")
}

func TestRedisThatIsAwayIsJudgedOnceItAnswers(t *testing.T) {
	w := newWorld(t)
	server := redistest.Start(t)
	app := durableStore(t, server)
	require.NoError(t, server.Pause())
	require.NoError(t, validate(t, w.caddyfile(app, "", "")), "judging a configuration needs no Redis")
	begun := time.Now()
	w.start(app, "", "")
	require.Less(t, time.Since(begun), 15*time.Second)
	log, err := os.ReadFile(w.log)
	require.NoError(t, err)
	require.Contains(t, string(log), "require_durable could not be checked")

	require.NoError(t, server.Continue())
	require.Eventually(t, func() bool {
		health := w.call(http.MethodGet, "/healthz", nil).json(t)
		return health["status"] == "degraded" && health["risks"] != nil
	}, 40*time.Second, 100*time.Millisecond)
	require.Contains(t, w.call(http.MethodGet, "/healthz", nil).body, "require_durable")
}
