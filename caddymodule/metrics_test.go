package caddymodule_test

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// samples are what a scrape of Caddy's admin endpoint shows of our metrics: by
// name and labels, as they stand there.
func (w *world) samples() map[string]float64 {
	w.t.Helper()
	res := w.adminCall(http.MethodGet, "/metrics")
	require.Equal(w.t, http.StatusOK, res.StatusCode, res.body)
	found := map[string]float64{}
	for line := range strings.Lines(res.body) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if ok {
			series += "}"
		} else if series, value, ok = strings.Cut(strings.TrimSpace(line), " "); !ok {
			continue
		}
		if !strings.HasPrefix(series, "pleo_") {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		require.NoError(w.t, err, line)
		found[series] = n
	}
	require.NotEmpty(w.t, found)
	return found
}

// counted returns what counters have gained since a scrape, without those that
// have not changed.
func (w *world) counted(before map[string]float64) map[string]float64 {
	w.t.Helper()
	gained := map[string]float64{}
	for series, now := range w.samples() {
		name, _, _ := strings.Cut(series, "{")
		if n := now - before[series]; n != 0 && (strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_seconds_count")) {
			gained[series] = n
		}
	}
	return gained
}

// callAfterReload makes one call that is answered. While Caddy changes its
// listeners, a connection may be reset before its call is read.
func (w *world) callAfterReload() {
	w.t.Helper()
	eventually(w.t, func() bool {
		res, err := w.client.Get("http://" + w.app + "/v2/employees")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	}, "a call is answered")
}

const (
	callsForwarded = `pleo_calls_total{outcome="forwarded",problem=""}`
	refreshStored  = `pleo_refreshes_total{after="none",result="stored"}`
)

func TestCallsAreCountedByOutcome(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	before := w.samples()
	for range 3 {
		require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
	}
	w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: nobody"), 401, "not-connected")
	w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: -"), 400, "invalid-connection")
	w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Host: example.com"), 403, "client-not-allowed")
	got := w.counted(before)
	for series, n := range map[string]float64{
		callsForwarded: 3,
		`pleo_calls_total{outcome="answered",problem="not-connected"}`:      1,
		`pleo_calls_total{outcome="answered",problem="invalid-connection"}`: 1,
		`pleo_calls_total{outcome="answered",problem="client-not-allowed"}`: 1,
		`pleo_cache_misses_total{waited_for="store"}`:                       1,
		`pleo_cache_hits_total`: 3,
	} {
		require.InDelta(t, n, got[series], 0, "%s in %v", series, got)
	}
}

func TestACallThatPleoRefusesIsCountedByItsCause(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)

	before := w.samples()
	w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Status: 401})
	require.Equal(t, http.StatusUnauthorized, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
	got := w.counted(before)
	require.InDelta(t, 1, got[`pleo_refusals_total{cause="alive"}`], 0, "%v", got)
	require.InDelta(t, 1, got[`pleo_calls_total{outcome="refused",problem=""}`], 0, "%v", got)

	before = w.samples()
	w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
	// The verdict on the living token is kept for a while: the next one is new.
	require.Equal(t, http.StatusOK, w.adminCall(http.MethodPost, "/pleo/connections/default/refresh").StatusCode)
	w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
	got = w.counted(before)
	require.InDelta(t, 1, got[`pleo_refusals_total{cause="dead"}`], 0, "%v", got)
	require.InDelta(t, 1, got[`pleo_calls_total{outcome="repeated",problem=""}`], 0, "%v", got)
	require.InDelta(t, 2, got[refreshStored], 0, "%v", got)
	require.InDelta(t, 2, got[`pleo_refresh_duration_seconds_count`], 0, "%v", got)
	require.GreaterOrEqual(t, got[`pleo_lock_wait_seconds_count`], 2.0)
}

func TestACallThatPleoDoesNotAnswerIsCounted(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	before := w.samples()
	w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Drop: pleotest.AfterProcessing, Times: pleotest.Always})
	require.Equal(t, http.StatusBadGateway, w.call(http.MethodPost, "/v2/employees", strings.NewReader("{}")).StatusCode)
	got := w.counted(before)
	require.InDelta(t, 1, got[`pleo_calls_total{outcome="unreachable",problem=""}`], 0, "%v", got)
}

