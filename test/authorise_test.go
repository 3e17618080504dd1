package test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestAnAuthorisationThatIsNotCompletedStoresNothingAndSpendsNoCode(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{})
	b := newBrowser(t)

	// Denied.
	start := b.open(t, p.origin()+"/pleo/authorise")
	back, err := e.Deny(start.header.Get("Location"))
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, b.open(t, back).status)

	// Another browser, which does not spend the flow of the first.
	back = e.approve(t, b, p.origin(), "default", company(0))
	require.Equal(t, http.StatusForbidden, newBrowser(t).open(t, back).status)

	// A state that is unknown.
	state := back[strings.Index(back, "state="):]
	require.Equal(t, http.StatusBadRequest, b.open(t, strings.Replace(back, state, "state=made-up", 1)).status)
	require.Zero(t, e.Counters().ExchangeRequests, "all of that is found out before any exchange")
	requireProblem(t, get(t, p.URL+"/v2/employees"), http.StatusUnauthorized, "not-connected")

	// The right browser, once.
	require.Equal(t, http.StatusOK, b.open(t, back).status)
	require.Equal(t, http.StatusBadRequest, b.open(t, back).status)
	require.Equal(t, 1, e.Counters().ExchangeRequests)
	p.employees(t)
}

func TestAnAuthorisationThatGoesWrongLeavesTheGrantThatIsThere(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{})
	b := newBrowser(t)
	e.authoriseWith(t, b, p.origin(), "default", company(0))

	e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Status: http.StatusBadRequest, Body: `{"error":"invalid_grant"}`})
	require.Equal(t, http.StatusBadGateway, b.open(t, e.approve(t, b, p.origin(), "default", company(0))).status)
	require.Equal(t, company(0).ID, get(t, p.URL+"/v1/echo").companyID(t))

	back := e.approve(t, b, p.origin(), "default", company(1))
	require.Equal(t, http.StatusConflict, b.open(t, back).status, "another company than before")
	require.Equal(t, company(0).ID, get(t, p.URL+"/v1/echo").companyID(t))
}

func TestTheBrowserReturnsToWhereItCameFromAndNowhereElse(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{options: "return_to_origins https://app.example.com"})
	b := newBrowser(t)
	for wanted, back := range map[string]string{
		"/settings?tab=pleo":                "/settings?tab=pleo&pleo=connected",
		"https://app.example.com/settings":  "https://app.example.com/settings?pleo=connected",
		"https://app.example.com/?a=1#part": "https://app.example.com/?a=1&pleo=connected#part",
	} {
		start := b.open(t, p.origin()+"/pleo/authorise?return_to="+url.QueryEscape(wanted))
		require.Equal(t, http.StatusFound, start.status, wanted)
		callback, err := e.Approve(start.header.Get("Location"), company(0).Name)
		require.NoError(t, err)
		done := b.open(t, callback)
		require.Equal(t, http.StatusFound, done.status)
		require.Equal(t, back, done.header.Get("Location"))
	}
	for _, elsewhere := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "https://app.example.com.evil.example/", "javascript:alert(1)"} {
		require.Equal(t, http.StatusBadRequest, b.open(t, p.origin()+"/pleo/authorise?return_to="+url.QueryEscape(elsewhere)).status, elsewhere)
	}
}
