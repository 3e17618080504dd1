package caddymodule_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestACallGoesThroughWithItsConnectionsToken(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	companies := pleotest.Companies()
	w.connect("default", companies[0].ID)
	w.connect("acme", companies[1].ID)
	w.connect("Acme", companies[2].ID)

	for connection, company := range map[string]pleotest.Company{"": companies[0], "acme": companies[1], "Acme": companies[2]} {
		var header []string
		if connection != "" {
			header = append(header, "Pleo-Connection: "+connection)
		}
		res := w.call(http.MethodGet, "/v1/introspect", nil, header...)
		require.Equal(t, http.StatusOK, res.StatusCode, res.body)
		require.Contains(t, res.body, company.URN())
	}
	require.Zero(t, w.pleo.Counters().TokenlessCalls)
}

func TestOurOwnAnswersAreProblemDocuments(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")

	doc := w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme"), 401, "not-connected")
	require.Equal(t, "acme", doc["connection"])
	require.Equal(t, "http://"+w.browser+"/pleo/authorise?connection=acme", doc["authorise_uri"])
	res := w.call(http.MethodGet, "/v2/employees", nil)
	require.Equal(t, "Bearer", res.Header.Get("Www-Authenticate"))
	require.Equal(t, "default", w.problem(res, 401, "not-connected")["connection"])

	for _, header := range [][]string{
		{"Pleo-Connection: "},
		{"Pleo-Connection: a/b"},
		{"Pleo-Connection: a", "Pleo-Connection: b"},
		{"Pleo-Connection: a", "Pleo-Connection: a"},
		{"Pleo-Connection: " + strings.Repeat("a", 129)},
		{"Pleo-Connection: {env.HOME}"},
		{"Pleo-Connection: ", "Connection: Pleo-Connection"},
	} {
		doc := w.problem(w.call(http.MethodGet, "/v2/employees", nil, header...), 400, "invalid-connection")
		require.NotContains(t, doc, "connection", header)
	}
	for _, c := range []struct{ reason, header string }{
		{"origin", "Origin: https://evil.example.com"},
		{"origin", "Sec-Fetch-Site: cross-site"},
		{"host", "Host: evil.example.com"},
	} {
		doc := w.problem(w.call(http.MethodGet, "/v2/employees", nil, c.header), 403, "client-not-allowed")
		require.Equal(t, c.reason, doc["reason"])
		// What the caller has stripped from the copy counts all the same.
		name, _, _ := strings.Cut(c.header, ":")
		w.problem(w.call(http.MethodGet, "/v2/employees", nil, c.header, "Connection: "+name), 403, "client-not-allowed")
	}
	head := w.call(http.MethodHead, "/v2/employees", nil)
	require.Equal(t, http.StatusUnauthorized, head.StatusCode)
	require.Empty(t, head.body)
	require.Zero(t, w.pleo.Counters().APICalls)
}

func TestWhatTheCallerSendsReachesPleoAsItIs(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")

	for _, path := range []string{"/v1/echo", "/v1/echo?a=%2F&b=+&b=2&a", "/v1/receipts/a%2Fb:c", "/v1/receipts/%C3%A9%20x"} {
		res := w.call(http.MethodGet, path, nil)
		require.Equal(t, http.StatusOK, res.StatusCode, path)
		raw, _, _ := strings.Cut(path, "?")
		require.Contains(t, res.body, raw)
		if _, query, ok := strings.Cut(path, "?"); ok {
			require.Contains(t, res.body, strings.ReplaceAll(query, "&", `\u0026`))
		}
	}
	res := w.call(http.MethodPost, "/v3/export-job-items:search", strings.NewReader(`{}`), "Content-Type: application/json")
	require.Equal(t, http.StatusOK, res.StatusCode, res.body)

	body := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	sum := sha256.Sum256(body)
	res = w.call(http.MethodPost, "/v1/receipts", bytes.NewReader(body), "Content-Type: application/octet-stream")
	require.Less(t, res.StatusCode, 300, res.body)
	require.Contains(t, res.body, hex.EncodeToString(sum[:]))

	etag := w.call(http.MethodGet, "/v2/employees", nil).Header.Get("Etag")
	require.NotEmpty(t, etag)
	res = w.call(http.MethodGet, "/v2/employees", nil, "If-None-Match: "+etag)
	require.Equal(t, http.StatusNotModified, res.StatusCode)
	require.Equal(t, http.StatusOK, w.call(http.MethodHead, "/v2/employees", nil).StatusCode)
	res = w.call(http.MethodGet, "/v1/nothing-here", nil)
	require.Equal(t, http.StatusNotFound, res.StatusCode)
	require.NotContains(t, res.body, "urn:pleo-auth-proxy")
}

