package caddymodule

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/stretchr/testify/require"
)

func TestPleoAPIAnswersPeersOnLoopbackOrAllowClientsOnly(t *testing.T) {
	api := apiServer{name: "external.pleo.io"}
	none, err := newCallerRules(nil, nil, api)
	require.NoError(t, err)
	some, err := newCallerRules([]string{"10.0.0.0/8"}, nil, api)
	require.NoError(t, err)
	for _, c := range []struct {
		rules   callerRules
		peer    string
		allowed bool
	}{
		{none, "127.0.0.1:1234", true},
		{none, "[::1]:1234", true},
		{none, "@", true},
		{none, "10.1.2.3:1234", false},
		{none, "[2001:db8::1]:1234", false},
		{none, "", false},
		{some, "10.1.2.3:1234", true},
		{some, "[::ffff:10.1.2.3]:1234", true},
		{some, "11.1.2.3:1234", false},
	} {
		handler := &API{caller: c.rules, app: &App{}}
		// A route that is answered without a source.
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "http://localhost/pleo/connections", nil)
		r.RemoteAddr = c.peer
		r.Header.Set("X-Forwarded-For", "127.0.0.1")
		r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddyhttp.NewTestReplacer(r)))
		w := httptest.NewRecorder()
		require.NoError(t, handler.ServeHTTP(w, r, nil))
		if c.allowed {
			require.Equal(t, http.StatusMethodNotAllowed, w.Code, c.peer)
			continue
		}
		require.Equal(t, http.StatusForbidden, w.Code, c.peer)
		require.Contains(t, w.Body.String(), `"reason":"address"`)
	}
}
