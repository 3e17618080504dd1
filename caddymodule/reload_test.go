package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestAReloadKeepsTheCache(t *testing.T) {
	key, other := pleoauth.GenerateKey(), pleoauth.GenerateKey()
	for name, c := range map[string]struct{ app, proxy string }{
		"with another route":       {"", "allow_clients 10.0.0.0/8"},
		"with another origin":      {"return_to_origins https://app.example.com", ""},
		"with another margin":      {"refresh_before 2m", ""},
		"with another timeout":     {"refresh_timeout 5s", ""},
		"with a key in front":      {"encryption_key {env.TEST_OTHER_KEY}", ""},
		"with another keep_alive":  {"keep_alive 10d", ""},
		"with company changes":     {"allow_subject_change", ""},
		"with nothing but a retry": {"", "lb_retries 1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			t.Setenv("TEST_KEY", key)
			t.Setenv("TEST_OTHER_KEY", other)
			w.start("encryption_key {env.TEST_KEY}", "", "")
			w.connect("default", "")
			require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)

			// With the store gone, only what is in memory can answer.
			require.NoError(t, os.Rename(w.dir+"/storage", w.dir+"/gone"))
			require.NoError(t, os.WriteFile(w.dir+"/storage", nil, 0o600))
			defer func() { _ = os.Remove(w.dir + "/storage") }()
			w.start(c.app+"\n\t\tencryption_key {env.TEST_KEY}", c.proxy, "")
			require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
		})
	}
}

func TestAReloadWithAnotherStoreLetsTheOldOneGo(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	config := strings.Replace(w.caddyfile("", "", ""), w.dir+"/storage", w.dir+"/other", 1)
	require.NoError(t, load(t, config))
	w.problem(w.call(http.MethodGet, "/v2/employees", nil), 401, "not-connected")
	w.start("", "", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
}

func TestACallAcrossAReloadIsAnswered(t *testing.T) {
	for name, app := range map[string]string{"unchanged": "", "with other settings": "refresh_before 2m"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.start("", "", "")
			w.connect("default", "")
			require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
			w.pleo.Expire(pleotest.Target{Kind: pleotest.AccessToken})
			held := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v2/employees", Hold: pleotest.BeforeProcessing})
			var wg sync.WaitGroup
			var res *http.Response
			var failed error
			wg.Go(func() {
				res, failed = w.client.Get("http://" + w.app + "/v2/employees")
				if failed == nil {
					_ = res.Body.Close()
				}
			})
			require.NoError(t, w.pleo.Wait(t.Context(), func(c pleotest.Counters) bool { return c.Faults == 1 }))
			w.start(app, "", "")
			held.Release()
			wg.Wait()
			require.NoError(t, failed)
			require.Equal(t, http.StatusOK, res.StatusCode)
			require.Equal(t, 1, w.pleo.Counters().Refreshes)
			require.Zero(t, w.pleo.Counters().Replays)
		})
	}
}

func TestARefusedReloadLeavesTheRunningConfigurationServing(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	good := w.caddyfile("", "", "")
	taken := newUpstream(t).address

	for name, bad := range map[string]string{
		"refused when provisioned": strings.Replace(good, "{env.TEST_CLIENT_SECRET}", "{env.TEST_NO_SUCH_VARIABLE}", 1),
		"refused when started":     good + "\nhttp://" + taken + " {\n\trespond ok\n}\n",
		"another module's fault":   good + "\nhttp://localhost:1 {\n\ttls_nothing\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			config, err := adapt(bad)
			if err == nil {
				err = caddy.Load(config, true)
			}
			require.Error(t, err)
			require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
			res := w.adminCall(http.MethodGet, "/pleo/connections/default")
			require.Equal(t, http.StatusOK, res.StatusCode, res.body)
			require.Equal(t, http.StatusOK, w.adminCall(http.MethodPost, "/pleo/connections/default/refresh").StatusCode)
		})
	}
	require.NoError(t, load(t, good), "the running configuration can still be reloaded")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
}

func TestReloadsLeaveNoGoroutineBehind(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	before := 0
	for i := range 12 {
		config := w.caddyfile("refresh_before "+[]string{"1m", "2m"}[i%2], "", "")
		if i%3 == 2 { // another store, and so another source
			config = strings.Replace(config, w.dir+"/storage", w.dir+"/other", 1)
		}
		require.NoError(t, load(t, config))
		_ = w.call(http.MethodGet, "/v2/employees", nil)
		w.client.CloseIdleConnections()
		if i == 3 {
			before = settledGoroutines()
		}
	}
	eventually(t, func() bool { return runtime.NumGoroutine() <= before+4 }, "goroutines are left behind")
}

// settledGoroutines waits until the number of goroutines stays the same.
func settledGoroutines() int {
	last := -1
	for {
		now := runtime.NumGoroutine()
		if now == last {
			return now
		}
		last = now
		timer := time.NewTimer(300 * time.Millisecond)
		<-timer.C
	}
}

func TestTheSavedConfigurationHoldsNoSecret(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	saved, err := os.ReadFile(caddy.ConfigAutosavePath)
	require.NoError(t, err)
	require.True(t, json.Valid(saved))
	for _, secret := range w.pleo.Secrets() {
		require.NotContains(t, string(saved), secret)
	}
}
