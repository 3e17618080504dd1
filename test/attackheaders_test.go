package test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Caddy's access log has the headers of answers, and so has the application.
func TestATokenThatAnAnswersHeaderRepeatsIsTakenOut(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization := r.Header.Get("Authorization")
		token := strings.TrimPrefix(authorization, "Bearer ")
		w.Header().Set("X-Echo", authorization)
		w.Header().Add("X-Many", "first")
		w.Header().Add("X-Many", token+" and "+token)
		w.Header().Set("Location", "https://example.com/?token="+url.QueryEscape(token))
		w.Header().Set("Www-Authenticate", `Bearer error_description="`+token+`"`)
		w.Header().Set("Trailer", "X-Late")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "a body")
		w.Header().Set("X-Late", authorization)
	}))
	defer api.Close()
	e := startPleo(t)
	p := startProxy(t, e, config{proxy: "to " + strings.TrimPrefix(api.URL, "http://")})
	e.authorise(t, p, "default", company(0))
	res, err := client.Get(p.URL + "/v2/employees")
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, "a body", string(body))
	require.Equal(t, http.StatusTeapot, res.StatusCode)
	require.Equal(t, "Bearer [token]", res.Header.Get("X-Echo"))
	require.Equal(t, []string{"first", "[token] and [token]"}, res.Header["X-Many"])
	require.Equal(t, "https://example.com/?token=[token]", res.Header.Get("Location"))
	require.Equal(t, `Bearer error_description="[token]"`, res.Header.Get("Www-Authenticate"))
	require.Equal(t, "Bearer [token]", res.Trailer.Get("X-Late"))
	logs := func() string { return p.stdout.String() + p.stderr.String() }
	require.Eventually(t, func() bool {
		return strings.Contains(logs(), `"uri":"/v2/employees"`) && strings.Contains(logs(), "X-Echo")
	}, patience, tick)
	for _, secret := range e.Secrets() {
		require.NotContains(t, logs(), secret)
	}
}

// Over HTTP/2, too, an error of net/http's quotes what the server has sent.
func TestATokenThatAServerRepeatsOverHTTP2IsNotInTheLog(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	api := startFrames(t)
	e.APIURL = api.url
	p := startProxy(t, e, config{env: []string{"SSL_CERT_FILE=" + api.certificate}})
	e.authorise(t, p, "default", company(0))
	logs := func() string { return p.stdout.String() + p.stderr.String() }
	for _, path := range []string{"/goaway", "/goaway-first", "/header", "/trailer", "/reset"} {
		res, err := (&http.Client{Timeout: patience}).Get(p.URL + path)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			require.NotContains(t, fmt.Sprint(res.Header, res.Trailer), api.token(), path)
		}
		require.Eventually(t, func() bool { return strings.Contains(logs(), `"uri":"`+path+`"`) }, patience, tick, path)
		require.NotEmpty(t, api.token())
		require.NotContains(t, logs(), api.token(), path)
		require.NotContains(t, logs(), base64.StdEncoding.EncodeToString([]byte(api.token())), path)
	}
	require.Contains(t, logs(), "aborting with incomplete response")
}

// frames is an API that answers in frames of HTTP/2, as no library would.
type frames struct {
	url, certificate string
	tokens           chan string
}

func (f *frames) token() string {
	token := <-f.tokens
	f.tokens <- token
	return token
}

func startFrames(t *testing.T) *frames {
	t.Helper()
	model := httptest.NewTLSServer(nil) // for its certificate
	model.Close()
	certificate := model.TLS.Certificates[0]
	f := &frames{certificate: filepath.Join(t.TempDir(), "api.pem"), tokens: make(chan string, 1)}
	f.tokens <- ""
	require.NoError(t, os.WriteFile(f.certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600))
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	f.url = "https://" + l.Addr().String()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(conn)
		}
	}()
	return f
}

func (f *frames) serve(accepted net.Conn) {
	conn, ok := accepted.(*tls.Conn)
	if !ok {
		return
	}
	defer conn.Close()
	if _, err := io.CopyN(io.Discard, conn, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if f.answer(framer, frame) {
				_ = conn.CloseWrite() // after the frames, which are read first
				_, _ = io.Copy(io.Discard, conn)
				return
			}
		}
	}
}

// answer answers a call and reports whether the connection ends with it.
func (f *frames) answer(framer *http2.Framer, call *http2.MetaHeadersFrame) (end bool) {
	var authorization string
	for _, field := range call.RegularFields() {
		if field.Name == "authorization" {
			authorization = field.Value
		}
	}
	token := strings.TrimPrefix(authorization, "Bearer ")
	<-f.tokens
	f.tokens <- token
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	headers := func(last bool, fields ...string) {
		block.Reset()
		for i := 0; i < len(fields); i += 2 {
			_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: call.StreamID, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: last})
	}
	switch call.PseudoValue("path") {
	case "/goaway":
		headers(false, ":status", "200", "content-type", "text/plain")
		_ = framer.WriteData(call.StreamID, false, []byte("part"))
		_ = framer.WriteGoAway(call.StreamID, http2.ErrCodeInternal, []byte(authorization))
		return true
	case "/goaway-first":
		_ = framer.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte(authorization))
		return true
	case "/header":
		headers(true, ":status", "200", "x-echo", authorization)
	case "/trailer":
		headers(false, ":status", "200", "trailer", "x-late")
		_ = framer.WriteData(call.StreamID, false, []byte("all"))
		headers(true, "x-late", authorization)
	case "/reset":
		headers(false, ":status", "200")
		_ = framer.WriteData(call.StreamID, false, []byte("part"))
		_ = framer.WriteRSTStream(call.StreamID, http2.ErrCodeInternal)
	default:
		headers(false, ":status", "200", "content-type", "application/json")
		_ = framer.WriteData(call.StreamID, true, []byte("{}"))
	}
	return false
}
