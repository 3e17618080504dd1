package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// send sends a request to any place. Header lines are "Name: value".
func (w *world) send(method, url, body string, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, url, strings.NewReader(body))
	require.NoError(w.t, err)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	client := *w.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return do(w.t, &client, req)
}

// startWithAPI starts a configuration whose site for the application also has
// pleo_api, before pleo_proxy although it stands after it.
func (w *world) startWithAPI(options string) string {
	w.t.Helper()
	address := freeAddresses(w.t, 1)[0]
	_, port, _ := strings.Cut(address, ":")
	w.start("", "", "http://:"+port+" {\n\tbind 127.0.0.1\n\tpleo_proxy\n\tpleo_api {\n"+options+"\n\t}\n}\n")
	return "http://" + address
}

// everyRoute is a call of each route, and others that are no routes.
var everyRoute = []struct {
	method, path, body string
	status             int
	kind               string
}{
	{"GET", "/pleo/connections", "", 200, ""},
	{"GET", "/pleo/connections/", "", 200, ""},
	{"HEAD", "/pleo/connections", "", 200, ""},
	{"GET", "/pleo/connections?limit=1", "", 200, ""},
	{"GET", "/pleo/connections/acme", "", 200, ""},
	{"POST", "/pleo/connections/acme/refresh", "", 200, ""},
	{"POST", "/pleo/connections/acme/authorise-url", "", 200, ""},
	{"POST", "/pleo/connections/new/authorise-url", `{}`, 200, ""},
	{"POST", "/pleo/connections/new/authorise-url", `{"return_to":"/x","subject":"urn:pleo:company:x"}`, 200, ""},
	{"POST", "/pleo/connections/new/authorise-url?return_to=/x&subject=urn:pleo:company:x", "", 200, ""},

	{"POST", "/pleo/connections", "", 405, "method-not-allowed"},
	{"DELETE", "/pleo/connections", "", 405, "method-not-allowed"},
	{"POST", "/pleo/connections/acme", "", 405, "method-not-allowed"},
	{"GET", "/pleo/connections/acme/refresh", "", 405, "method-not-allowed"},
	{"GET", "/pleo/connections/acme/authorise-url", "", 405, "method-not-allowed"},
	{"POST", "/pleo/connections/acme/delete", "", 404, "no-such-route"},
	{"POST", "/pleo/connections/acme/refresh/more", "", 404, "no-such-route"},
	{"GET", "/pleo/connections?limit=0", "", 400, "invalid-request"},
	{"GET", "/pleo/connections?limit=x", "", 400, "invalid-request"},
	{"GET", "/pleo/connections?limit=1001", "", 400, "invalid-request"},
	{"GET", "/pleo/connections?limit=1&limit=2", "", 400, "invalid-request"},
	{"GET", "/pleo/connections?cursor=%00nonsense", "", 400, "invalid-request"},
	{"GET", "/pleo/connections/a%2Fb", "", 400, "invalid-connection"},
	{"GET", "/pleo/connections/nobody", "", 404, "not-connected"},
	{"DELETE", "/pleo/connections/nobody", "", 404, "not-connected"},
	{"POST", "/pleo/connections/nobody/refresh", "", 404, "not-connected"},
	{"POST", "/pleo/connections/ended/refresh", "", 409, "reauthorisation-required"},
	{"POST", "/pleo/connections/acme/authorise-url", `{"returnto":"/x"}`, 400, "invalid-request"},
	{"POST", "/pleo/connections/acme/authorise-url", `{} {}`, 400, "invalid-request"},
	{"POST", "/pleo/connections/acme/authorise-url", `return_to=/x`, 400, "invalid-request"},
	{"POST", "/pleo/connections/acme/authorise-url", `{"return_to":"//evil.example"}`, 400, "invalid-request"},
	{"POST", "/pleo/connections/acme/authorise-url", `{"return_to":"https://evil.example/"}`, 400, "invalid-request"},
	{"POST", "/pleo/connections/acme/authorise-url", `{"subject":"acme"}`, 400, "invalid-request"},
	{"POST", "/pleo/connections/acme/authorise-url?return_to=/x", `{"return_to":"/y"}`, 400, "invalid-request"},
	{"POST", "/pleo/connections/acme/authorise-url?return_to=/x&return_to=/y", "", 400, "invalid-request"},
	{"POST", "/pleo/connections/acme/authorise-url?returnto=/x", "", 400, "invalid-request"},
	{"POST", "/pleo/connections/acme/authorise-url", `{"return_to":"/` + strings.Repeat("x", 9000) + `"}`, 400, "invalid-request"},
	{"DELETE", "/pleo/connections/acme", "", 204, ""},
	{"GET", "/pleo/connections/acme", "", 200, ""},
	{"POST", "/pleo/connections/acme/refresh", "", 404, "not-connected"},
}

