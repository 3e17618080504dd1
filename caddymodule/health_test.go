package caddymodule_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHealthTellsHowTheProxyIs(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	res := w.call(http.MethodGet, "/healthz", nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "application/json", res.Header.Get("Content-Type"))
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, "ready", res.json(t)["status"])
	require.Empty(t, w.call(http.MethodHead, "/healthz", nil).body)
	require.Equal(t, http.StatusMethodNotAllowed, w.call(http.MethodPost, "/healthz", nil).StatusCode)
	// A kubelet asks by the pod's address.
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/healthz", nil, "Host: 10.1.2.3:7536").StatusCode)

	storage := filepath.Join(w.dir, "storage")
	require.NoError(t, os.RemoveAll(storage))
	require.NoError(t, os.WriteFile(storage, nil, 0o600))
	res = w.call(http.MethodGet, "/healthz", nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, "degraded", res.json(t)["status"])
	require.NotEmpty(t, res.json(t)["reasons"])
	require.NotContains(t, res.body, w.dir)
	require.NoError(t, os.Remove(storage))
}
