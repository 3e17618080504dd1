package pleotest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestAnApprovedRequestRedirectsWithCodeAndState(t *testing.T) {
	i := start(t)
	redirect, err := i.Approve(i.authoriseURL(i.request()), "")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(redirect, redirectURI+"?"), redirect)
	query := parse(t, redirect).Query()
	require.Equal(t, state, query.Get("state"))
	require.NotEmpty(t, query.Get("code"))
	require.Len(t, query, 2)
	require.Equal(t, 1, i.Counters().Authorisations)
}

func TestADeniedRequestRedirectsWithErrorAndState(t *testing.T) {
	i := start(t)
	redirect, err := i.Deny(i.authoriseURL(i.request()))
	require.NoError(t, err)
	query := parse(t, redirect).Query()
	require.Equal(t, "access_denied", query.Get("error"))
	require.NotEmpty(t, query.Get("error_description"))
	require.Equal(t, state, query.Get("state"))
	require.Empty(t, query.Get("code"))
	require.Equal(t, 1, i.Counters().Denials)
}

func TestErrorsOfClientAndRedirectURIAreShownAndNeverRedirected(t *testing.T) {
	i := start(t, pleotest.WithConsent(pleotest.AutoApprove, ""))
	for name, change := range map[string]func(url.Values){
		"no client":              func(v url.Values) { v.Del("client_id") },
		"unknown client":         func(v url.Values) { v.Set("client_id", "somebody") },
		"client twice":           func(v url.Values) { v.Add("client_id", i.ClientID) },
		"no redirect URI":        func(v url.Values) { v.Del("redirect_uri") },
		"another redirect URI":   func(v url.Values) { v.Set("redirect_uri", "https://evil.example/") },
		"a longer redirect URI":  func(v url.Values) { v.Set("redirect_uri", redirectURI+"/") },
		"one in capitals":        func(v url.Values) { v.Set("redirect_uri", strings.ToUpper(redirectURI)) },
		"one with a query":       func(v url.Values) { v.Set("redirect_uri", redirectURI+"?a=b") },
		"the same, spelt anew":   func(v url.Values) { v.Set("redirect_uri", "https://integration.example.com:443/pleo/callback") },
		"two that are both good": func(v url.Values) { v.Add("redirect_uri", redirectURI) },
	} {
		t.Run(name, func(t *testing.T) {
			request := i.request()
			change(request)
			a := i.do(i.newRequest(http.MethodGet, i.authoriseURL(request), ""))
			require.Equal(t, http.StatusBadRequest, a.Status)
			require.Empty(t, a.Header.Get("Location"))
			require.Contains(t, a.Header.Get("Content-Type"), "text/html")
			_, err := i.Approve(i.authoriseURL(request), "")
			require.Error(t, err)
		})
	}
}

func TestOtherErrorsAreRedirected(t *testing.T) {
	i := start(t)
	for name, test := range map[string]struct {
		change func(url.Values)
		want   string
	}{
		"no response type":         {func(v url.Values) { v.Del("response_type") }, "invalid_request"},
		"the implicit grant":       {func(v url.Values) { v.Set("response_type", "token") }, "unsupported_response_type"},
		"no state":                 {func(v url.Values) { v.Del("state") }, "invalid_request"},
		"no PKCE":                  {func(v url.Values) { v.Del("code_challenge"); v.Del("code_challenge_method") }, "invalid_request"},
		"plain PKCE":               {func(v url.Values) { v.Set("code_challenge_method", "plain") }, "invalid_request"},
		"PKCE that means plain":    {func(v url.Values) { v.Del("code_challenge_method") }, "invalid_request"},
		"a challenge too short":    {func(v url.Values) { v.Set("code_challenge", "abc") }, "invalid_request"},
		"no scope":                 {func(v url.Values) { v.Del("scope") }, "invalid_scope"},
		"a scope not the client's": {func(v url.Values) { v.Set("scope", "users:read cards:write") }, "invalid_scope"},
		"a scope without meaning":  {func(v url.Values) { v.Set("scope", "users:read  export:read") }, "invalid_scope"},
		"a doubled parameter":      {func(v url.Values) { v.Add("scope", "users:read") }, "invalid_request"},
		"a subject nobody has":     {func(v url.Values) { v.Set("urn_pleo_params_oauth_subject", "urn:pleo:company:x") }, "invalid_request"},
		"a subject without URN": {func(v url.Values) {
			v.Set("urn_pleo_params_oauth_subject", pleotest.Companies()[0].ID)
		}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			request := i.request()
			test.change(request)
			a := i.do(i.newRequest(http.MethodGet, i.authoriseURL(request), ""))
			require.Equal(t, http.StatusFound, a.Status)
			query := parse(t, a.Header.Get("Location")).Query()
			require.Equal(t, test.want, query.Get("error"))
			require.Equal(t, request.Get("state"), query.Get("state"))
			require.Empty(t, query.Get("code"))
		})
	}
}

func TestASubjectChoosesTheCompany(t *testing.T) {
	i := start(t)
	company := pleotest.Companies()[2]
	request := i.request()
	request.Set("urn_pleo_params_oauth_subject", company.URN())
	redirect, err := i.Approve(i.authoriseURL(request), "")
	require.NoError(t, err)
	a := i.token(exchange(parse(t, redirect).Query().Get("code")))
	require.Equal(t, company.URN(), i.introspect(a.Access).Body["urn:pleo:params:oauth:subject_urn"])
}

func TestTheIssuerIsSentIfAsked(t *testing.T) {
	i := start(t, pleotest.WithIssuerParameter())
	redirect, err := i.Approve(i.authoriseURL(i.request()), "")
	require.NoError(t, err)
	require.Equal(t, i.AuthURL, parse(t, redirect).Query().Get("iss"))
}

func TestARedirectURIKeepsItsOwnQuery(t *testing.T) {
	i := start(t, pleotest.WithRedirectURI("https://integration.example.com/cb?tenant=a%2Fb"))
	request := i.request()
	request.Set("redirect_uri", "https://integration.example.com/cb?tenant=a%2Fb")
	redirect, err := i.Approve(i.authoriseURL(request), "")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(redirect, "https://integration.example.com/cb?tenant=a%2Fb&"), redirect)
}

func TestOnlyGoodClientsAreRegistered(t *testing.T) {
	i := start(t)
	require.Error(t, i.AddClient(pleotest.Client{}))
	for _, uri := range []string{
		"http://integration.example.com/", "http://127.0.0.1/", "https://*.example.com/", "https://a.example/#b", "/callback", "x",
	} {
		require.Error(t, i.AddClient(pleotest.Client{ID: "a", RedirectURIs: []string{uri}}), uri)
	}
	require.Error(t, i.AddClient(pleotest.Client{ID: "a", Scopes: []string{"everything"}}))
	require.NoError(t, i.AddClient(pleotest.Client{ID: "a", RedirectURIs: []string{"http://localhost:1234/callback"}}))
}
