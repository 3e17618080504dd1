package caddymodule

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestEveryRowOfTheTableHasItsDocument(t *testing.T) {
	authorise, err := url.Parse("https://integration.example.com/pleo/authorise?theme=dark")
	require.NoError(t, err)
	app := &App{authoriseURL: authorise}
	tokenError := func(kind error, reason pleoauth.Reason, after time.Duration) error {
		return &pleoauth.TokenError{Kind: kind, Connection: "acme:1", Reason: reason, RetryAfter: after, Err: errors.New("10.0.0.9:6379 refused")}
	}
	link := "https://integration.example.com/pleo/authorise?connection=acme%3A1&theme=dark"
	for name, c := range map[string]struct {
		problem                       *problem
		status                        int
		typ, reason, link             string
		challenge, retry, connectedAs string
	}{
		"a malformed name":           {invalidConnection(), 400, "invalid-connection", "", "", "", "", ""},
		"a malformed name, later":    {app.tokenProblem("?", pleoauth.ErrInvalidConnection), 400, "invalid-connection", "", "", "", "", ""},
		"not connected":              {app.tokenProblem("acme:1", tokenError(pleoauth.ErrNotConnected, "", 0)), 401, "not-connected", "", link, "Bearer", "", "acme:1"},
		"ended":                      {app.tokenProblem("acme:1", tokenError(pleoauth.ErrReauthorisationRequired, pleoauth.ReasonLostResponse, 0)), 401, "reauthorisation-required", "lost_response", link, `Bearer error="invalid_token"`, "", "acme:1"},
		"the address is not allowed": {clientNotAllowed("address"), 403, "client-not-allowed", "address", "", "", "", ""},
		"the origin is not allowed":  {clientNotAllowed("origin"), 403, "client-not-allowed", "origin", "", "", "", ""},
		"the host is not allowed":    {clientNotAllowed("host"), 403, "client-not-allowed", "host", "", "", "", ""},
		"a method without a token":   {methodNotSupported(), 501, "method-not-supported", "", "", "", "", ""},
		"the client is rejected":     {app.tokenProblem("acme:1", tokenError(pleoauth.ErrClientRejected, "", time.Minute)), 502, "client-rejected", "", "", "", "", "acme:1"},
		"a refresh failed":           {app.tokenProblem("acme:1", tokenError(pleoauth.ErrRefreshFailed, "", 2500*time.Millisecond)), 503, "refresh-failed", "", "", "", "3", "acme:1"},
		"the store is away":          {app.tokenProblem("acme:1", tokenError(pleoauth.ErrStoreUnavailable, "", 0)), 503, "store-unavailable", "", "", "", "1", "acme:1"},
		"a refresh is unsettled":     {app.tokenProblem("acme:1", tokenError(pleoauth.ErrRefreshUnsettled, "", 7*time.Second)), 503, "refresh-unsettled", "", "", "", "7", "acme:1"},
		"another client's record":    {app.tokenProblem("acme:1", tokenError(pleoauth.ErrForeignRecord, "", 0)), 503, "store-unavailable", "", "", "", "1", "acme:1"},
		"before the start":           {app.tokenProblem("acme:1", errNotStarted), 503, "store-unavailable", "", "", "", "1", "acme:1"},
		"an unknown error":           {app.tokenProblem("acme:1", errors.New("?")), 503, "store-unavailable", "", "", "", "1", "acme:1"},
		"too large to repeat":        {callNotRepeated("acme:1"), 503, "call-not-repeated", "", "", "", "1", "acme:1"},
	} {
		t.Run(name, func(t *testing.T) {
			res := c.problem.response(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
			require.Equal(t, c.status, res.StatusCode)
			require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			require.Equal(t, c.challenge, res.Header.Get("Www-Authenticate"))
			require.Equal(t, c.retry, res.Header.Get("Retry-After"))
			body, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Len(t, body, int(res.ContentLength))
			var doc map[string]any
			require.NoError(t, json.Unmarshal(body, &doc))
			require.Equal(t, "urn:pleo-auth-proxy:"+c.typ, doc["type"])
			require.EqualValues(t, c.status, doc["status"])
			require.NotEmpty(t, doc["title"])
			require.NotEmpty(t, doc["detail"])
			for field, expected := range map[string]string{"reason": c.reason, "authorise_uri": c.link, "connection": c.connectedAs} {
				if expected == "" {
					require.NotContains(t, doc, field)
					continue
				}
				require.Equal(t, expected, doc[field])
			}
			require.NotContains(t, string(body), "10.0.0.9", "causes name addresses and stay inside")
		})
	}
}

func TestAProblemForHEADHasNoBody(t *testing.T) {
	res := invalidConnection().response(httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/", nil))
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Empty(t, body)
	require.NotEqual(t, "0", res.Header.Get("Content-Length"))
}

func TestWithoutAuthoriseURIThereIsNoLink(t *testing.T) {
	require.Empty(t, new(App).tokenProblem("acme", pleoauth.ErrNotConnected).AuthoriseURI)
}