func TestCredentialsOfTheCallerNeitherReachPleoNorReplaceTheToken(t *testing.T) {
	w := newWorld(t)
	w.start("", "header_up Connection Authorization", "")
	w.connect("default", "")
	res := w.call(http.MethodGet, "/v1/echo", nil,
		"Authorization: Bearer mine", "Proxy-Authorization: Basic eDp5", "Cookie: session=localhost", "Forwarded: for=10.0.0.1",
		"X-Forwarded-For: 10.0.0.1", "X-Forwarded-Client-Cert: x", "Pleo-Connection: default", "Connection: Authorization, keep-alive", "X-Mine: kept")
	require.Equal(t, http.StatusOK, res.StatusCode, res.body)
	require.Contains(t, res.body, "X-Mine")
	lower := strings.ToLower(res.body)
	for _, gone := range []string{"bearer mine", "proxy-authorization", "session=localhost", "forwarded", "pleo-connection", "edp5"} {
		require.NotContains(t, lower, gone)
	}
	require.Zero(t, w.pleo.Counters().TokenlessCalls)
}

func TestHostStaysTheAPIsWhateverIsDialled(t *testing.T) {
	w := newWorld(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(w.pleo.APIURL, "http://"))
	require.NoError(t, err)
	w.start("", "to 127.0.0.2:"+port+"\n\t\theader_up Host evil.example.com\n\t\theader_up X-Dialled {upstream_hostport}", "")
	w.connect("default", "")
	_ = w.call(http.MethodGet, "/v1/echo", nil)

	plain := newUpstream(t)
	w.start("", "to "+plain.address+"\n\t\theader_up Host evil.example.com", "")
	_ = w.call(http.MethodGet, "/v1/echo", nil)
	seen := <-plain.seen
	require.Equal(t, strings.TrimPrefix(w.pleo.APIURL, "http://"), seen.Host)
	require.True(t, strings.HasPrefix(seen.Header.Get("Authorization"), "Bearer "))
}

// upstream is a bare server on loopback that shows what arrives.
type upstream struct {
	address string
	seen    chan *http.Request
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	u := &upstream{address: l.Addr().String(), seen: make(chan *http.Request, 10)}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { u.seen <- r })}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return u
}

func TestAStreamedAnswersFirstByteArrivesAtOnce(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.app+"/v1/export-stream?rows=3&interval=300ms", nil)
	require.NoError(t, err)
	res, err := w.client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	_, err = lines.ReadString('\n')
	require.NoError(t, err)
	rest, err := io.ReadAll(lines)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(rest), "\n"))
}

func TestAWebSocketPasses(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	conn, err := net.Dial("tcp", w.app)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /v1/echo-socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", res.Header.Get("Sec-WebSocket-Accept"))
	_, err = conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'}) // a masked text frame
	require.NoError(t, err)
	frame := make([]byte, 4)
	_, err = io.ReadFull(reader, frame)
	require.NoError(t, err)
	require.Equal(t, []byte{0x81, 0x02, 'h', 'i'}, frame)

	// Caddy's own counting of an upgraded connection races with its clean-up, so
	// the connection is over before Caddy is stopped.
	require.NoError(t, conn.Close())
	eventually(t, func() bool {
		logged, err := os.ReadFile(w.log)
		require.NoError(t, err)
		return strings.Contains(string(logged), "handled request") && strings.Contains(string(logged), `"status":101`)
	}, "the connection is over")
}

func TestAServerWithFullDuplexIsNotSupported(t *testing.T) {
	w := newWorld(t)
	config, err := adapt(w.caddyfile("", "", ""))
	require.NoError(t, err)
	listen := regexp.MustCompile(`"listen":\s*\[`)
	require.Len(t, listen.FindAll(config, -1), 2)
	config = listen.ReplaceAll(config, []byte(`"enable_full_duplex":true,$0`))
	require.NoError(t, caddy.Load(config, true))
	w.connect("default", pleotest.Companies()[0].ID)
	require.Equal(t, http.StatusBadGateway, w.call(http.MethodPost, "/v1/receipts", strings.NewReader("x")).StatusCode)
	require.Zero(t, w.pleo.Counters().APICalls)
}
