package test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// sealingKey is what all proxies of a test run seal with, as replicas do.
var sealingKey = pleoauth.GenerateKey()

// config is what a test's Caddyfile has beyond what all have.
type config struct {
	store    string   // default: store caddy
	globals  string   // global options
	options  string   // options of pleo
	proxy    string   // options of pleo_proxy of the first site
	site     string   // directives of the first site
	sites    string   // further sites; {port+1} and so on are ports of this proxy
	env      []string // more environment
	secret   string   // default: {env.PLEO_CLIENT_SECRET}
	redirect string   // default: the first site's
	grace    string   // grace_period; default: 10s
	quiet    bool     // logs only what is wrong, so that a load measures calls and not the lines about them
	network  network  // default: the test's own
}

// network is where a proxy runs: what do starts is in it, and a port that is
// forwarded can be reached from the test.
type network interface {
	do(func())
	forward(t *testing.T, port int)
}

func onRedis(r *redistest.Server) config { return config{store: "redis " + r.URL()} }

// proxy is a running pleo-auth-proxy.
type proxy struct {
	*process
	pleo *pleo
	// dir holds all that it keeps, port is where it listens, and URL that as
	// programs use it.
	dir    string
	env    []string
	config config
	port   int
	URL    string
}

// morePorts is how many ports after its own a proxy may have sites on.
const morePorts = 4

// startProxy starts a proxy and waits until it is ready.
func startProxy(t *testing.T, e *pleo, c config) *proxy {
	t.Helper()
	p := &proxy{pleo: e, config: c}
	p.dir, p.env = home(t)
	p.env = append(p.env, "PLEO_CLIENT_SECRET="+e.ClientSecret, "PLEO_ENCRYPTION_KEY="+sealingKey)
	p.env = append(p.env, c.env...)
	// Somebody else may take the port between the choice and the start.
	for range 5 {
		p.port = freePorts(t, 1+morePorts)
		p.URL = fmt.Sprintf("http://127.0.0.1:%d", p.port)
		e.allowRedirect(t, p.redirectURI())
		if c.network != nil {
			c.network.forward(t, p.port)
		}
		if p.start(t) {
			return p
		}
		if !strings.Contains(p.stderr.String(), "address already in use") {
			break
		}
	}
	require.FailNow(t, "the proxy does not start", p.stderr.tail())
	return nil
}

// start starts the process and reports whether it got ready.
func (p *proxy) start(t *testing.T) bool {
	t.Helper()
	p.write(t, p.config)
	start := func() { p.process = startProcess(t, p.env, proxyBinary, "run", "--config", p.caddyfile()) }
	if p.config.network != nil {
		p.config.network.do(start)
	} else {
		start()
	}
	require.Eventually(t, func() bool { return !p.running() || p.health() == http.StatusOK }, startTimeout, tick)
	return p.running()
}

// restart starts the process again after its end, as it was.
func (p *proxy) restart(t *testing.T) {
	t.Helper()
	p.awaitExit(t)
	require.True(t, p.start(t), p.stderr.tail())
}

func (p *proxy) caddyfile() string   { return filepath.Join(p.dir, "Caddyfile") }
func (p *proxy) adminSocket() string { return filepath.Join(p.dir, "admin.sock") }
func (p *proxy) origin() string      { return fmt.Sprintf("http://localhost:%d", p.port) }
func (p *proxy) redirectURI() string { return p.origin() + "/pleo/callback" }

// site returns the base URL of a further site.
func (p *proxy) site(n int) string { return fmt.Sprintf("http://127.0.0.1:%d", p.port+n) }

func (p *proxy) health() int {
	res, err := http.Get(p.URL + "/healthz")
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// write writes the Caddyfile.
func (p *proxy) write(t *testing.T, c config) {
	t.Helper()
	require.NoError(t, os.WriteFile(p.caddyfile(), []byte(p.text(c)), 0o600))
}

func (p *proxy) text(c config) string {
	if c.store == "" {
		c.store = "caddy"
	}
	if c.secret == "" {
		c.secret = "{env.PLEO_CLIENT_SECRET}"
	}
	if c.redirect == "" {
		c.redirect = p.redirectURI()
	}
	text := fmt.Sprintf(`{
	admin unix/%[1]s
	grace_period {grace}
	log {
		level {level}
	}
	%[2]s
	pleo {
		auth_server %[3]s
		api_server %[4]s
		client_id %[5]s
		client_secret %[6]s
		scopes %[7]s
		redirect_uri %[8]s
		authorise_uri %[9]s/pleo/authorise
		store %[10]s
		encryption_key {env.PLEO_ENCRYPTION_KEY}
		%[11]s
	}
}

http://:{port} {
	bind 127.0.0.1
	log
	pleo_health /healthz
	pleo_authorise /pleo/authorise
	pleo_callback /pleo/callback
	%[12]s
	pleo_proxy {
		%[13]s
	}
}

%[14]s
`, p.adminSocket(), c.globals, p.pleo.AuthURL, p.pleo.APIURL, p.pleo.ClientID, c.secret, allScopes,
		c.redirect, p.origin(), c.store, c.options, c.site, c.proxy, c.sites)
	level := "DEBUG"
	if c.quiet {
		level = "WARN"
	}
	text = strings.ReplaceAll(text, "{level}", level)
	text = strings.ReplaceAll(text, "{grace}", cmp.Or(c.grace, "10s"))
	text = strings.ReplaceAll(text, "{port}", fmt.Sprint(p.port))
	for n := range morePorts {
		text = strings.ReplaceAll(text, fmt.Sprintf("{port+%d}", n+1), fmt.Sprint(p.port+n+1))
	}
	return text
}

const allScopes = "users:read export:read export:write tags:read tax-codes:read"

// adminClient reaches the proxy's admin endpoint, whatever a URL's host says.
func (p *proxy) adminClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", p.adminSocket())
		},
	}}
}

// admin asks the proxy's admin endpoint.
func (p *proxy) admin(t *testing.T, method, path, contentType string, body []byte) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1"+path, bytes.NewReader(body))
	require.NoError(t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return do(t, p.adminClient(), req)
}

// load has the proxy take a Caddyfile by way of its admin endpoint.
func (p *proxy) load(t *testing.T, c config) answer {
	t.Helper()
	return p.loadText(t, p.text(c))
}

func (p *proxy) loadText(t *testing.T, caddyfile string) answer {
	t.Helper()
	a := p.admin(t, http.MethodPost, "/load", "text/caddyfile", []byte(caddyfile))
	p.awaitOneListener(t)
	return a
}

// reload has the proxy take another Caddyfile by way of the command line.
func (p *proxy) reload(t *testing.T, c config) (code int, out string) {
	t.Helper()
	p.write(t, c)
	code, out = runProgram(t, p.env, nil, proxyBinary, "reload", "--config", p.caddyfile())
	p.awaitOneListener(t)
	return code, out
}
