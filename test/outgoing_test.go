package test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestARedirectOfTheAPIsToItselfLeadsBackThroughTheProxy(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	var location atomic.Value
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/moved" {
			w.Header().Set("Location", location.Load().(string))
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization")[:6])
	}))
	defer api.Close()
	e.APIURL = api.URL
	p := startProxy(t, e, config{site: "handle_path /acme/* {\npleo_proxy {\nconnection default\n}\n}"})
	e.authorise(t, p, "default", company(0))
	stay := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, prefix := range []string{"", "/acme"} {
		for _, c := range []struct{ from, to string }{
			{api.URL + "/v2/other?page=2&x=%2F#there", prefix + "/v2/other?page=2&x=%2F#there"},
			{api.URL, prefix + "/"},
			{api.URL + "?a=b", prefix + "/?a=b"},
			{strings.ToUpper(api.URL) + "/v2/other", prefix + "/v2/other"},
			{"https://elsewhere.example.com/v2/other", "https://elsewhere.example.com/v2/other"},
			{strings.Replace(api.URL, "http:", "https:", 1) + "/v2/other", strings.Replace(api.URL, "http:", "https:", 1) + "/v2/other"},
			{strings.Replace(api.URL, ".1:", ".1.evil.example.com:", 1), strings.Replace(api.URL, ".1:", ".1.evil.example.com:", 1)},
			{strings.Replace(api.URL, "://", "://user@", 1) + "/v2/other", strings.Replace(api.URL, "://", "://user@", 1) + "/v2/other"},
			{"/v2/relative", "/v2/relative"},
		} {
			location.Store(c.from)
			a := send(stay, request(t, http.MethodPost, p.URL+prefix+"/v2/moved", "x"))
			require.Equal(t, http.StatusTemporaryRedirect, a.status)
			require.Equal(t, c.to, a.header.Get("Location"), c.from)
		}
		location.Store(api.URL + "/v2/other?page=2")
		a := send(new(http.Client), request(t, http.MethodPost, p.URL+prefix+"/v2/moved", "x"))
		require.Equal(t, "POST /v2/other?page=2 Bearer", string(a.body), "a client that follows it is served")
	}
	// What a browser would take for another host is left alone.
	location.Store(api.URL + "//evil.example.com/")
	require.Equal(t, location.Load(), send(stay, request(t, http.MethodGet, p.URL+"/v2/moved", "")).header.Get("Location"))
}

// A CA of one's own is believed for refreshes, introspections and calls, and after a
// reload with another one no more.
func TestServersWithACertificateOfAPrivateCAAreReached(t *testing.T) {
	t.Parallel()
	e := startPleo(t, pleotest.WithTLS())
	pem := certificateOf(t, e)
	c := config{options: "tls_trust_pool file " + pem}
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	e.Expire(pleotest.Target{Kind: pleotest.AccessToken})
	p.employees(t)
	require.Positive(t, e.Counters().Refreshes)
	require.Positive(t, e.Counters().Introspections)

	other := httptest.NewTLSServer(nil)
	other.Close()
	c.options = "tls_trust_pool inline {\ntrust_der " + encoded(other.TLS.Certificates[0].Certificate[0]) + "\n}"
	code, out := p.reload(t, c)
	require.Zero(t, code, out)
	require.Equal(t, http.StatusBadGateway, get(t, p.URL+"/v2/employees").status)
	s := p.command(t, "refresh", "default")
	require.Equal(t, 6, s.code, s.errors)
}

// Nothing but the forward proxy knows where Pleo's servers are.
func TestAForwardProxyOfTheEnvironmentCarriesCallsAndRefreshes(t *testing.T) {
	t.Parallel()
	e := startPleo(t, pleotest.WithURLs("https://auth.pleo.io", "https://external.pleo.io"))
	roots, address := pleoOverTLS(t, e, "127.0.0.1:0")
	e.AuthURL, e.APIURL = "https://auth.pleo.io", "https://external.pleo.io"
	var tunnels atomic.Int32
	forward := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || !strings.HasSuffix(r.Host, ".pleo.io:443") {
			http.Error(w, "not through here", http.StatusForbidden)
			return
		}
		tunnels.Add(1)
		to, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer to.Close()
		w.WriteHeader(http.StatusOK)
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		go func() { _, _ = io.Copy(to, buffered) }()
		_, _ = io.Copy(from, to)
	}))
	defer forward.Close()
	p := startProxy(t, e, config{
		options: "tls_trust_pool file " + roots,
		env:     []string{"HTTPS_PROXY=" + forward.URL, "NO_PROXY="},
	})
	e.authorise(t, p, "default", company(0))
	before := tunnels.Load()
	require.GreaterOrEqual(t, before, int32(2), "the exchange, and what is asked")
	e.Expire(pleotest.Target{Kind: pleotest.AccessToken})
	p.employees(t)
	require.Greater(t, tunnels.Load(), before+1, "a call, and a refresh")
	require.Positive(t, e.Counters().Refreshes)
}

func TestTheLogSaysAtStartWhatRuns(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, onRedis(redistest.Start(t)))
	line := awaitLine(t, p, "serving calls to Pleo")
	require.Equal(t, "info", line["level"])
	require.Equal(t, e.AuthURL, line["auth_server"])
	require.Equal(t, e.APIURL, line["api_server"])
	require.Equal(t, e.ClientID, line["client_id"])
	require.Equal(t, "other", line["environment"])
	require.Contains(t, line["store"], "redis 127.0.0.1:")
	require.Equal(t, strings.Fields(p.program(t, "version").out)[0], line["version"])
	require.Len(t, line["key_ids"], 1)
	require.NotContains(t, p.stderr.String(), e.ClientSecret)
	require.NotContains(t, p.stderr.String(), sealingKey)
}

// awaitLine returns the fields of the first line of the log with a message. Meanwhile it
// does what is given, again and again.
func awaitLine(t *testing.T, p *proxy, message string, meanwhile ...func()) (fields map[string]any) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, do := range meanwhile {
			do()
		}
		for line := range strings.Lines(p.stderr.String()) {
			fields = nil
			if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == message {
				return true
			}
		}
		return false
	}, patience, tick, message)
	return fields
}

func encoded(der []byte) string {
	text, _ := json.Marshal(der) // base64 in quotes
	return strings.Trim(string(text), `"`)
}
