package test

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A body can come from anybody: a file that an application's user uploads, say.
// An answer may come before it has been read, and what is left of it must not
// be taken for further calls on the same connection: they would be made with
// any customer's token, and their answers be taken for those of later calls.
func TestTheRestOfABodyIsNeverTakenForFurtherCalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, head string
		status     int
		prepare    func(*pleo)
	}{
		"no connection":        {"/v1/receipts", "Pleo-Connection: nobody\r\n", 401, func(*pleo) {}},
		"malformed connection": {"/v1/receipts", "Pleo-Connection: a/b\r\n", 400, func(*pleo) {}},
		"page of another site": {"/v1/receipts", "Origin: https://evil.example\r\n", 403, func(*pleo) {}},
		"answered early by Pleo": {"/v1/receipts", "", 413, func(e *pleo) {
			e.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/receipts", Status: 413, Body: "{}"})
		}},
		"refused early by Pleo": {"/v1/receipts", "", 0, func(e *pleo) {
			e.SetEarlyRefusal(true)
			e.Revoke(pleotest.Target{Kind: pleotest.AccessToken, Company: company(0).ID})
		}},
		"health":    {"/healthz", "", 405, func(*pleo) {}},
		"authorise": {"/pleo/authorise", "", 405, func(*pleo) {}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startPleo(t)
			p := startProxy(t, e, config{proxy: "replay_buffer 1KiB"}) // none of them can be repeated
			e.authorise(t, p, "default", company(0))
			e.authorise(t, p, "other", company(1))
			c.prepare(e)

			// Wherever the rest begins, it most likely begins with a method.
			inner := strings.Repeat("X", 4000) + " /v1/echo?smuggled HTTP/1.1\r\nHost: localhost\r\nPleo-Connection: other\r\n\r\n"
			body := strings.Repeat(inner, 5<<20/len(inner))
			answers := sendRaw(t, p, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n", c.path, c.head, len(body)), body)

			require.NotEmpty(t, answers)
			if c.status == 0 { // whether any of the body had been read when the refusal came is a race; if not, all of it is sent again
				require.Contains(t, []int{503, 201}, answers[0].status, "%s", answers[0].body)
				if answers[0].status == 201 {
					require.Contains(t, string(answers[0].body), fmt.Sprintf("%x", sha256.Sum256([]byte(body))))
				}
			} else {
				require.Equal(t, c.status, answers[0].status, "%s", answers[0].body)
			}
			for _, more := range answers[1:] {
				require.Fail(t, "the rest of the body was taken for a call", "it is answered with %d %.100s", more.status, more.body)
			}
			require.NotContains(t, p.stderr.String(), "smuggled")
		})
	}
}

// sendRaw sends a request and returns all answers that come on its connection.
func sendRaw(t *testing.T, p *proxy, head, body string) []answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, head)
	require.NoError(t, err)
	sent, answered := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(conn, body) // the proxy may well hang up
		<-answered                        // a caller that ends its side before has gone away, for Caddy
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite() // so that a connection which is kept alive ends, too
		}
	}()
	first := sync.OnceFunc(func() { close(answered) })
	defer first()
	var answers []answer
	for in := bufio.NewReader(conn); len(answers) < 3; {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		got, _ := io.ReadAll(res.Body)
		answers = append(answers, answer{status: res.StatusCode, header: res.Header, body: got})
		first()
	}
	first()
	_ = conn.Close()
	<-sent
	return answers
}
