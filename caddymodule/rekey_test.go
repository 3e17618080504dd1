package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// rekey seals everything anew by way of the admin endpoint.
func (w *world) rekey() pleoauth.RekeyReport {
	w.t.Helper()
	res := w.adminCall(http.MethodPost, "/pleo/rekey")
	require.Equal(w.t, http.StatusOK, res.StatusCode, res.body)
	var report pleoauth.RekeyReport
	require.NoError(w.t, json.Unmarshal([]byte(res.body), &report))
	return report
}

// withKeys loads a configuration with the given encryption keys.
func (w *world) withKeys(keys ...string) {
	w.t.Helper()
	w.start("encryption_key "+strings.Join(keys, " "), "", "")
}

func TestKeysAreChangedWhileTheProxyServes(t *testing.T) {
	w := newWorld(t)
	old, next := pleoauth.GenerateKey(), pleoauth.GenerateKey()
	w.withKeys(old)
	for i := range 3 {
		w.connect(fmt.Sprintf("c%d", i), "")
	}
	serves := func() {
		t.Helper()
		for i := range 3 {
			header := fmt.Sprintf("Pleo-Connection: c%d", i)
			require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil, header).StatusCode)
		}
	}
	w.withKeys(next, old)
	report := w.rekey()
	require.Equal(t, 3, report.Resealed)
	require.True(t, report.Done())
	require.Equal(t, 3, w.rekey().Already)
	serves()

	require.NoError(t, load(t, "{\n\tadmin "+w.admin+"\n}\n")) // forgets what was in memory
	w.withKeys(next)
	serves()
	require.Equal(t, http.StatusOK, w.adminCall(http.MethodPost, "/pleo/connections/c1/refresh").StatusCode)
	require.Equal(t, "ready", w.call(http.MethodGet, "/healthz", nil).json(t)["status"])
	require.Zero(t, w.pleo.Counters().Replays)
}

func TestAKeyThatIsMissingIsNamedAndNothingIsLost(t *testing.T) {
	w := newWorld(t)
	key := pleoauth.GenerateKey()
	w.withKeys(key)
	w.connect("default", "")
	id, _ := w.adminCall(http.MethodGet, "/pleo/connections/default").json(t)["key_id"].(string)
	require.NotEmpty(t, id)

	require.NoError(t, load(t, "{\n\tadmin "+w.admin+"\n}\n"))
	w.withKeys(pleoauth.GenerateKey())
	p := w.problem(w.call(http.MethodGet, "/v2/employees", nil), http.StatusServiceUnavailable, "store-unavailable")
	require.Contains(t, p["detail"], "no encryption_key with the id "+id+" is configured")
	health := w.call(http.MethodGet, "/healthz", nil)
	require.Equal(t, "degraded", health.json(t)["status"])
	require.Contains(t, health.body, id)
	require.Equal(t, http.StatusServiceUnavailable, w.adminCall(http.MethodPost, "/pleo/connections/default/refresh").StatusCode)
	report := w.rekey()
	require.Equal(t, map[string]int{id: 1}, report.LeftByKey)
	require.Equal(t, "connected", w.adminCall(http.MethodGet, "/pleo/connections/default").json(t)["state"])

	w.withKeys(key)
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
	require.Zero(t, w.pleo.Counters().RefreshRequests)
}

func TestTheKeyOfTheEmbeddedStoreIsChangedInItsFile(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	file := filepath.Join(w.dir, "storage", "pleo", "encryption_key")
	old, err := os.ReadFile(file)
	require.NoError(t, err)
	next := pleoauth.GenerateKey() + "\n"

	require.NoError(t, os.WriteFile(file, append([]byte(next), old...), 0o600))
	w.start("", "", "")
	require.Equal(t, 1, w.rekey().Resealed)
	require.NoError(t, os.WriteFile(file, []byte(next), 0o600))
	require.NoError(t, load(t, "{\n\tadmin "+w.admin+"\n}\n"))
	w.start("", "", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
	require.True(t, w.rekey().Done())
}

func TestRekeyIsAskedForByPostInPagesOrWhole(t *testing.T) {
	w := newWorld(t)
	w.withKeys(pleoauth.GenerateKey())
	for i := range 3 {
		w.connect(fmt.Sprintf("c%d", i), "")
	}
	require.Equal(t, http.StatusMethodNotAllowed, w.adminCall(http.MethodGet, "/pleo/rekey").StatusCode)
	require.Equal(t, http.StatusBadRequest, w.adminCall(http.MethodPost, "/pleo/rekey?limit=0").StatusCode)
	require.Equal(t, http.StatusBadRequest, w.adminCall(http.MethodPost, "/pleo/rekey?limit=x").StatusCode)
	first := w.adminCall(http.MethodPost, "/pleo/rekey?limit=2").json(t)
	require.EqualValues(t, 2, first["connections"])
	rest := w.adminCall(http.MethodPost, "/pleo/rekey?limit=2&cursor="+first["next"].(string)).json(t)
	require.EqualValues(t, 1, rest["connections"])
	require.NotContains(t, rest, "next")
}
