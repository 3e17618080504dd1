package caddymodule_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestARefusedCallIsSentAgainWithItsBody(t *testing.T) {
	for _, early := range []bool{false, true} {
		for _, size := range []int{0, 10, 100_000, 1 << 20} {
			t.Run(fmt.Sprintf("early refusal %t, %d bytes", early, size), func(t *testing.T) {
				w := newWorld(t)
				w.pleo.SetEarlyRefusal(early)
				w.start("", "", "")
				w.connect("default", "")
				require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
				w.pleo.Expire(pleotest.Target{Kind: pleotest.AccessToken})

				body := bytes.Repeat([]byte("x"), size)
				sum := sha256.Sum256(body)
				// The length is not told, so that the body travels in chunks.
				res := w.call(http.MethodPost, "/v1/receipts", io.MultiReader(bytes.NewReader(body)), "Content-Type: application/octet-stream")
				require.Less(t, res.StatusCode, 300, res.body)
				require.Contains(t, res.body, hex.EncodeToString(sum[:]))
				require.Equal(t, 1, w.pleo.Counters().Refreshes)
				require.Equal(t, 1, w.pleo.Counters().DeadTokenCalls)
			})
		}
	}
}

func TestABodyTooLargeToRepeatIsAnsweredAndTheNextCallWorks(t *testing.T) {
	w := newWorld(t)
	w.start("", "replay_buffer 1KiB", "")
	w.connect("default", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)

	w.pleo.Expire(pleotest.Target{Kind: pleotest.AccessToken})
	res := w.call(http.MethodPost, "/v1/receipts", strings.NewReader(strings.Repeat("x", 2000)), "Content-Type: application/octet-stream")
	w.problem(res, 503, "call-not-repeated")
	require.Equal(t, "1", res.Header.Get("Retry-After"))
	res = w.call(http.MethodPost, "/v1/receipts", strings.NewReader(strings.Repeat("x", 2000)), "Content-Type: application/octet-stream")
	require.Less(t, res.StatusCode, 300, res.body)
	require.Equal(t, 1, w.pleo.Counters().Refreshes)
}

func TestA401OverALiveTokenIsPassedOn(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	w.pleo.ResetCounters()
	w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/echo", Status: http.StatusUnauthorized, Body: `{"mine":true}`, Times: pleotest.Always})
	for range 3 {
		res := w.call(http.MethodGet, "/v1/echo", nil)
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		require.JSONEq(t, `{"mine":true}`, res.body)
	}
	require.Zero(t, w.pleo.Counters().Refreshes)
	require.Equal(t, 1, w.pleo.Counters().Introspections)
}

func TestA403AndA429RefreshNothing(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	w.pleo.ResetCounters()
	for _, status := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/echo", Status: status})
		require.Equal(t, status, w.call(http.MethodGet, "/v1/echo", nil).StatusCode)
	}
	require.Zero(t, w.pleo.Counters().Refreshes)
	require.Zero(t, w.pleo.Counters().Introspections)
}

func TestARevokedGrantHasToBeAuthorisedAgain(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	w.connect("default", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
	w.pleo.Revoke(pleotest.Target{})
	for range 5 {
		res := w.call(http.MethodGet, "/v2/employees", nil)
		doc := w.problem(res, 401, "reauthorisation-required")
		require.Equal(t, `Bearer error="invalid_token"`, res.Header.Get("Www-Authenticate"))
		require.NotEmpty(t, doc["reason"])
		require.NotEmpty(t, doc["authorise_uri"])
	}
	require.LessOrEqual(t, w.pleo.Counters().RefreshRequests, 1)
	w.connect("default", "")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil).StatusCode)
}
