package caddymodule_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func requireBrowserHeaders(t *testing.T, res answer) {
	t.Helper()
	require.Equal(t, "no-referrer", res.Header.Get("Referrer-Policy"))
	requirePageHeaders(t, res)
}

// requirePageHeaders checks what all pages have.
func requirePageHeaders(t *testing.T, res answer) {
	t.Helper()
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, "DENY", res.Header.Get("X-Frame-Options"))
	require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
	policy := res.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.Contains(t, policy, "frame-ancestors 'none'")
	require.NotContains(t, policy, "unsafe")
}

// requirePage checks a page that says what happened.
func requirePage(t *testing.T, res answer, status int) {
	t.Helper()
	requireHTML(t, res, status)
	requireBrowserHeaders(t, res)
}

func requireHTML(t *testing.T, res answer, status int) {
	t.Helper()
	require.Equal(t, status, res.StatusCode, res.body)
	require.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
	require.Contains(t, res.body, `<html lang="en">`)
	require.Contains(t, res.body, "<h1>")
}

func TestAuthoriseSendsTheBrowserToPleo(t *testing.T) {
	w := newWorld(t)
	w.start("return_to_origins https://app.example.com", "", "")
	browser := newBrowser(t)
	res := get(t, browser, w.authoriseURL("connection=acme&return_to=/settings&subject="+url.QueryEscape(pleotest.Companies()[0].URN())))
	require.Equal(t, http.StatusFound, res.StatusCode, res.body)
	requireBrowserHeaders(t, res)
	to, err := url.Parse(res.Header.Get("Location"))
	require.NoError(t, err)
	require.Equal(t, w.pleo.AuthURL+"/oauth/authorize", to.Scheme+"://"+to.Host+to.Path)
	q := to.Query()
	require.Equal(t, "code", q.Get("response_type"))
	require.Equal(t, w.pleo.ClientID, q.Get("client_id"))
	require.Equal(t, w.redirectURI(), q.Get("redirect_uri"))
	require.Equal(t, "users:read export:read", q.Get("scope"))
	require.Equal(t, "S256", q.Get("code_challenge_method"))
	require.Equal(t, pleotest.Companies()[0].URN(), q.Get("urn_pleo_params_oauth_subject"))

	cookies := res.Cookies()
	require.Len(t, cookies, 1)
	c := cookies[0]
	require.True(t, strings.HasPrefix(c.Name, "pleo-flow-"), c.Name)
	require.False(t, c.Secure, "the redirect URI is plain HTTP on this machine")
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, "/", c.Path)
	require.Equal(t, 600, c.MaxAge)
	require.NotContains(t, c.Name+c.Value, q.Get("state"))

	other := get(t, browser, w.authoriseURL("return_to="+url.QueryEscape("https://app.example.com/x")))
	require.Equal(t, http.StatusFound, other.StatusCode)
	require.NotEqual(t, c.Name, other.Cookies()[0].Name, "each tab has a flow of its own")
}

func TestBehindTLSTheCookieIsBoundToTheHost(t *testing.T) {
	w := newWorld(t)
	config := strings.Replace(w.caddyfile("", "", ""), "redirect_uri "+w.redirectURI(), "redirect_uri https://integration.example.com/pleo/callback", 1)
	require.NoError(t, load(t, config))
	res := get(t, newBrowser(t), w.authoriseURL(""))
	require.Equal(t, http.StatusFound, res.StatusCode, res.body)
	c := res.Cookies()[0]
	require.True(t, strings.HasPrefix(c.Name, "__Host-pleo-flow-"), c.Name)
	require.True(t, c.Secure)
	require.Empty(t, c.Domain)
	require.Equal(t, "/", c.Path)
}

func TestOnlyAGETStartsOrCompletesAnything(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	for _, path := range []string{"/pleo/authorise", "/pleo/callback?state=x&code=y"} {
		for method, status := range map[string]int{http.MethodHead: 200, http.MethodPost: 405, http.MethodOptions: 405, http.MethodPut: 405} {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.browser+path, nil)
			require.NoError(t, err)
			res := do(t, newBrowser(t), req)
			require.Equal(t, status, res.StatusCode, method)
			require.Empty(t, res.Cookies())
			require.Empty(t, res.Header.Get("Location"))
			require.Empty(t, res.body)
			requireBrowserHeaders(t, res)
		}
	}
}

func TestABrokenLinkStartsNothing(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	for _, query := range []string{
		"connection=", "connection=a%2Fb", "connection=a&connection=a", "connection=a;b",
		"return_to=//evil.example.com", "return_to=https://evil.example.com", "return_to=/a&return_to=/b", "return_to=javascript:alert(1)",
		"subject=acme", "subject=urn:a&subject=urn:b", "subject=" + strings.Repeat("a", 300), "x=" + strings.Repeat("a", 9000), "%zz",
	} {
		res := get(t, newBrowser(t), w.authoriseURL(query))
		requirePage(t, res, http.StatusBadRequest)
		require.Empty(t, res.Cookies(), query)
		require.NotContains(t, res.body, "evil")
	}
	flows, _ := filepath.Glob(filepath.Join(w.dir, "storage", "pleo", "*", "flows", "*"))
	require.Empty(t, flows)
}

