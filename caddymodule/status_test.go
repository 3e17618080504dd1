package caddymodule_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// statusPage is a connections page in a world, and a browser in front of it.
type statusPage struct {
	*world
	url     string
	browser *http.Client
}

func newStatusPage(t *testing.T, app, options string) *statusPage {
	t.Helper()
	w := newWorld(t)
	address := freeAddresses(t, 1)[0]
	_, port, _ := strings.Cut(address, ":")
	w.start(app, "", fmt.Sprintf("http://:%s {\n bind 127.0.0.1\n log\n handle_path /internal/* {\n pleo_status /connections {\n %s\n }\n }\n }", port, options))
	return &statusPage{w, "http://" + address + "/internal/connections", newBrowser(t)}
}

// requireStatusPage checks a page whose forms have to say where they come from.
func requireStatusPage(t *testing.T, res answer, status int) {
	t.Helper()
	requireHTML(t, res, status)
	requirePageHeaders(t, res)
	require.Equal(t, "same-origin", res.Header.Get("Referrer-Policy"))
}

func (p *statusPage) get(query string, header ...string) answer {
	p.t.Helper()
	return p.send(http.MethodGet, query, nil, header...)
}

func (p *statusPage) post(form url.Values, header ...string) answer {
	p.t.Helper()
	return p.send(http.MethodPost, "?", form, append(header, "Content-Type: application/x-www-form-urlencoded")...)
}

func (p *statusPage) send(method, query string, form url.Values, header ...string) answer {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+query, strings.NewReader(form.Encode()))
	require.NoError(p.t, err)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	return do(p.t, p.browser, req)
}

var tokenField = regexp.MustCompile(`name="action" value="([a-z]+)">\s*(?:<input type="hidden" name="connection"[^>]*>\s*)?<input type="hidden" name="token" value="([A-Za-z0-9_-]+)"`)

// form returns what the first form of a page sends that does action.
func (p *statusPage) form(query, action, connection string) url.Values {
	p.t.Helper()
	page := p.get(query)
	for _, m := range tokenField.FindAllStringSubmatch(page.body, -1) {
		if m[1] == action {
			return url.Values{"action": {action}, "connection": {connection}, "token": {m[2]}}
		}
	}
	require.FailNow(p.t, "the page has no such form", "%s: %s", action, page.body)
	return nil
}

