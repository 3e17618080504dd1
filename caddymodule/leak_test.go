package caddymodule_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// TestNothingSecretIsLogged takes connections through their whole life, and
// through failures, with access logs and at debug level.
func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t)
	w.start("return_to_origins https://app.example.com", "", "")
	secrets := []string{w.pleo.ClientSecret}
	remember := func(address string) string {
		u, err := url.Parse(address)
		require.NoError(t, err)
		for _, name := range []string{"state", "code", "code_challenge"} {
			if value := u.Query().Get(name); value != "" {
				secrets = append(secrets, value)
			}
		}
		return address
	}
	flow := func(query string, decide func(string) (string, error)) answer {
		browser := newBrowser(t)
		to := remember(w.begin(browser, query))
		site, _ := url.Parse("http://" + w.browser)
		for _, c := range browser.Jar.Cookies(site) {
			secrets = append(secrets, c.Value)
		}
		back, err := decide(to)
		require.NoError(t, err)
		return get(t, browser, remember(back))
	}
	approve := func(to string) (string, error) { return w.pleo.Approve(to, "") }

	require.Equal(t, 200, flow("connection=acme", approve).StatusCode)
	require.Equal(t, 302, flow("connection=acme&return_to=/x", approve).StatusCode)
	require.Equal(t, 403, flow("connection=acme", w.pleo.Deny).StatusCode)
	w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 500, Process: pleotest.NotProcessed})
	require.Equal(t, 502, flow("connection=other", approve).StatusCode)
	w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.AfterProcessing})
	require.Equal(t, 502, flow("connection=third", approve).StatusCode)
	get(t, newBrowser(t), remember(w.redirectURI()+"?state=made-up-state-of-mine&code=made-up-code-of-mine"))

	require.Equal(t, 200, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme", "Authorization: Bearer callers-own-credential").StatusCode)
	secrets = append(secrets, "callers-own-credential")
	w.pleo.Expire(pleotest.Target{Kind: pleotest.AccessToken})
	require.Equal(t, 200, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode)
	w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Drop: pleotest.BeforeProcessing})
	w.call(http.MethodPost, "/v1/receipts", strings.NewReader("x"), "Pleo-Connection: acme")
	w.pleo.Revoke(pleotest.Target{})
	w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme")
	require.Equal(t, 302, get(t, newBrowser(t), w.authoriseURL("")).StatusCode)

	logged, err := os.ReadFile(w.log)
	require.NoError(t, err)
	require.Contains(t, string(logged), "upstream roundtrip", "the log is at debug level")
	require.Contains(t, string(logged), "http.log.access", "there is an access log")
	require.Contains(t, string(logged), "/v2/employees")
	require.NotContains(t, string(logged), "/pleo/callback?")
	requireNoSecrets(t, string(logged), append(secrets, w.pleo.Secrets()...))

	// And what is on disk, sealed.
	require.NoError(t, filepath.Walk(w.dir, func(path string, info os.FileInfo, err error) error {
		require.NoError(t, err)
		if info.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, secret := range w.pleo.Secrets() {
			require.NotContains(t, string(content), secret, path)
		}
		return nil
	}))
}

func requireNoSecrets(t *testing.T, text string, secrets []string) {
	t.Helper()
	require.Greater(t, len(secrets), 10)
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret))} {
			if i := strings.Index(text, form); i >= 0 {
				t.Fatalf("a secret is in: %s", strings.ReplaceAll(text[max(0, i-200):i], form, "…"))
			}
		}
	}
}