func TestTheBrowserComesBackToWhereItWasGoing(t *testing.T) {
	w := newWorld(t)
	w.start("return_to_origins https://app.example.com", "", "")
	for target, expected := range map[string]string{
		"/settings?tab=pleo#x":       "/settings?tab=pleo&pleo=connected#x",
		"https://app.example.com/in": "https://app.example.com/in?pleo=connected",
	} {
		browser := newBrowser(t)
		back, err := w.pleo.Approve(w.begin(browser, "connection=acme&return_to="+url.QueryEscape(target)), "")
		require.NoError(t, err)
		res := get(t, browser, back)
		require.Equal(t, http.StatusFound, res.StatusCode, res.body)
		require.Equal(t, expected, res.Header.Get("Location"))
		requireBrowserHeaders(t, res)
		require.Len(t, res.Cookies(), 1)
		require.Negative(t, res.Cookies()[0].MaxAge, "the cookie is cleared")

		again := get(t, browser, back)
		requirePage(t, again, http.StatusBadRequest)
	}
	require.Equal(t, 2, w.pleo.Counters().ExchangeRequests, "a used state is not exchanged again")
}

func TestTwoTabsBothComplete(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	browser := newBrowser(t)
	first, second := w.begin(browser, "connection=acme"), w.begin(browser, "connection=umbrella")
	for _, to := range []string{second, first} {
		back, err := w.pleo.Approve(to, "")
		require.NoError(t, err)
		res := get(t, browser, back)
		requirePage(t, res, http.StatusOK)
		require.Contains(t, res.body, "connected")
	}
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode)
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: umbrella").StatusCode)
}

func TestAbandonedFlowsDoNotFillTheBrowser(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	browser := newBrowser(t)
	var last string
	for range 20 {
		last = w.begin(browser, "")
	}
	site, err := url.Parse("http://" + w.browser)
	require.NoError(t, err)
	require.LessOrEqual(t, len(browser.Jar.Cookies(site)), 8)
	back, err := w.pleo.Approve(last, "")
	require.NoError(t, err)
	requirePage(t, get(t, browser, back), http.StatusOK)
}

func TestADeniedAuthorisationSaysSo(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	browser := newBrowser(t)
	back, err := w.pleo.Deny(w.begin(browser, "connection=acme&return_to=/settings"))
	require.NoError(t, err)
	res := get(t, browser, back)
	requirePage(t, res, http.StatusForbidden)
	require.Contains(t, res.body, "http://"+w.browser+"/pleo/authorise?connection=acme&amp;return_to=%2Fsettings", "how to start again")
	require.Zero(t, w.pleo.Counters().ExchangeRequests)
	w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme"), 401, "not-connected")
}

// Pleo's redirect says why there is no code. Only access_denied is the user's no.
func TestAnAuthorisationThatIsRefusedSaysWhoseFaultItIs(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	for code, c := range map[string]struct {
		status int
		says   string
		again  bool
	}{
		"access_denied":             {http.StatusForbidden, "Access was not granted", true},
		"some_code_of_pleos":        {http.StatusForbidden, "Access was not granted", true},
		"invalid_scope":             {http.StatusBadGateway, "not set up correctly", false},
		"unauthorized_client":       {http.StatusBadGateway, "not set up correctly", false},
		"invalid_request":           {http.StatusBadGateway, "not set up correctly", false},
		"unsupported_response_type": {http.StatusBadGateway, "not set up correctly", false},
		"server_error":              {http.StatusBadGateway, "an error of its own", true},
		"temporarily_unavailable":   {http.StatusBadGateway, "an error of its own", true},
	} {
		browser := newBrowser(t)
		state := mustParse(t, w.begin(browser, "connection=acme")).Query().Get("state")
		description := "it says: " + code + "\x1b[31m\n" + strings.Repeat("x", 1000)
		res := get(t, browser, w.redirectURI()+"?"+url.Values{"state": {state}, "error": {code}, "error_description": {description}}.Encode())
		requirePage(t, res, c.status)
		require.Contains(t, res.body, c.says, code)
		require.Equal(t, c.again, strings.Contains(res.body, "/pleo/authorise?connection=acme"), code)
		require.NotContains(t, res.body, "it says", "what the browser brings is not shown")
		logged, err := os.ReadFile(w.log)
		require.NoError(t, err)
		require.Contains(t, string(logged), code)
		require.Contains(t, string(logged), `"description":"it says: `+code)
		require.NotContains(t, string(logged), strings.Repeat("x", 300))
		require.NotContains(t, string(logged), "\x1b")
	}
	// A callback without a state of ours writes nothing into the log.
	get(t, newBrowser(t), w.redirectURI()+"?error=invalid_scope&error_description=made-up-words&state=x")
	logged, err := os.ReadFile(w.log)
	require.NoError(t, err)
	require.NotContains(t, string(logged), "made-up-words")
}

