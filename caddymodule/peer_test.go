package caddymodule_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tlsUpstream is an API over TLS, whose certificate is for example.com and
// 127.0.0.1.
type tlsUpstream struct {
	*httptest.Server
	port, ca string
	seen     chan *http.Request
	names    chan string
}

func newTLSUpstream(t *testing.T) *tlsUpstream {
	t.Helper()
	u := &tlsUpstream{seen: make(chan *http.Request, 10), names: make(chan string, 10)}
	u.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { u.seen <- r }))
	u.Server.EnableHTTP2 = true
	u.Server.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		u.names <- hello.ServerName
		return nil, nil
	}}
	u.Server.Config.ErrorLog = nil
	u.StartTLS()
	t.Cleanup(u.Close)
	_, port, err := net.SplitHostPort(u.Listener.Addr().String())
	require.NoError(t, err)
	u.port = port
	u.ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: u.Certificate().Raw})
	require.NoError(t, os.WriteFile(u.ca, block, 0o600))
	return u
}

// connectAndSwitch connects while api_server is the emulator's, and loads the
// configuration with another api_server then.
func connectAndSwitch(t *testing.T, apiServer, proxy string) *world {
	t.Helper()
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	config := strings.Replace(w.caddyfile("", proxy, ""), "api_server "+w.pleo.APIURL, "api_server "+apiServer, 1)
	require.NoError(t, load(t, config))
	return w
}

func TestTLSChecksTheAPIsNameWhateverIsDialled(t *testing.T) {
	u := newTLSUpstream(t)
	w := connectAndSwitch(t, "https://127.0.0.1:"+u.port, fmt.Sprintf("to 127.0.0.1:%s\n\t\ttransport pleo {\n\t\t\ttls_trust_pool file %s\n\t\t}", u.port, u.ca))
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v1/echo", nil).StatusCode)
	seen := <-u.seen
	require.Equal(t, "127.0.0.1:"+u.port, seen.Host)
	require.Equal(t, 2, seen.ProtoMajor)
	<-u.names

	// The certificate is not for localhost, which is what api_server says here.
	w = connectAndSwitch(t, "https://localhost:"+u.port, fmt.Sprintf("to 127.0.0.1:%s\n\t\ttransport pleo {\n\t\t\ttls_trust_pool file %s\n\t\t}", u.port, u.ca))
	require.Equal(t, http.StatusBadGateway, w.call(http.MethodGet, "/v1/echo", nil).StatusCode)
	require.Equal(t, "localhost", <-u.names)
	require.Empty(t, u.seen)

	// Nor is it trusted without being told.
	w = connectAndSwitch(t, "https://127.0.0.1:"+u.port, "")
	require.Equal(t, http.StatusBadGateway, w.call(http.MethodGet, "/v1/echo", nil).StatusCode)
	require.Empty(t, u.seen)
}

func TestAPublicAPIThatResolvesToThisMachineIsALoop(t *testing.T) {
	u := newTLSUpstream(t)
	w := connectAndSwitch(t, "https://example.com", fmt.Sprintf("to 127.0.0.1:%s\n\t\ttransport pleo {\n\t\t\ttls_trust_pool file %s\n\t\t}", u.port, u.ca))
	require.Equal(t, http.StatusBadGateway, w.call(http.MethodGet, "/v1/echo", nil).StatusCode)
	require.Empty(t, u.seen)
	require.Empty(t, u.names, "not even a handshake is begun")
	logged, err := os.ReadFile(w.log)
	require.NoError(t, err)
	require.Contains(t, string(logged), "resolves to this machine")
}

func TestAForwardProxyOnThisMachineIsNoLoop(t *testing.T) {
	u := newTLSUpstream(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "example.com:443" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		to, err := net.Dial("tcp", u.Listener.Addr().String())
		if err != nil {
			return
		}
		defer to.Close()
		w.WriteHeader(http.StatusOK)
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		go func() { _, _ = io.Copy(to, buffered) }()
		_, _ = io.Copy(conn, to)
	}))
	defer proxy.Close()
	w := connectAndSwitch(t, "https://example.com", fmt.Sprintf("transport pleo {\n\t\t\ttls_trust_pool file %s\n\t\t\tnetwork_proxy url %s\n\t\t}", u.ca, proxy.URL))
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v1/echo", nil).StatusCode)
	seen := <-u.seen
	require.Equal(t, "example.com", seen.Host)
	require.Equal(t, "example.com", <-u.names)
	u.CloseClientConnections()
}

func TestAnActiveHealthCheckCarriesNoToken(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	w.pleo.ResetCounters()
	w.start("", "health_uri /v2/employees\n\t\thealth_interval 50ms\n\t\thealth_status 401\n\t\thealth_headers {\n\t\t\tAuthorization \"Bearer x\"\n\t\t}", "")
	eventually(t, func() bool { return w.pleo.Counters().TokenlessCalls > 2 }, "health checks are made")
	res := w.call(http.MethodGet, "/v2/employees", nil)
	require.Equal(t, http.StatusOK, res.StatusCode, res.body)
	require.Zero(t, w.pleo.Counters().DeadTokenCalls)
}

func TestACallerOnAUnixSocketMayCall(t *testing.T) {
	w := newWorld(t)
	socket := filepath.Join(w.dir, "app.sock")
	w.start("", "", fmt.Sprintf("http://localhost {\n\tbind unix/%s\n\tpleo_proxy\n}\n", socket))
	w.connect("default", "")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	require.Equal(t, http.StatusOK, get(t, client, "http://localhost/v2/employees").StatusCode)
}

func TestATrailerSaysNothingThatAHeaderMayNot(t *testing.T) {
	seen := make(chan http.Header, 10)
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen <- r.Trailer.Clone()
	}))
	defer api.Close()
	w := connectAndSwitch(t, api.URL, "")
	for _, announced := range []string{"", "Trailer: Authorization, X-Sum\r\n"} {
		conn, err := net.Dial("tcp", w.app)
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "POST /v1/receipts HTTP/1.1\r\nHost: localhost\r\n"+announced+"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"+
			"Authorization: Bearer evil\r\nProxy-Authorization: evil\r\nCookie: evil\r\nConnection: Authorization\r\nPleo-Connection: evil\r\nX-Forwarded-For: evil\r\nX-Sum: 7\r\n\r\n")
		require.NoError(t, err)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode)
		trailer := <-seen
		if announced != "" {
			require.Equal(t, "7", trailer.Get("X-Sum"))
			delete(trailer, "X-Sum")
		}
		require.Empty(t, trailer)
	}
}