func TestThePageListsConnectionsInPlainWords(t *testing.T) {
	p := newStatusPage(t, "", "")
	empty := p.get("")
	requireStatusPage(t, empty, http.StatusOK)
	require.Contains(t, empty.body, "Nothing is connected yet")

	for _, name := range []string{"acme", "gone", "off"} {
		p.connect(name, "")
	}
	require.Positive(t, p.pleo.Revoke(pleotest.Target{}))
	p.connect("acme", "")
	require.Equal(t, http.StatusUnauthorized, p.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: gone").StatusCode)
	require.Equal(t, http.StatusNoContent, p.adminCall(http.MethodDelete, "/pleo/connections/off").StatusCode)

	list := p.get("")
	requireStatusPage(t, list, http.StatusOK)
	rows := strings.Split(list.body, `<tr role="row">`)[2:]
	require.Len(t, rows, 3)
	for i, says := range [][]string{
		{"acme", "Connected", "just now", "Reconnect", "?disconnect=acme"},
		{"gone", "Has to be connected again", "withdrawn or has expired", "Reconnect", "?disconnect=gone"},
		{"off", "Disconnected", "no tokens", "Connect"},
	} {
		for _, text := range says {
			require.Contains(t, rows[i], text)
		}
	}
	for _, secret := range p.pleo.Secrets() {
		require.NotContains(t, list.body, secret)
	}
	require.Contains(t, p.get("?find=gone").body, "withdrawn")
	require.NotContains(t, p.get("?find=gone").body, "?disconnect=acme")
}

func TestManyConnectionsComeInPagesAndOneIsFoundByItsName(t *testing.T) {
	p := newStatusPage(t, "", "")
	for i := range 51 {
		p.connect(fmt.Sprintf("customer-%03d", i), "")
	}
	first := p.get("")
	next := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(first.body)
	require.NotNil(t, next)
	second := p.get(next[1])
	requireStatusPage(t, second, http.StatusOK)
	require.NotContains(t, second.body, `rel="next"`)
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile(`\?disconnect=([a-z0-9-]+)`).FindAllStringSubmatch(first.body+second.body, -1) {
		seen[m[1]] = true
	}
	require.Len(t, seen, 51)

	requireStatusPage(t, p.get("?find=customer-050"), http.StatusOK)
	for _, name := range []string{"nobody", "Customer-050", "a b", "%3Cscript%3E", strings.Repeat("a", 200)} {
		res := p.get("?find=" + url.QueryEscape(name))
		requireStatusPage(t, res, http.StatusNotFound)
		require.Contains(t, res.body, "There is no connection with the name")
		require.NotContains(t, res.body, "<script>")
	}
	requireStatusPage(t, p.get("?find=a&find=b"), http.StatusBadRequest)
}

func TestConnectLeadsToAuthorise(t *testing.T) {
	p := newStatusPage(t, "", "")
	res := p.post(p.form("", "connect", " acme "), "Origin: "+p.url[:strings.Index(p.url, "/internal")], "Sec-Fetch-Site: same-origin")
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.body)
	require.Equal(t, "http://"+p.world.browser+"/pleo/authorise?connection=acme", res.Header.Get("Location"))

	for _, name := range []string{"", "a/b", "-a", strings.Repeat("a", 129)} {
		res := p.post(p.form("", "connect", name))
		requireStatusPage(t, res, http.StatusBadRequest)
		require.Contains(t, res.body, `aria-invalid="true"`)
		require.Contains(t, res.body, "That cannot be a name")
	}
	policy := p.get("").Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "form-action 'self' https: http://"+p.world.browser+" "+p.pleo.AuthURL+";", "browsers hold the redirects that follow to it")
}

func TestConnectUsesAOneTimeLinkWhereOnlyThoseStartAnAuthorisation(t *testing.T) {
	p := newStatusPage(t, "require_ticket", "")
	res := p.post(p.form("", "connect", "acme"))
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.body)
	get(t, p.browser, p.follow(p.browser, res.Header.Get("Location"), ""))
	require.Equal(t, http.StatusOK, p.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode)
	logged, err := os.ReadFile(p.log)
	require.NoError(t, err)
	require.NotContains(t, string(logged), ticketOf(t, res.Header.Get("Location")))
}

func TestDisconnectAsksFirst(t *testing.T) {
	p := newStatusPage(t, "", "")
	p.connect("acme", "")
	requireStatusPage(t, p.get("?disconnect=acme"), http.StatusOK)
	require.Equal(t, http.StatusOK, p.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode, "nothing has happened yet")

	res := p.post(p.form("?disconnect=acme", "disconnect", "acme"))
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.body)
	require.Equal(t, "?done=disconnect&find=acme", res.Header.Get("Location"))
	done := p.get(res.Header.Get("Location"))
	requireStatusPage(t, done, http.StatusOK)
	require.Contains(t, done.body, "acme is disconnected")
	p.problem(p.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme"), 401, "not-connected")

	requireStatusPage(t, p.get("?disconnect=nobody"), http.StatusNotFound)
	requireStatusPage(t, p.get("?disconnect=a/b"), http.StatusBadRequest)
	p.connect("acme", "")
	require.NotContains(t, p.get("?done=disconnect&find=acme").body, "acme is disconnected", "a link that claims it")
}

