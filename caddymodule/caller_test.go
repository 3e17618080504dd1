package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

// prepared returns a request as Caddy hands it to handlers, and its replacer.
func prepared(t testing.TB, req *http.Request) (*http.Request, *caddy.Replacer) {
	t.Helper()
	repl := caddy.NewReplacer()
	req = caddyhttp.PrepareRequest(req, repl, httptest.NewRecorder(), new(caddyhttp.Server))
	return req, repl
}

func TestOnlyAllowedAddressesCall(t *testing.T) {
	rules, err := newCallerRules([]string{"10.0.0.0/8", "192.0.2.7", "fd00::/8"}, nil, apiServer{name: "external.pleo.io"})
	require.NoError(t, err)
	for _, remote := range []string{
		"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "@", "@app", "/run/app.sock",
		"10.1.2.3:1", "192.0.2.7:1", "[::ffff:10.1.2.3]:1", "[fd00::1]:1", "[fd00::1%eth0]:1",
	} {
		require.True(t, rules.addressAllowed(remote), remote)
	}
	for _, remote := range []string{"192.0.2.8:1", "8.8.8.8:1", "0.0.0.0:1", "[::]:1", "[2001:db8::1]:1", "", "127.0.0.1", "localhost:1"} {
		require.False(t, rules.addressAllowed(remote), remote)
	}
	none, err := newCallerRules(nil, nil, apiServer{name: "external.pleo.io"})
	require.NoError(t, err)
	require.True(t, none.addressAllowed("127.0.0.1:1"))
	require.False(t, none.addressAllowed("10.1.2.3:1"))
}

func TestOnlyExpectedHostsAreServed(t *testing.T) {
	rules, err := newCallerRules(nil, []string{"Pleo.Internal", "192.0.2.7"}, apiServer{name: "external.pleo.io"})
	require.NoError(t, err)
	for _, host := range []string{
		"localhost", "LOCALHOST", "acme.localhost", "a.b.localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]",
		"external.pleo.io", "External.Pleo.io", "external.pleo.io.", "pleo.internal", "192.0.2.7",
	} {
		require.True(t, rules.hostAllowed(host), host)
	}
	for _, host := range []string{"", "evil.example.com", "localhost.evil.example.com", "notlocalhost", "0.0.0.0", "2130706433", "0x7f.1", "10.0.0.1", "auth.pleo.io", "x.pleo.internal"} {
		require.False(t, rules.hostAllowed(host), host)
	}
}

func TestPagesOfOtherOriginsDoNotCall(t *testing.T) {
	for name, c := range map[string]struct {
		header  http.Header
		allowed bool
	}{
		"a program sends nothing of the kind":       {http.Header{}, true},
		"Node's fetch sends only a mode":            {http.Header{"Sec-Fetch-Mode": {"cors"}}, true},
		"an address typed in":                       {http.Header{"Sec-Fetch-Site": {"none"}}, true},
		"a page of this very origin":                {http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://localhost:7536"}}, true},
		"another spelling of this origin":           {http.Header{"Origin": {"http://LOCALHOST:7536"}}, true},
		"a page of another site":                    {http.Header{"Sec-Fetch-Site": {"cross-site"}}, false},
		"a page of another port":                    {http.Header{"Sec-Fetch-Site": {"same-site"}}, false},
		"a page of another origin, older browser":   {http.Header{"Origin": {"https://evil.example.com"}}, false},
		"another port, older browser":               {http.Header{"Origin": {"http://localhost:3000"}}, false},
		"another scheme":                            {http.Header{"Origin": {"https://localhost:7536"}}, false},
		"a sandboxed page":                          {http.Header{"Origin": {"null"}}, false},
		"two origins":                               {http.Header{"Origin": {"http://localhost:7536", "http://localhost:7536"}}, false},
		"two sites":                                 {http.Header{"Sec-Fetch-Site": {"none", "cross-site"}}, false},
		"an unknown site":                           {http.Header{"Sec-Fetch-Site": {"whatever"}}, false},
		"an origin that cannot be parsed":           {http.Header{"Origin": {"http://[::1"}}, false},
		"a good origin does not outweigh its site":  {http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"http://localhost:7536"}}, false},
		"a good site does not outweigh its origin ": {http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://evil.example.com"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:7536/v2/employees", nil)
			req.Header = c.header
			_, repl := prepared(t, req)
			require.Equal(t, c.allowed, originAllowed(repl))
		})
	}
}

func TestWhoMayCallIsReadFromTheCallersRequest(t *testing.T) {
	rules, err := newCallerRules(nil, nil, apiServer{name: "external.pleo.io"})
	require.NoError(t, err)
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:7536/", nil)
	req.RemoteAddr = "127.0.0.1:1"
	req.Header.Set("Origin", "https://evil.example.com")
	_, repl := prepared(t, req)

	out := req.Clone(req.Context())
	out.Header.Del("Origin") // as header_up, or "Connection: Origin", would
	require.Equal(t, "origin", rules.refusal(out, repl))

	req = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://evil.example.com/", nil)
	req.RemoteAddr = "127.0.0.1:1"
	_, repl = prepared(t, req)
	out = req.Clone(req.Context())
	out.Host = "external.pleo.io"
	require.Equal(t, "host", rules.refusal(out, repl))

	out.RemoteAddr = "10.0.0.1:1"
	require.Equal(t, "address", rules.refusal(out, repl))
}
