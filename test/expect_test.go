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

// A caller that waits with its body hears at once that it is not wanted.
func TestAnAnswerOfTheProxysOwnComesBeforeABodyThatWaitsForIt(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{})
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
}