func TestFormsThatThisBrowserWasNotGivenDoNothing(t *testing.T) {
	p := newStatusPage(t, "", "")
	p.connect("acme", "")
	good := p.form("?disconnect=acme", "disconnect", "acme")
	connecting := p.form("", "connect", "acme")
	cookies := p.browser.Jar.Cookies(mustParse(t, p.url))
	require.Len(t, cookies, 1)
	set := p.get("").Cookies()
	require.Empty(t, set, "the browser has one already")

	with := func(changes ...string) url.Values {
		form := maps.Clone(good)
		for i := 0; i < len(changes); i += 2 {
			form.Set(changes[i], changes[i+1])
		}
		return form
	}
	without := with()
	without.Del("token")
	twice := with()
	twice.Add("connection", "umbrella")
	for name, c := range map[string]struct {
		form   url.Values
		header []string
		status int
	}{
		"no token":                        {without, nil, 403},
		"an empty token":                  {with("token", ""), nil, 403},
		"another token":                   {with("token", strings.Repeat("A", 43)), nil, 403},
		"the token of another form":       {with("token", connecting.Get("token")), nil, 403},
		"a second cookie":                 {with(), []string{"Cookie: pleo-status=" + strings.Repeat("A", 43)}, 403},
		"a page of another origin":        {with(), []string{"Origin: https://evil.example.com"}, 403},
		"a page of another site":          {with(), []string{"Sec-Fetch-Site: cross-site"}, 403},
		"a page of another port":          {with(), []string{"Sec-Fetch-Site: same-site"}, 403},
		"a sandboxed page":                {with(), []string{"Origin: null"}, 403},
		"two connections":                 {twice, nil, 400},
		"too much":                        {with("connection", strings.Repeat("a", 9000)), nil, 400},
		"an action that there is not":     {with("action", "revoke"), nil, 403},
		"nothing":                         {url.Values{}, nil, 403},
		"rebinding, for which all is own": {with(), []string{"Host: evil.example.com", "Origin: http://evil.example.com"}, 403},
	} {
		res := p.post(c.form, append(c.header, "Accept: text/html")...)
		require.Equal(t, c.status, res.StatusCode, name)
		requireStatusPage(t, res, c.status)
	}
	other := p.send(http.MethodPost, "?", good, "Content-Type: text/plain")
	require.Equal(t, http.StatusForbidden, other.StatusCode)

	p.browser = newBrowser(t)
	require.Equal(t, http.StatusForbidden, p.post(good).StatusCode, "another browser")
	require.Equal(t, http.StatusOK, p.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode)
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u
}

func TestTheFormsCookieStaysWithThisSite(t *testing.T) {
	p := newStatusPage(t, "", "")
	cookies := p.get("").Cookies()
	require.Len(t, cookies, 1)
	require.True(t, cookies[0].HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookies[0].SameSite)
	require.Zero(t, cookies[0].MaxAge, "it ends with the browser")
	require.NotContains(t, p.get("").body, cookies[0].Value)
}

func TestThePageIsForVisitorsWhoMayCall(t *testing.T) {
	p := newStatusPage(t, "", "allow_hosts pleo.internal")
	for reason, header := range map[string][]string{
		"host":   {"Host: evil.example.com"},
		"origin": {"Sec-Fetch-Site: cross-site"},
	} {
		answer := p.get("", header...)
		p.problem(answer, http.StatusForbidden, "client-not-allowed")
		require.Equal(t, reason, answer.json(t)["reason"])
		page := p.get("", append(header, "Accept: text/html,*/*")...)
		requireStatusPage(t, page, http.StatusForbidden)
		require.Empty(t, page.Cookies())
	}
	require.Contains(t, p.get("", "Sec-Fetch-Site: cross-site", "Accept: text/html").body, `href="?"`, "how to go on")
	requireStatusPage(t, p.get("", "Host: pleo.internal"), http.StatusOK)
	requireStatusPage(t, p.get("", "Sec-Fetch-Site: none"), http.StatusOK)
	require.Empty(t, p.send(http.MethodHead, "", nil).body)
	require.Equal(t, http.StatusMethodNotAllowed, p.send(http.MethodDelete, "", nil).StatusCode)
}

