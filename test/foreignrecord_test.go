package test

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

// An operator has copied records to where another client has its own.
func TestAConsentForAConnectionOfAnotherClientSaysSoAndChangesNothing(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	p := startProxy(t, e, onRedis(r))
	e.authorise(t, p, "acme", company(0))
	db := r.Client(t)
	record := func() string {
		keys, err := db.Keys(t.Context(), "*:record:acme").Result()
		require.NoError(t, err)
		require.Len(t, keys, 1)
		return keys[0]
	}
	own := record()

	// The same servers by another name are another issuer, and so another client.
	e.AuthURL = strings.Replace(e.AuthURL, "127.0.0.1", "localhost", 1)
	dump, err := db.Dump(t.Context(), own).Result()
	require.NoError(t, err)
	require.NoError(t, db.Del(t.Context(), own).Err())
	p.stop(t, syscall.SIGTERM) // it would put its record back
	require.NoError(t, db.Del(t.Context(), own).Err())
	other := startProxy(t, e, onRedis(r))
	e.authorise(t, other, "acme", company(0))
	other.stop(t, syscall.SIGTERM)
	copied := record()
	require.NotEqual(t, own, copied)
	require.NoError(t, db.RestoreReplace(t.Context(), copied, 0, dump).Err())
	before := db.HGetAll(t.Context(), copied).Val()
	require.NotEmpty(t, before)
	other.restart(t)

	b := newBrowser(t)
	done := b.comeBack(t, e.approve(t, b, other.origin(), "acme", company(0)))
	require.Equal(t, http.StatusConflict, done.status, "%s", done.body)
	require.Contains(t, string(done.body), "This connection cannot be used here")
	require.NotContains(t, string(done.body), "in a minute")
	require.Equal(t, before, db.HGetAll(t.Context(), copied).Val())
	require.Equal(t, 5, other.command(t, "refresh", "acme").code)
	code, out := runProgram(t, append(other.env, "CADDY_ADMIN=unix/"+other.adminSocket()), nil, proxyBinary, "pleo", "rekey")
	require.Zero(t, code, out)
	require.Contains(t, out, "of other clients: 1")
}
