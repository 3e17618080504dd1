package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

type fakeToken string

func (f fakeToken) Authorization() string { return "Bearer " + string(f) }

func (f fakeToken) Version() string { return string(f) }

// fakeTokens hands out tokens in order: the next one after each refusal.
type fakeTokens struct {
	mu      sync.Mutex
	tokens  []callToken
	err     error // of Token
	refused func(callToken) (callToken, error)
	asked   []string
}

func (f *fakeTokens) Token(_ context.Context, connection string) (callToken, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, connection)
	if f.err != nil {
		return nil, f.err
	}
	return f.tokens[0], nil
}

func (f *fakeTokens) Refused(_ context.Context, _ string, refused callToken) (callToken, error) {
	if f.refused != nil {
		return f.refused(refused)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.tokens, func(t callToken) bool { return t.Version() == refused.Version() })
	if i+1 == len(f.tokens) {
		return nil, &pleoauth.TokenError{Kind: pleoauth.ErrRefreshFailed}
	}
	return f.tokens[i+1], nil
}

func tokensOf(names ...string) *fakeTokens {
	f := new(fakeTokens)
	for _, name := range names {
		f.tokens = append(f.tokens, fakeToken(name))
	}
	return f
}

// newTransport returns a provisioned transport to a server on this machine.
func newTransport(t testing.TB, server string, tokens tokenSource) *Transport {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	api, err := newAPIServer(server)
	require.NoError(t, err)
	app := &App{life: newLifetime()}
	app.life.begin(new(sharedSource))
	tr := &Transport{
		app: app, api: api, limit: defaultReplayBuffer, memory: newBudget(replayBudget), logger: zap.NewNop(),
		tokens: func(*sharedSource) tokenSource { return tokens },
	}
	require.NoError(t, tr.HTTPTransport.Provision(ctx))
	tr.guardPeers(tr.HTTPTransport.Transport)
	t.Cleanup(tr.HTTPTransport.Transport.CloseIdleConnections)
	return tr
}

// callOf returns a call as the reverse proxy hands it to its transport.
func callOf(t testing.TB, server, method string, body io.Reader) *http.Request {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, "http://localhost:7536/v2/employees?x=1", body)
	req = req.WithContext(t.Context())
	req.RemoteAddr = "127.0.0.1:4711"
	req, _ = prepared(t, req)
	req.RequestURI = ""
	req.URL.Host = strings.TrimPrefix(server, "http://")
	req.URL.Scheme = ""
	return req
}

func send(t *testing.T, tr *Transport, req *http.Request) (int, string, *http.Response) {
	t.Helper()
	res, err := tr.RoundTrip(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body), res
}

// pleoAt is an API that knows its tokens, and counts calls.
type pleoAt struct {
	*httptest.Server
	mu    sync.Mutex
	seen  []string // Authorization headers
	alive map[string]bool
}

func newPleoAt(t *testing.T, alive ...string) *pleoAt {
	t.Helper()
	p := &pleoAt{alive: map[string]bool{}}
	for _, token := range alive {
		p.alive["Bearer "+token] = true
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen = append(p.seen, r.Header.Get("Authorization"))
		if !p.alive[r.Header.Get("Authorization")] {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "refused by the API")
			return
		}
		_, _ = fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.RequestURI(), len(body))
	}))
	t.Cleanup(p.Close)
	return p
}