// Caddy stands in for the proxy that ends TLS, on another port and by another name.
func TestBehindAProxyThatEndsTLSThePageWorksIfCaddyTrustsIt(t *testing.T) {
	w := newWorld(t)
	addresses := freeAddresses(t, 2)
	_, front, _ := strings.Cut(addresses[0], ":")
	_, port, _ := strings.Cut(addresses[1], ":")
	configure := func(trusted string) string {
		return strings.Replace(w.caddyfile("", "", fmt.Sprintf(`
			https://connections.localhost:%s {
				bind 127.0.0.1
				tls internal
				reverse_proxy 127.0.0.1:%s {
					header_up Host localhost
				}
			}
			http://localhost:%[2]s {
				bind 127.0.0.1
				pleo_status /pleo/status
			}`, front, port)), "servers {", "skip_install_trust\n\tauto_https disable_redirects\n\tservers {\n\t\t"+trusted, 1)
	}
	page := "https://connections.localhost:" + front + "/pleo/status"
	browser := func() *http.Client {
		b := newBrowser(t)
		b.Transport = &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // Caddy's own CA
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+front) // no resolver has to know the name
			},
		}
		t.Cleanup(b.CloseIdleConnections)
		return b
	}
	post := func(b *http.Client, origin string) answer {
		shown := get(t, b, page)
		requireStatusPage(t, shown, http.StatusOK)
		m := regexp.MustCompile(`name="action" value="connect">\s*(?:<input type="hidden" name="connection"[^>]*>\s*)?<input type="hidden" name="token" value="([A-Za-z0-9_-]+)"`).FindStringSubmatch(shown.body)
		require.NotNil(t, m, shown.body)
		form := url.Values{"action": {"connect"}, "connection": {"acme"}, "token": {m[1]}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page+"?", strings.NewReader(form.Encode()))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", origin)
		return do(t, b, req)
	}
	own := "https://connections.localhost:" + front

	require.NoError(t, load(t, configure("trusted_proxies static 127.0.0.0/8")))
	b := browser()
	require.Eventually(t, func() bool { // Caddy's own CA takes a moment
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, page, nil)
		require.NoError(t, err)
		res, err := browser().Do(req)
		return err == nil && res.Body.Close() == nil
	}, 10*time.Second, 5*time.Millisecond)
	cookies := get(t, b, page).Cookies()
	require.Len(t, cookies, 1)
	require.True(t, cookies[0].Secure)
	require.Equal(t, "__Host-pleo-status", cookies[0].Name)
	require.Equal(t, http.StatusSeeOther, post(b, own).StatusCode)
	for _, origin := range []string{"https://localhost", "http://connections.localhost:" + front, "https://evil.example.com"} {
		require.Equal(t, http.StatusForbidden, post(browser(), origin).StatusCode, origin)
	}

	require.NoError(t, load(t, configure("")))
	require.Equal(t, http.StatusForbidden, post(browser(), own).StatusCode, "what an unknown proxy says is not believed")
	for _, claim := range []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example.com"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+"/pleo/status", nil)
		require.NoError(t, err)
		name, value, _ := strings.Cut(claim, ": ")
		req.Header.Set(name, value)
		req.Host = "localhost:" + port
		cookies := do(t, newBrowser(t), req).Cookies()
		require.Len(t, cookies, 1)
		require.False(t, cookies[0].Secure, "nor is what a caller says")
	}
}

func TestWithoutAuthoriseURIThePageOnlyShowsAndDisconnects(t *testing.T) {
	w := newWorld(t)
	_, port, _ := strings.Cut(w.browser, ":")
	config := strings.Replace(w.caddyfile("", "", ""), "authorise_uri http://"+w.browser+"/pleo/authorise", "", 1)
	config = strings.Replace(config, "pleo_authorise /pleo/authorise", "pleo_authorise /pleo/authorise\n\tpleo_status /pleo/status", 1)
	require.NoError(t, load(t, config))
	w.connect("acme", "")
	res := get(t, newBrowser(t), "http://localhost:"+port+"/pleo/status")
	requireStatusPage(t, res, http.StatusOK)
	require.Contains(t, res.body, "set authorise_uri")
	require.NotContains(t, res.body, `value="connect"`)
	require.Contains(t, res.body, "?disconnect=acme")
}
