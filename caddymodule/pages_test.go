package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// callbackAnswer is what a browser gets that comes back with a flow of acme.
func callbackAnswer(t *testing.T, retryAfter time.Duration, err error) (*http.Response, string, []observer.LoggedEntry) {
	t.Helper()
	core, logged := observer.New(zap.DebugLevel)
	app := &App{config: pleoauth.Config{RedirectURI: "https://app.example.com/pleo/callback"}}
	app.authoriseURL = mustURL(t, "https://app.example.com/pleo/authorise")
	c := &Callback{app: app, logger: zap.New(core)}
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "https://app.example.com/pleo/callback?state=x&code=secret", nil)
	c.answer(w, r, pleoauth.Completed{Connection: "acme", ReturnTo: "/settings", RetryAfter: retryAfter}, err)
	return w.Result(), w.Body.String(), logged.All()
}

func TestEachEndOfAnAuthorisationIsToldInWordsWithWhatToDo(t *testing.T) {
	const again = "https://app.example.com/pleo/authorise?connection=acme&amp;return_to=%2Fsettings"
	for _, c := range []struct {
		err        error
		retryAfter time.Duration
		status     int
		says       []string
		wait       string // Retry-After
		again      bool
	}{
		{pleoauth.ErrAuthorisationPending, 14200 * time.Millisecond, 202, []string{"connection acme is not settled yet", "up to 15 seconds", "goes on by itself"}, "15", false},
		{pleoauth.ErrAuthorisationPending, 0, 202, []string{"up to 1 second."}, "1", false},
		{pleoauth.ErrExchangeFailed, 0, 502, []string{"did not hand it over", "In a minute, start again"}, "", true},
		{pleoauth.ErrExchangeFailed, 15 * time.Second, 502, []string{"has not answered", "leaves open", "In 15 seconds, start again"}, "15", true},
		{pleoauth.ErrSuperseded, 0, 409, []string{"was disconnected, or authorised by a later visit", "Nothing was stored by this visit"}, "", true},
		{pleoauth.ErrSubjectUnknown, 0, 502, []string{"not known yet which company", "could not be asked", "Nothing was exchanged", "In a minute, start again"}, "", true},
		{pleoauth.ErrStoreUnavailable, 0, 503, []string{"cannot reach its store"}, "10", true},
	} {
		res, body, logged := callbackAnswer(t, c.retryAfter, fmt.Errorf("completing: %w", c.err))
		require.Equal(t, c.status, res.StatusCode, c.err)
		for _, text := range c.says {
			require.Contains(t, body, text)
		}
		require.Equal(t, c.wait, res.Header.Get("Retry-After"), c.err)
		require.Equal(t, c.again, strings.Contains(body, again), c.err)
		require.NotContains(t, body, "secret")

		require.Len(t, logged, 1)
		require.Equal(t, "acme", logged[0].ContextMap()["connection"])
		if c.status == http.StatusAccepted {
			require.Equal(t, c.wait, res.Header.Get("Refresh"), "the same address again")
			continue
		}
		require.Empty(t, res.Header.Get("Refresh"))
		require.Equal(t, "an authorisation was not completed", logged[0].Message)
		require.Contains(t, logged[0].ContextMap()["error"], c.err.Error())
	}
}

func TestABrowserThatHasToWaitComesBackByItselfWithItsCookie(t *testing.T) {
	c := &Callback{app: new(App), logger: zap.NewNop()}
	cookies := flowCookiesFor("http://localhost/pleo/callback")
	const state = "some state"
	flowID, visits := pleoauth.FlowID(state), 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !prepareBrowser(w, r) {
			return
		}
		if r.URL.Query().Get("state") != state || cookies.get(r, flowID) != "binding" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var err error
		if visits++; visits <= 2 {
			err = pleoauth.ErrAuthorisationPending
		}
		if flowOver(err) {
			cookies.clear(w, r, flowID)
		}
		c.answer(w, r, pleoauth.Completed{Connection: "acme", RetryAfter: time.Second}, err)
	}))
	defer server.Close()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	address := server.URL + "/pleo/callback?state=some+state&code=x"
	jar.SetCookies(mustURL(t, server.URL), []*http.Cookie{cookies.cookie(flowID, "binding", time.Minute)})
	browser := &http.Client{Jar: jar}

	for _, status := range []int{http.StatusAccepted, http.StatusAccepted, http.StatusOK} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		require.NoError(t, err)
		res, err := browser.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, status, res.StatusCode)
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		require.Equal(t, "no-referrer", res.Header.Get("Referrer-Policy"))
		if status == http.StatusAccepted {
			wait, err := strconv.Atoi(res.Header.Get("Refresh"))
			require.NoError(t, err, "a number alone is the same address")
			require.Equal(t, 1, wait)
			require.Empty(t, res.Cookies(), "the cookie stays")
		}
	}
	require.Empty(t, jar.Cookies(mustURL(t, address)), "the flow is over")
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u
}
