package test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A caller that waits with its body hears at once that it is not wanted, with the
// lines that the documentation has for it. Without them, Caddy waits for the body.
func TestAnAnswerOfTheProxysOwnComesBeforeABodyThatWaitsForIt(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{site: "@waiting header Expect 100-continue\nheader @waiting Connection close"})
	e.authorise(t, p, "default", company(0))
	for name, c := range map[string]struct {
		header string
		status int
	}{
		"no such connection":      {"Pleo-Connection: nobody\n", http.StatusUnauthorized},
		"a malformed name":        {"Pleo-Connection: a/b\n", http.StatusBadRequest},
		"another site's page":     {"Origin: https://evil.example.com\n", http.StatusForbidden},
		"a body without a length": {"Pleo-Connection: nobody\nTransfer-Encoding: chunked\n", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
			require.NoError(t, err)
			defer conn.Close()
			if !strings.Contains(c.header, "Transfer-Encoding") {
				c.header += "Content-Length: 1048576\n"
			}
			_, err = io.WriteString(conn, strings.ReplaceAll("POST /v1/receipts HTTP/1.1\nHost: localhost\nExpect: 100-continue\n"+c.header+"\n", "\n", "\r\n"))
			require.NoError(t, err)
			require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			defer res.Body.Close()
			require.Equal(t, c.status, res.StatusCode)
			_, err = io.Copy(io.Discard, res.Body)
			require.NoError(t, err)
		})
	}
	req := request(t, http.MethodPost, p.URL+"/v1/echo", strings.Repeat("x", 1<<20))
	req.Header.Set("Expect", "100-continue")
	require.Equal(t, http.StatusOK, send(client, req).status, "one that is wanted is taken")
}
