package test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The server in the API's place does what TRACE is for: it sends the request
// back, token included.
func TestATokenIsNotSentWithAMethodThatEchoesOrTunnelsIt(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		text, _ := httputil.DumpRequest(r, false)
		_, _ = w.Write(text)
	}))
	defer api.Close()
	e := startPleo(t)
	p := startProxy(t, e, config{proxy: "to " + strings.TrimPrefix(api.URL, "http://")})
	e.authorise(t, p, "default", company(0))
	for name, text := range map[string]string{
		"TRACE":               "TRACE /v2/employees HTTP/1.1\nHost: localhost\nMax-Forwards: 0\n\n",
		"TRACE in lower case": "trace /v2/employees HTTP/1.1\nHost: localhost\n\n",
		"CONNECT":             "CONNECT localhost:443 HTTP/1.1\nHost: localhost:443\n\n",
		"CONNECT with a path": "CONNECT /v2/employees HTTP/1.1\nHost: localhost\n\n",
	} {
		requireProblem(t, p.raw(t, text), http.StatusNotImplemented, "method-not-supported")
		require.Zero(t, calls.Load(), name)
	}
	a := p.raw(t, "SEARCH /v2/employees HTTP/1.1\nHost: localhost\n\n")
	require.Equal(t, http.StatusOK, a.status, "all others are the API's to judge")
	require.EqualValues(t, 1, calls.Load())
}

// What net/http cannot read of an answer, it quotes in its errors, and so in
// what Caddy logs.
func TestATokenThatAMalformedAnswerRepeatsIsNotInTheLog(t *testing.T) {
	t.Parallel()
	var sent atomic.Value
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization := r.Header.Get("Authorization")
		token := strings.TrimPrefix(authorization, "Bearer ")
		sent.Store(token)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, map[string]string{
			"/encoding":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + authorization + "\r\n\r\n",
			"/length":      "HTTP/1.1 200 OK\r\nContent-Length: " + authorization + "\r\n\r\n",
			"/protocol":    authorization + "\r\n\r\n",
			"/header":      "HTTP/1.1 200 OK\r\n" + token + "\r\n\r\n",
			"/trailer":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + token + "\r\n\r\n",
			"/unsolicited": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + authorization + "\r\n\r\n",
		}[r.URL.Path])
	}))
	defer api.Close()
	e := startPleo(t)
	p := startProxy(t, e, config{proxy: "to " + strings.TrimPrefix(api.URL, "http://")})
	e.authorise(t, p, "default", company(0))
	logs := func() string { return p.stdout.String() + p.stderr.String() }
	for path, logged := range map[string]string{
		"/encoding":    "repeats the call's token",
		"/length":      "repeats the call's token",
		"/protocol":    "repeats the call's token",
		"/header":      "repeats the call's token",
		"/trailer":     "aborting with incomplete response",
		"/unsolicited": "Unsolicited response received",
	} {
		res, err := (&http.Client{Timeout: patience}).Get(p.URL + path)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		require.Eventually(t, func() bool { // Caddy's line about the whole request is the last one about it
			return strings.Contains(logs(), logged) && regexp.MustCompile(`handled request.*"uri":"`+path+`"`).MatchString(logs())
		}, patience, 10*time.Millisecond, path)
		require.NotEmpty(t, sent.Load())
		require.NotContains(t, logs(), sent.Load().(string), path)
	}
}
