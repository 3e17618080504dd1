package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

type fakeToken string

func (f fakeToken) Authorization() string { return "Bearer " + string(f) }
func (f fakeToken) Version() string       { return string(f) }

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

func TestACallIsRepeatedWithTheNextToken(t *testing.T) {
	pleo := newPleoAt(t, "second")
	tr := newTransport(t, pleo.URL, tokensOf("first", "second"))
	status, body, _ := send(t, tr, callOf(t, pleo.URL, http.MethodPost, strings.NewReader("hello")))
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "POST /v2/employees?x=1 5", body)
	require.Equal(t, []string{"Bearer first", "Bearer second"}, pleo.seen)
}

func TestRepetitionsAreBounded(t *testing.T) {
	pleo := newPleoAt(t)
	n := 0
	tokens := tokensOf("0")
	tokens.refused = func(callToken) (callToken, error) {
		n++
		return fakeToken(strconv.Itoa(n)), nil // always another one
	}
	tr := newTransport(t, pleo.URL, tokens)
	status, body, res := send(t, tr, callOf(t, pleo.URL, http.MethodGet, nil))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "refresh-failed")
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.Len(t, pleo.seen, maxAttempts)
}

func TestATokenThatWasRefusedIsNotTriedAgain(t *testing.T) {
	pleo := newPleoAt(t)
	tokens := tokensOf("same")
	tokens.refused = func(refused callToken) (callToken, error) { return refused, nil }
	tr := newTransport(t, pleo.URL, tokens)
	status, body, _ := send(t, tr, callOf(t, pleo.URL, http.MethodGet, nil))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "refresh-failed")
	require.Len(t, pleo.seen, 1)
}

func TestA401OverALiveTokenIsPassedOnUntouched(t *testing.T) {
	pleo := newPleoAt(t)
	tokens := tokensOf("alive")
	tokens.refused = func(callToken) (callToken, error) {
		return nil, &pleoauth.TokenError{Kind: pleoauth.ErrTokenAlive}
	}
	tr := newTransport(t, pleo.URL, tokens)
	status, body, _ := send(t, tr, callOf(t, pleo.URL, http.MethodGet, nil))
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, "refused by the API", body)
}

func TestNothingIsForwardedWithoutAToken(t *testing.T) {
	pleo := newPleoAt(t)
	for _, kind := range []error{
		pleoauth.ErrNotConnected, pleoauth.ErrReauthorisationRequired, pleoauth.ErrClientRejected, pleoauth.ErrRefreshFailed,
		pleoauth.ErrRefreshUnsettled, pleoauth.ErrStoreUnavailable, pleoauth.ErrForeignRecord, errors.New("anything else"),
	} {
		tokens := &fakeTokens{err: &pleoauth.TokenError{Kind: kind}}
		status, _, res := send(t, newTransport(t, pleo.URL, tokens), callOf(t, pleo.URL, http.MethodGet, nil))
		require.GreaterOrEqual(t, status, 400)
		require.Equal(t, "application/problem+json", res.Header.Get("Content-Type"))
	}
	require.Empty(t, pleo.seen)
}

func TestTheOutgoingRequestOfTheProxyNeverHoldsTheToken(t *testing.T) {
	pleo := newPleoAt(t, "first")
	req := callOf(t, pleo.URL, http.MethodGet, nil)
	req.Header.Set("Authorization", "Bearer callers")
	before := req.Header.Clone()
	_, _, _ = send(t, newTransport(t, pleo.URL, tokensOf("first")), req)
	require.Equal(t, before, req.Header)
	require.Equal(t, []string{"Bearer first"}, pleo.seen)
	require.Equal(t, "localhost:7536", req.Host)
}

func TestAnAnswerOfOurOwnLeavesTheBodyToTheServer(t *testing.T) {
	body := &countedBody{Reader: strings.NewReader("hello")}
	req := callOf(t, "http://127.0.0.1:1", http.MethodPost, body)
	req.RemoteAddr = "192.0.2.1:1"
	status, _, _ := send(t, newTransport(t, "http://127.0.0.1:1", tokensOf("first")), req)
	require.Equal(t, http.StatusForbidden, status)
	require.Zero(t, body.closed)
}