func TestPleoAPIAndTheAdminEndpointHaveTheSameRoutes(t *testing.T) {
	w := newWorld(t)
	api := w.startWithAPI("")
	for _, base := range []string{api, "http://" + w.admin} {
		w.connect("acme", "")
		w.connect("ended", pleotest.Companies()[1].ID)
		w.pleo.Revoke(pleotest.Target{Company: pleotest.Companies()[1].ID})
		w.send("POST", base+"/pleo/connections/ended/refresh", "")
		for _, c := range everyRoute {
			res := w.send(c.method, base+c.path, c.body)
			require.Equal(t, c.status, res.StatusCode, "%s %s %.99s: %s", c.method, c.path, c.body, res.body)
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			if c.kind != "" {
				doc := w.problem(res, c.status, c.kind)
				require.NotEmpty(t, doc["detail"])
				require.NotContains(t, res.body, "evil")
				require.Empty(t, res.Header.Get("WWW-Authenticate"))
			} else if c.status == 200 && c.method != "HEAD" {
				require.Equal(t, "application/json", res.Header.Get("Content-Type"))
				require.True(t, json.Valid([]byte(res.body)))
			}
			require.Equal(t, c.status == 405, res.Header.Get("Allow") != "")
			for _, secret := range w.pleo.Secrets() {
				require.NotContains(t, res.body, secret)
			}
		}
	}
}

func TestPleoAPILeavesOtherPathsToTheHandlersAfterIt(t *testing.T) {
	w := newWorld(t)
	api := w.startWithAPI("")
	w.connect("default", "")
	require.Equal(t, http.StatusOK, w.send("GET", api+"/v2/employees", "").StatusCode)
	before := w.pleo.Counters().APICalls
	require.Equal(t, http.StatusOK, w.send("GET", api+"/pleo/connections", "").StatusCode)
	require.Equal(t, before, w.pleo.Counters().APICalls)
}

// What a browser sends on behalf of a page of another site, and what a page can
// have it send.
func TestNoPageOfAnotherOriginReachesPleoAPI(t *testing.T) {
	w := newWorld(t)
	api := w.startWithAPI("allow_hosts api.internal")
	w.connect("acme", "")
	generation := func() any {
		return w.send("GET", api+"/pleo/connections/acme", "").json(t)["generation"]
	}
	before := generation()
	_, port, _ := strings.Cut(strings.TrimPrefix(api, "http://"), ":")
	for reason, attacks := range map[string][][]string{
		"origin": {
			{"Origin: https://evil.example"},
			{"Origin: null"},
			{"Origin: http://127.0.0.1:1"},
			{"Origin: http://localhost:" + port + ".evil.example"},
			{"Sec-Fetch-Site: cross-site"},
			{"Sec-Fetch-Site: same-site"},
			{"Origin: https://evil.example", "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Mode: navigate"},
			{"Origin: https://evil.example", "Connection: Origin"},
		},
		"host": { // a name of the attacker's that resolves to 127.0.0.1
			{"Host: evil.example"},
			{"Host: evil.example:" + port},
			{"Host: localhost.evil.example"},
			{"Host: evil.example", "Origin: http://evil.example", "Sec-Fetch-Site: same-origin"},
		},
	} {
		for _, attack := range attacks {
			for _, c := range [][2]string{
				{"GET", ""}, {"GET", "/acme"}, {"DELETE", "/acme"}, {"POST", "/acme/refresh"}, {"POST", "/acme/authorise-url"}, {"OPTIONS", "/acme"},
			} {
				res := w.send(c[0], api+"/pleo/connections"+c[1], "", attack...)
				doc := w.problem(res, 403, "client-not-allowed")
				require.Equal(t, reason, doc["reason"], "%v %v", c, attack)
				require.Empty(t, res.Header.Get("Access-Control-Allow-Origin"))
			}
		}
	}
	require.Equal(t, before, generation(), "nothing was refreshed or disconnected")
	require.Zero(t, w.pleo.Counters().Refreshes)

	// Programs, Node's fetch among them, and pages of its own origin.
	for _, allowed := range [][]string{
		{"Sec-Fetch-Mode: cors"},
		{"Sec-Fetch-Site: none"},
		{"Sec-Fetch-Site: same-origin", "Origin: " + api},
		{"Host: localhost"},
		{"Host: api.internal"},
	} {
		require.Equal(t, http.StatusOK, w.send("GET", api+"/pleo/connections", "", allowed...).StatusCode, "%v", allowed)
	}
}

func TestALinkNeedsAnAddressToLeadTo(t *testing.T) {
	w := newWorld(t)
	config := w.caddyfile("", "", "")
	require.NoError(t, load(t, strings.Replace(config, "authorise_uri http://"+w.browser+"/pleo/authorise", "", 1)))
	doc := w.problem(w.adminCall(http.MethodPost, "/pleo/connections/acme/authorise-url"), 409, "not-configured")
	require.Contains(t, doc["detail"], "authorise_uri")

	require.NoError(t, load(t, "{\n\tadmin "+w.admin+"\n}\n"))
	w.problem(w.adminCall(http.MethodGet, "/pleo/connections"), 404, "not-configured")
}

func TestTheAPISaysWhenTheStoreIsAway(t *testing.T) {
	w := newWorld(t)
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	require.NoError(t, load(t, strings.Replace(w.caddyfile("store redis redis://127.0.0.1:1\nencryption_key {env.TEST_KEY}", "", ""), "grace_period 2s", "grace_period 1s", 1)))
	for _, path := range []string{"/pleo/connections", "/pleo/connections/acme"} {
		res := w.adminCall(http.MethodGet, path)
		w.problem(res, 503, "store-unavailable")
		require.NotEmpty(t, res.Header.Get("Retry-After"))
		require.NotContains(t, res.body, "127.0.0.1", "an address of the store's")
	}
	w.problem(w.adminCall(http.MethodPost, "/pleo/connections/acme/authorise-url"), 503, "store-unavailable")
}