func TestAWrongClientSecretAtTheConsentIsSaidToBeTheOperators(t *testing.T) {
	w := newWorld(t)
	t.Setenv("TEST_CLIENT_SECRET", "another secret")
	w.start("", "", "")
	browser := newBrowser(t)
	back, err := w.pleo.Approve(w.begin(browser, "connection=acme"), "")
	require.NoError(t, err)
	res := get(t, browser, back)
	requirePage(t, res, http.StatusBadGateway)
	require.Contains(t, res.body, "not set up correctly")
	require.NotContains(t, res.body, "In a minute")
	require.NotContains(t, res.body, "/pleo/authorise?", "starting again does not help")
}

func TestAnotherBrowserCannotCompleteAFlow(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	browser, attacker := newBrowser(t), newBrowser(t)
	back, err := w.pleo.Approve(w.begin(browser, "connection=acme"), "")
	require.NoError(t, err)
	_ = w.begin(attacker, "connection=acme") // has a flow of its own
	res := get(t, attacker, back)
	requirePage(t, res, http.StatusForbidden)
	require.NotContains(t, res.body, "acme", "nothing is told before the browser is known")
	require.Zero(t, w.pleo.Counters().ExchangeRequests)
	requirePage(t, get(t, browser, back), http.StatusOK)
}

func TestACallbackThatMakesNoSenseIsExchangedNever(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	browser := newBrowser(t)
	to, err := url.Parse(w.begin(browser, ""))
	require.NoError(t, err)
	state := to.Query().Get("state")
	for _, query := range []string{
		"", "state=unknown&code=x", "code=x", "state=" + state + "&code=a&code=b", "state=" + state + "&state=" + state + "&code=a",
		"state=" + state + "&code=a&iss=a&iss=b", "state=" + state + "&code=" + strings.Repeat("a", 20_000), "state=%zz",
		"state=" + state + "&code=x&iss=https%3A%2F%2Fevil.example.com",
	} {
		requirePage(t, get(t, browser, w.redirectURI()+"?"+query), http.StatusBadRequest)
	}
	require.Zero(t, w.pleo.Counters().ExchangeRequests)
}

func TestAnotherCompanyIsRefused(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	companies := pleotest.Companies()
	w.connect("acme", companies[0].ID)
	browser := newBrowser(t)
	back, err := w.pleo.Approve(w.begin(browser, "connection=acme"), companies[1].ID)
	require.NoError(t, err)
	requirePage(t, get(t, browser, back), http.StatusConflict)
	res := w.call(http.MethodGet, "/v1/introspect", nil, "Pleo-Connection: acme")
	require.Contains(t, res.body, companies[0].URN(), "nothing was overwritten")

	w.start("allow_subject_change", "", "")
	w.connect("acme", companies[1].ID)
	res = w.call(http.MethodGet, "/v1/introspect", nil, "Pleo-Connection: acme")
	require.Contains(t, res.body, companies[1].URN())
}

func TestAFailedExchangeSaysSo(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	browser := newBrowser(t)
	back, err := w.pleo.Approve(w.begin(browser, "connection=acme"), "")
	require.NoError(t, err)
	w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: http.StatusInternalServerError, Body: "<h1>oh</h1>"})
	res := get(t, browser, back)
	requirePage(t, res, http.StatusBadGateway)
	require.NotContains(t, res.body, "oh<")
	require.Equal(t, 1, w.pleo.Counters().ExchangeRequests, "a code is sent once")
}

func TestWithoutAStoreNothingStarts(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "storage")))
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "storage"), nil, 0o600))
	res := get(t, newBrowser(t), w.authoriseURL("connection=acme"))
	requirePage(t, res, http.StatusServiceUnavailable)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.Empty(t, res.Cookies())
	call := w.call(http.MethodGet, "/v2/employees", nil)
	w.problem(call, 503, "store-unavailable")
	require.NotEmpty(t, call.Header.Get("Retry-After"))
	require.NotContains(t, call.body, w.dir)
	require.NoError(t, os.Remove(filepath.Join(w.dir, "storage")))
}

func TestAuthoriseRefusesAParameterThatItDoesNotKnow(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	for query, name := range map[string]string{
		"conection=acme":                             "conection",
		"connection=acme&retrun_to=/":                "retrun_to",
		"connection=acme&" + strings.Repeat("x", 99): strings.Repeat("x", 40),
		"%3Cscript%3E=1":                             "&lt;script&gt;",
	} {
		res := get(t, newBrowser(t), w.authoriseURL(query))
		requirePage(t, res, http.StatusBadRequest)
		require.Contains(t, res.body, name)
		require.Empty(t, res.Header.Values("Set-Cookie"))
	}
}