func TestAGrantThatIsNotStoredIsVisibleUntilItIs(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
	require.Zero(t, w.samples()["pleo_unsaved_grants"])
	before := w.samples()

	held := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.AfterProcessing})
	refreshed := make(chan int, 1)
	go func() {
		res, err := w.client.Post("http://"+w.admin+"/pleo/connections/default/refresh", "", nil)
		if err != nil {
			refreshed <- 0
			return
		}
		_ = res.Body.Close()
		refreshed <- res.StatusCode
	}()
	<-held.Reached()
	require.NoError(t, os.Rename(w.dir+"/storage", w.dir+"/gone"))
	require.NoError(t, os.WriteFile(w.dir+"/storage", nil, 0o600))
	held.Release()
	<-refreshed
	eventually(t, func() bool { return w.samples()["pleo_unsaved_grants"] == 1 }, "the grant is held")
	got := w.counted(before)
	require.Positive(t, got[`pleo_store_errors_total{operation="swap"}`], "%v", got)

	require.NoError(t, os.Remove(w.dir+"/storage"))
	require.NoError(t, os.Rename(w.dir+"/gone", w.dir+"/storage"))
	eventually(t, func() bool { return w.samples()["pleo_unsaved_grants"] == 0 }, "the grant is stored")
}

func TestConnectionsAreShownByState(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	before := w.samples()
	w.connect("first", "")
	w.connect("second", "")
	require.Equal(t, http.StatusNoContent, w.adminCall(http.MethodDelete, "/pleo/connections/second").StatusCode)
	_ = w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: nobody")
	got := w.samples()
	for series, n := range map[string]float64{"connected": 1, "disconnected": 1, "absent": 1, "reauthorisation_required": 0} {
		require.InDelta(t, n, got[`pleo_connections{state="`+series+`"}`], 0, series)
	}
	for _, risk := range []string{pleoauth.RiskEviction, pleoauth.RiskPersistence, pleoauth.RiskReplicas, pleoauth.RiskSplit} {
		require.Contains(t, got, `pleo_store_risks{risk="`+risk+`"}`)
	}
	require.Positive(t, got["pleo_oldest_grant_age_seconds"])
	require.InDelta(t, 2, w.counted(before)[`pleo_authorisations_total{result="connected"}`], 0)
}

func TestAReloadGoesOnCounting(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
	before := w.samples()
	require.Positive(t, before[callsForwarded])

	w.start("refresh_before 2m", "", "")
	after := w.samples()
	require.InDelta(t, before[callsForwarded], after[callsForwarded], 0, "nothing is lost")
	require.Len(t, after, len(before))
	w.callAfterReload()
	require.InDelta(t, 1, w.counted(after)[callsForwarded], 0, "and nothing counted twice")

	// Another store, and so another source, whose counters go on all the same.
	require.NoError(t, load(t, strings.Replace(w.caddyfile("", "", ""), w.dir+"/storage", w.dir+"/other", 1)))
	other := w.samples()
	require.GreaterOrEqual(t, other[callsForwarded], after[callsForwarded]+1)
	require.GreaterOrEqual(t, other["pleo_cache_hits_total"], after["pleo_cache_hits_total"]+1)
	require.Zero(t, other[`pleo_connections{state="connected"}`])
}

func TestARefusedReloadLeavesTheMetricsOfTheRunningConfiguration(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	taken := newUpstream(t).address
	require.Error(t, load(t, w.caddyfile("", "", "")+"\nhttp://"+taken+" {\n\trespond ok\n}\n"))
	before := w.samples()
	require.InDelta(t, 1, before[`pleo_connections{state="connected"}`], 0)
	w.callAfterReload()
	require.InDelta(t, 1, w.counted(before)[callsForwarded], 0)
}

func TestNoMetricNamesAConnection(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("acme-holding", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme-holding").StatusCode)
	body := w.adminCall(http.MethodGet, "/metrics").body
	for _, secret := range append(w.pleo.Secrets(), "acme-holding", "/v2/employees") {
		require.NotContains(t, body, secret)
	}
}