func TestTheBodyIsClosedOnceAfterARepetition(t *testing.T) {
	pleo := newPleoAt(t, "second")
	body := &countedBody{Reader: strings.NewReader("hello")}
	req := callOf(t, pleo.URL, http.MethodPost, body)
	_, _, _ = send(t, newTransport(t, pleo.URL, tokensOf("first", "second")), req)
	require.Eventually(t, func() bool {
		body.mu.Lock()
		defer body.mu.Unlock()
		return body.closed == 1
	}, 5*time.Second, time.Millisecond)
}

func TestACallerThatHasGoneGetsNoProblem(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tokens := &fakeTokens{err: context.Canceled}
	req := callOf(t, "http://127.0.0.1:1", http.MethodGet, nil)
	req = req.WithContext(context.WithValue(ctx, caddy.ReplacerCtxKey, req.Context().Value(caddy.ReplacerCtxKey)))
	req, _ = prepared(t, req)
	cancel()
	_, err := newTransport(t, "http://127.0.0.1:1", tokens).RoundTrip(req)
	require.ErrorIs(t, err, context.Canceled)
}

func TestALargeBodyThatPleoNeverReadIsRepeated(t *testing.T) {
	// With "Expect: 100-continue" the API can refuse before the body is sent.
	var got []int
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer first" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, _ := io.ReadAll(r.Body)
		got = append(got, len(body))
	}))
	defer api.Close()
	tr := newTransport(t, api.URL, tokensOf("first", "second"))
	tr.limit = 1 << 10
	tr.HTTPTransport.Transport.ExpectContinueTimeout = 10 * time.Second
	req := callOf(t, api.URL, http.MethodPost, bytes.NewReader(make([]byte, 1<<20)))
	req.Header.Set("Expect", "100-continue")
	status, body, _ := send(t, tr, req)
	require.Equal(t, http.StatusOK, status, body)
	require.Equal(t, []int{1 << 20}, got)
}

func TestEarlyHintsAndTrailersPass(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, r.Trailer.Get("X-Request-Sum"))
		w.Header().Set("X-Sum", "42")
	}))
	defer api.Close()
	req := callOf(t, api.URL, http.MethodPost, io.MultiReader(strings.NewReader("hello")))
	req.ContentLength = -1
	req.Trailer = http.Header{"X-Request-Sum": {"7"}}
	var early int
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { early = code; return nil },
	}))
	_, body, res := send(t, newTransport(t, api.URL, tokensOf("first")), req)
	require.Equal(t, http.StatusEarlyHints, early)
	require.Equal(t, "7", body)
	require.Equal(t, "42", res.Trailer.Get("X-Sum"))
}

func TestRedirectsAreTheCallersToFollow(t *testing.T) {
	other := newPleoAt(t, "first")
	api := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer api.Close()
	status, _, res := send(t, newTransport(t, api.URL, tokensOf("first")), callOf(t, api.URL, http.MethodGet, nil))
	require.Equal(t, http.StatusTemporaryRedirect, status)
	require.Equal(t, other.URL, res.Header.Get("Location"))
	require.Empty(t, other.seen)
}

func TestManyCallsAtOnce(t *testing.T) {
	pleo := newPleoAt(t, "second")
	tr := newTransport(t, pleo.URL, tokensOf("first", "second"))
	var wg sync.WaitGroup
	got := make([]string, 50)
	for i := range got {
		req := callOf(t, pleo.URL, http.MethodPost, strings.NewReader(strings.Repeat("x", i*1000)))
		wg.Go(func() {
			res, err := tr.RoundTrip(req)
			if err != nil {
				got[i] = err.Error()
				return
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			got[i] = string(body)
		})
	}
	wg.Wait()
	for i, body := range got {
		require.Equal(t, fmt.Sprintf("POST /v2/employees?x=1 %d", i*1000), body)
	}
	require.Eventually(t, func() bool { return tr.memory.left.Load() == replayBudget }, 5*time.Second, time.Millisecond, "memory is given back")
	require.Zero(t, tr.app.life.shared.Load().calls.Load())
}
