package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// TestMain keeps Caddy's files, and the ones that this package puts beside
// them, out of the user's own.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "caddymodule")
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		if err := os.Setenv(name, dir); err != nil {
			panic(err)
		}
	}
	caddy.ConfigAutosavePath = filepath.Join(dir, "autosave.json")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// world is a Caddy in this process, of which there is only one, in front of an
// emulator.
type world struct {
	t     *testing.T
	pleo  *pleotest.Server
	dir   string
	admin string
	// app and browser are the addresses of the two ways in.
	app, browser string
	client       *http.Client
	log          string
}

func newWorld(t *testing.T, options ...pleotest.Option) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	addresses := freeAddresses(t, 3)
	w.admin, w.app = addresses[0], addresses[1]
	_, port, err := net.SplitHostPort(addresses[2])
	require.NoError(t, err)
	w.browser = "localhost:" + port // Pleo takes no other redirect URI over HTTP
	w.log = filepath.Join(w.dir, "log.json")
	w.pleo = pleotest.NewServer(append([]pleotest.Option{pleotest.WithRedirectURI(w.redirectURI())}, options...)...)
	t.Cleanup(w.pleo.Close)
	t.Setenv("TEST_CLIENT_SECRET", w.pleo.ClientSecret)
	t.Cleanup(w.client.CloseIdleConnections)
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	return w
}

// freeAddresses are on ports below those that systems give to outgoing
// connections: one of these, of any process, could take a port that was free.
func freeAddresses(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	for tries := 0; len(addresses) < n; tries++ {
		require.Less(t, tries, 1000, "no port is free")
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000)))
		if err != nil {
			continue
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

func (w *world) redirectURI() string { return "http://" + w.browser + "/pleo/callback" }

// caddyfile returns a configuration: options of the app beside the usual ones,
// what stands in pleo_proxy, and further sites.
func (w *world) caddyfile(app, proxy, sites string) string {
	_, port, _ := net.SplitHostPort(w.app)
	return fmt.Sprintf(`{
	admin %s
	storage file_system %s
	grace_period 2s
	log {
		output file %s
		level DEBUG
	}
	servers {
		timeouts {
			read_header 10s
		}
	}
	pleo {
		auth_server %s
		api_server %s
		client_id %s
		client_secret {env.TEST_CLIENT_SECRET}
		redirect_uri %s
		authorise_uri http://%s/pleo/authorise
		scopes users:read export:read
		%s
	}
}

http://:%s {
	bind 127.0.0.1
	log
	pleo_health /healthz
	pleo_proxy {
		%s
	}
}

http://%s {
	bind 127.0.0.1
	log
	pleo_authorise /pleo/authorise
	pleo_callback /pleo/callback
}

%s
`, w.admin, filepath.Join(w.dir, "storage"), w.log, w.pleo.AuthURL, w.pleo.APIURL, w.pleo.ClientID,
		w.redirectURI(), w.browser, app, port, proxy, w.browser, sites)
}

func load(t *testing.T, caddyfile string) error {
	t.Helper()
	config, err := adapt(caddyfile)
	require.NoError(t, err)
	return caddy.Load(config, true)
}

func (w *world) start(app, proxy, sites string) {
	w.t.Helper()
	require.NoError(w.t, load(w.t, w.caddyfile(app, proxy, sites)))
}

// newBrowser has its own cookies and follows no redirect.
func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (w *world) authoriseURL(query string) string {
	return "http://" + w.browser + "/pleo/authorise?" + query
}

// begin starts an authorisation in a browser and returns where it is sent.
func (w *world) begin(browser *http.Client, query string) string {
	w.t.Helper()
	res := get(w.t, browser, w.authoriseURL(query))
	require.Equal(w.t, http.StatusFound, res.StatusCode, res.body)
	return res.Header.Get("Location")
}

// connect authorises a connection for a company, as a user would.
func (w *world) connect(connection, company string) {
	w.t.Helper()
	browser := newBrowser(w.t)
	back, err := w.pleo.Approve(w.begin(browser, "connection="+url.QueryEscape(connection)), company)
	require.NoError(w.t, err)
	res := get(w.t, browser, back)
	require.Equal(w.t, http.StatusOK, res.StatusCode, res.body)
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &doc), a.body)
	return doc
}

func get(t *testing.T, client *http.Client, url string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	return do(t, client, req)
}

func do(t *testing.T, client *http.Client, req *http.Request) answer {
	t.Helper()
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answer{res, string(body)}
}

// call calls the API through the proxy. Header lines are "Name: value".
func (w *world) call(method, path string, body io.Reader, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.app+path, body)
	require.NoError(w.t, err)
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	return do(w.t, w.client, req)
}

func (w *world) problem(a answer, status int, kind string) map[string]any {
	w.t.Helper()
	require.Equal(w.t, status, a.StatusCode, a.body)
	require.Equal(w.t, "application/problem+json", a.Header.Get("Content-Type"))
	doc := a.json(w.t)
	require.Equal(w.t, "urn:pleo-auth-proxy:"+kind, doc["type"])
	return doc
}

func (w *world) adminCall(method, path string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.admin+path, bytes.NewReader(nil))
	require.NoError(w.t, err)
	return do(w.t, w.client, req)
}

// eventually waits for what happens in the background.
func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 15*time.Second, 10*time.Millisecond, what)
}
