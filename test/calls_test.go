package test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answer is an HTTP response that has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// client is the application's. It follows no redirects and keeps enough idle
// connections for a few hundred callers.
var client = newClient(nil)

func newClient(jar http.CookieJar) *http.Client {
	return &http.Client{
		Jar:           jar,
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 256,
			DisableCompression:  true,
			// localhost, and any name under it, is this machine: whatever its
			// resolver thinks.
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if host, port, err := net.SplitHostPort(address); err == nil && (host == "localhost" || strings.HasSuffix(host, ".localhost")) {
					address = net.JoinHostPort("127.0.0.1", port)
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			},
		},
	}
}

// send sends a request and reads the answer; err is set if there is none.
func send(c *http.Client, req *http.Request) answer {
	res, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, body, err}
}

func do(t *testing.T, c *http.Client, req *http.Request) answer {
	t.Helper()
	a := send(c, req)
	require.NoError(t, a.err)
	return a
}

// option changes a request.
type option func(*http.Request)

func withHeader(name string, values ...string) option {
	return func(r *http.Request) { r.Header[name] = values }
}

func withHost(host string) option { return func(r *http.Request) { r.Host = host } }

func on(connection string) option { return withHeader("Pleo-Connection", connection) }

func request(t *testing.T, method, url, body string, options ...option) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for _, o := range options {
		o(req)
	}
	return req
}

// get makes a call as an application does.
func get(t *testing.T, url string, options ...option) answer {
	t.Helper()
	return do(t, client, request(t, http.MethodGet, url, "", options...))
}

// post makes a call with a JSON body.
func post(t *testing.T, url, body string, options ...option) answer {
	t.Helper()
	return do(t, client, request(t, http.MethodPost, url, body, append(options, withHeader("Content-Type", "application/json"))...))
}

// employees makes the call that most tests make, and requires data.
func (p *proxy) employees(t *testing.T, options ...option) {
	t.Helper()
	a := get(t, p.URL+"/v2/employees", options...)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	require.Contains(t, string(a.body), `"data":[{`)
}

// companyOf returns the id of the company whose data answers.
func (a answer) companyID(t *testing.T) string {
	t.Helper()
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	var echo struct {
		Data struct {
			CompanyID string `json:"companyId"`
		} `json:"data"`
	}
	a.decode(t, &echo)
	return echo.Data.CompanyID
}

func (a answer) decode(t *testing.T, into any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(a.body, into), "%s", a.body)
}

// problem is one of the proxy's own answers.
type problem struct {
	Type         string `json:"type"`
	Title        string `json:"title"`
	Status       int    `json:"status"`
	Detail       string `json:"detail"`
	Connection   string `json:"connection"`
	Reason       string `json:"reason"`
	AuthoriseURI string `json:"authorise_uri"`
}

// requireProblem requires one of the proxy's own answers and returns it.
func requireProblem(t *testing.T, a answer, status int, kind string) problem {
	t.Helper()
	require.NoError(t, a.err)
	require.Equal(t, status, a.status, "%s", a.body)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	var p problem
	a.decode(t, &p)
	require.Equal(t, "urn:pleo-auth-proxy:"+kind, p.Type)
	require.Equal(t, status, p.Status)
	return p
}

// requireAll requires that all callers were answered 200.
func requireAll(t *testing.T, answers []answer) {
	t.Helper()
	for i, a := range answers {
		require.NoError(t, a.err, "caller %d of %d", i, len(answers))
		require.Equal(t, http.StatusOK, a.status, "caller %d of %d: %s", i, len(answers), a.body)
	}
}

// herd makes n calls that are released together, and returns all answers.
func herd(n int, call func(i int) answer) []answer {
	answers := make([]answer, n)
	var ready, done sync.WaitGroup
	release := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-release
			answers[i] = call(i)
		})
	}
	ready.Wait()
	close(release)
	done.Wait()
	return answers
}

// browser is a user's: it keeps cookies and follows no redirect by itself.
type browser struct{ *http.Client }

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{newClient(jar)}
}

func (b *browser) open(t *testing.T, url string) answer {
	t.Helper()
	return do(t, b.Client, request(t, http.MethodGet, url, "", withHeader("Sec-Fetch-Site", "none")))
}

// comeBack opens a callback. While an earlier request about the connection is not
// settled, the page has the browser wait and open the same address again.
func (b *browser) comeBack(t *testing.T, back string) answer {
	t.Helper()
	for until := time.Now().Add(settling); ; {
		a := b.open(t, back)
		if a.status != http.StatusAccepted {
			return a
		}
		require.Contains(t, string(a.body), "not settled yet")
		require.Equal(t, a.header.Get("Retry-After"), a.header.Get("Refresh"), "a number alone is the same address")
		seconds, err := strconv.Atoi(a.header.Get("Refresh"))
		require.NoError(t, err)
		require.Positive(t, seconds)
		wait := time.Duration(seconds) * time.Second
		require.True(t, time.Now().Add(wait).Before(until), "the browser is kept waiting for too long")
		time.Sleep(wait)
	}
}
