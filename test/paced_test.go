package test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A refresh that has not begun to be sent has failed for now, unless it waits for the
// store.
func TestACallThatWaitsForPleoIsNotToldThatTheStoreIsAway(t *testing.T) {
	t.Parallel()
	for name, keep := range map[string]func(*testing.T, *pleo, *proxy) (release func()){
		"to say whether the refresh token lives": func(_ *testing.T, e *pleo, _ *proxy) func() {
			return e.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Kind: pleotest.RefreshToken, Hold: pleotest.BeforeProcessing}).Release
		},
		"to take requests again": func(t *testing.T, e *pleo, p *proxy) func() {
			t.Helper()
			e.hasToWait(t, p, "long", "8")
			return func() {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startPleo(t)
			p := startProxy(t, e, config{options: "refresh_timeout 1s"})
			e.authorise(t, p, "long", company(1))
			e.SetAccessTokenLife(2 * time.Second)
			e.authorise(t, p, "default", company(0))
			e.SetAccessTokenLife(15 * time.Minute)
			require.Eventually(t, func() bool { return e.livingTokens() <= 1 }, patience, tick)
			release := keep(t, e, p)
			defer release()
			refreshed := e.Counters().RefreshRequests

			requireProblem(t, get(t, p.URL+"/v2/employees"), http.StatusServiceUnavailable, "refresh-failed")
			require.Equal(t, refreshed, e.Counters().RefreshRequests)
			release()
			awaitUse(t, p, "default")
			require.Equal(t, refreshed+1, e.Counters().RefreshRequests)
		})
	}
}

// hasToWait has Pleo ask a process to wait: all its requests do then.
func (e *pleo) hasToWait(t *testing.T, p *proxy, connection, retryAfter string) {
	t.Helper()
	refused := e.Fault(pleotest.Fault{
		Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {retryAfter}},
	})
	p.admin(t, http.MethodPost, "/pleo/connections/"+connection+"/refresh", "", nil)
	await(t, refused)
}

// A code is good for a moment, and a person waits: no 429 holds its exchange.
func TestABrowserThatComesBackWhilePleoHasTheClientWaitIsNotKept(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{})
	e.authorise(t, p, "default", company(0))
	b := newBrowser(t)
	back := e.approve(t, b, p.origin(), "other", company(0))
	e.hasToWait(t, p, "default", "12")

	began := time.Now()
	first := b.open(t, back)
	require.Less(t, time.Since(began), 8*time.Second, "the browser hangs, and is answered %d then", first.status)
	require.Equal(t, http.StatusOK, first.status, "%s", first.body)
}

func TestAnAuthorisationThatHasToWaitForPleoHoldsNoRefreshOfAnotherReplicaUp(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	waiting, free := startProxy(t, e, onRedis(r)), startProxy(t, e, onRedis(r))
	e.authorise(t, waiting, "long", company(1))
	e.SetAccessTokenLife(2 * time.Second)
	e.authorise(t, free, "control", company(0))
	e.authorise(t, free, "default", company(0))
	e.SetAccessTokenLife(15 * time.Minute)
	b := newBrowser(t)
	back := e.approve(t, b, waiting.origin(), "default", company(0))
	e.hasToWait(t, waiting, "long", "20")
	done := make(chan answer, 1)
	go func() { done <- send(b.Client, request(t, http.MethodGet, back, "")) }()
	require.NoError(t, (<-done).err)
	require.Eventually(t, func() bool { return e.livingTokens() <= 2 }, patience, tick) // that of `long`, and the browser's

	free.employees(t, on("control"))
	free.employees(t, on("default")) // which the browser has come back for
}
