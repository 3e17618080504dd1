package caddymodule

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func run(t *testing.T, cmd *cobra.Command, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage = true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestKeygenPrintsAKeyThatWorks(t *testing.T) {
	first, err := run(t, keygenCommand())
	require.NoError(t, err)
	_, err = pleoauth.NewKeyring(first)
	require.NoError(t, err)
	second, err := run(t, keygenCommand(), "--json")
	require.NoError(t, err)
	var doc struct{ Key string }
	require.NoError(t, json.Unmarshal([]byte(second), &doc))
	_, err = pleoauth.NewKeyring(doc.Key)
	require.NoError(t, err)
	require.NotEqual(t, first, doc.Key)
}

func TestHealthSucceedsWhileTheProxyServes(t *testing.T) {
	answer, status := "", 200
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	host := server.Listener.Addr().String()

	answer = `{"status":"ready"}`
	out, err := run(t, healthCommand(), "--address", host)
	require.NoError(t, err)
	require.Equal(t, "ready\n", out)

	answer = `{"status":"degraded","reasons":["one","two"]}`
	out, err = run(t, healthCommand(), "--address", "http://"+host+"/healthz")
	require.NoError(t, err)
	require.Equal(t, "degraded: one; two\n", out)

	out, err = run(t, healthCommand(), "--address", host, "--json")
	require.NoError(t, err)
	var health pleoauth.Health
	require.NoError(t, json.Unmarshal([]byte(out), &health))
	require.Equal(t, []string{"one", "two"}, health.Reasons)

	answer, status = `{"status":"starting"}`, 503
	out, err = run(t, healthCommand(), "--address", host)
	require.ErrorContains(t, err, "status 6")
	require.Contains(t, out, "starting")

	answer, status = "", 200
	out, err = run(t, healthCommand(), "--address", host)
	require.ErrorContains(t, err, "status 3")
	require.Contains(t, out, "there is no pleo_health", "Caddy answers 200 for a site that it does not have")
	_, err = run(t, healthCommand(), "--address", "127.0.0.1:1")
	require.ErrorContains(t, err, "status 3")
}

func TestHealthWaitsForAProxyThatIsStarting(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"status":"starting"}`))
			return
		}
		_, _ = w.Write([]byte(`{"status":"ready"}`))
	}))
	defer server.Close()
	out, err := run(t, healthCommand(), "--address", server.Listener.Addr().String(), "--wait", "1m")
	require.NoError(t, err)
	require.Equal(t, "ready\n", out, "what was before that is not of interest")
	require.EqualValues(t, 3, asked.Load())

	began := time.Now()
	_, err = run(t, healthCommand(), "--address", "127.0.0.1:1", "--wait", "300ms")
	require.ErrorContains(t, err, "status 3")
	require.GreaterOrEqual(t, time.Since(began), 300*time.Millisecond)
}

func TestACommandOrStateThatThereIsNotIsAnErrorThatNamesThoseThatThereAre(t *testing.T) {
	pleo := &cobra.Command{Use: "pleo"}
	caddycmd.Commands()["pleo"].CobraFunc(pleo)
	_, err := run(t, pleo, "conections")
	require.ErrorContains(t, err, `there is no command "conections"`)
	require.ErrorContains(t, err, "connections, disconnect, health")
	out, err := run(t, pleo)
	require.NoError(t, err)
	require.Contains(t, out, "authorise-url")
	_, err = run(t, connectionsCommand(), "--state", "conected", "--address", "127.0.0.1:1")
	require.ErrorContains(t, err, `there is no state "conected", but connected, reauthorisation_required, disconnected`)
}
