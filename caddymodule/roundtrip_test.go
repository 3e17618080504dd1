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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

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
