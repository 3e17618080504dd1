package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// life is what a test lives through that looks for leaks, and all that it sees
// of it.
type life struct {
	e *pleo
	r *redistest.Server // nil: the store is Caddy's
	p *proxy

	mu      sync.Mutex
	answers []string
	cookies []string
}

// see notes an answer. What a browser has to be given, it is given in Location
// and Set-Cookie.
func (l *life) see(a answer) answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	header := a.header.Clone()
	for _, cookie := range (&http.Response{Header: header}).Cookies() {
		if len(cookie.Value) >= keyLength {
			l.cookies = append(l.cookies, cookie.Value)
		}
	}
	header.Del("Location")
	header.Del("Set-Cookie")
	l.answers = append(l.answers, fmt.Sprintf("%d %v %s", a.status, header, a.body))
	return a
}

// secrets are what must not be found.
func (l *life) secrets() []string {
	return slices.Concat(l.e.Secrets(), l.cookies, []string{sealingKey})
}

// texts are where they must not be found.
func (l *life) texts(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{
		"answers": strings.Join(l.answers, "\n"),
		"/config": string(l.p.admin(t, http.MethodGet, "/config/", "", nil).body),
		"metrics": string(l.p.admin(t, http.MethodGet, "/metrics", "", nil).body),
		"health":  string(get(t, l.p.URL+"/healthz").body),
		"admin":   string(l.p.admin(t, http.MethodGet, "/pleo/connections", "", nil).body),
		"cmdline": readFile(t, fmt.Sprintf("/proc/%d/cmdline", l.p.cmd.Process.Pid)),
	}
	// The files of the proxy are its saved configuration, the pairs that it held
	// and Caddy's storage; those of Redis have every write that was ever made.
	dirs := []string{l.p.dir}
	if l.r != nil {
		texts["Redis"] = l.r.Dump(t)
		dirs = append(dirs, filepath.Join(l.r.Dir(), "appendonlydir"))
	}
	for _, dir := range dirs {
		for _, file := range filesUnder(t, dir) {
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				texts[file] = readFile(t, file)
			}
		}
	}
	return texts
}

// startLife starts on the store that c names, or on a Redis of its own.
func startLife(t *testing.T, c config) *life {
	t.Helper()
	l := &life{e: startPleo(t)}
	if c.store == "" {
		l.r = redistest.Start(t, redistest.WithAppendOnly())
		c.store = onRedis(l.r).store
	}
	c.globals = "metrics"
	c.env = append(c.env, "GOTRACEBACK=all") // so that a crash tells all that it can
	c.options = "refresh_timeout 1s\n\t\t" + c.options
	c.site = `handle_errors {
		respond "{http.error.status_code} {http.error.message} {http.request.uri} {http.request.header.Authorization} {http.request.header.Cookie} {http.reverse_proxy.header.Authorization}"
	}`
	l.p = startProxy(t, l.e, c)
	return l
}

func (l *life) connect(t *testing.T, connection string) {
	t.Helper()
	b := newBrowser(t)
	start := l.see(b.open(t, l.p.origin()+"/pleo/authorise?connection="+connection))
	back, err := l.e.Approve(start.header.Get("Location"), "")
	require.NoError(t, err)
	// A link preview comes first, and must not spend anything.
	l.see(do(t, b.Client, request(t, http.MethodHead, back, "")))
	require.Equal(t, http.StatusOK, l.see(b.comeBack(t, back)).status)
	l.call(t, connection)
}

func (l *life) call(t *testing.T, connection string) answer {
	t.Helper()
	return l.see(get(t, l.p.URL+"/v2/employees", on(connection), withHeader("Authorization", "Bearer what-the-caller-sends")))
}

// refresh asks for a refresh that meets a fault.
func (l *life) refresh(t *testing.T, connection string, f pleotest.Fault) {
	t.Helper()
	l.connect(t, connection)
	f.Endpoint, f.GrantType = pleotest.Token, pleotest.RefreshToken
	set := l.e.Fault(f)
	l.see(l.p.admin(t, http.MethodPost, "/pleo/connections/"+connection+"/refresh", "", nil))
	await(t, set)
	l.call(t, connection)
}

// browse goes through everything that can go wrong with an authorisation.
func (l *life) browse(t *testing.T) {
	t.Helper()
	b, authorise := newBrowser(t), l.p.origin()+"/pleo/authorise?connection=browsed"
	begin := func() string {
		return l.see(b.open(t, authorise)).header.Get("Location")
	}
	approve := func(company string) string {
		back, err := l.e.Approve(begin(), company)
		require.NoError(t, err)
		return back
	}
	denied, err := l.e.Deny(begin())
	require.NoError(t, err)
	require.Equal(t, 403, l.see(b.open(t, denied)).status)
	back := approve("")
	require.Equal(t, 403, l.see(newBrowser(t).open(t, back)).status)
	require.Equal(t, 400, l.see(b.open(t, back+"&code=twice")).status)
	require.Equal(t, 405, l.see(do(t, b.Client, request(t, http.MethodPost, back, ""))).status)
	require.Equal(t, 200, l.see(b.open(t, back)).status)
	require.Equal(t, 400, l.see(b.open(t, back)).status)

	back = approve("")
	code := submatch(t, codeInURL, back)[1]
	l.e.Fault(pleotest.Fault{
		Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Status: 400,
		Body: fmt.Sprintf(`{"error":"invalid_grant","error_description":"the code %s is no good"}`, code),
	})
	require.Equal(t, 502, l.see(b.open(t, back)).status)
	require.Equal(t, 409, l.see(b.open(t, approve(company(1).Name))).status)
}
