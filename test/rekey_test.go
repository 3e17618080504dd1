package test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// useKeys has a running proxy take other encryption keys.
func (p *proxy) useKeys(t *testing.T, keys string) {
	t.Helper()
	text := strings.Replace(p.text(p.config), "{env.PLEO_ENCRYPTION_KEY}", keys, 1)
	a := p.loadText(t, text)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
}

// rekey runs the command.
func (p *proxy) rekey(t *testing.T) (code int, report pleoauth.RekeyReport) {
	t.Helper()
	code, out := runProgram(t, p.env, nil, proxyBinary, "pleo", "rekey", "--address", "unix/"+p.adminSocket(), "--json")
	first, _, _ := strings.Cut(out, "\n")
	require.NoError(t, json.Unmarshal([]byte(first), &report), out)
	return code, report
}

func TestKeysAreChangedInTwoReplicasUnderLoadAndTheOldOneIsNotNeededAfterwards(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t, pleotest.WithAccessTokenLife(2*time.Second)), redistest.Start(t)
	file := filepath.Join(t.TempDir(), "new_key")
	require.NoError(t, os.WriteFile(file, []byte(pleoauth.GenerateKey()), 0o600))
	old, next := "{env.PLEO_ENCRYPTION_KEY}", "{file."+file+"}"
	a, b := startProxy(t, e, onRedis(r)), startProxy(t, e, onRedis(r))
	names := []string{"one", "two", "three"}
	for i, name := range names {
		e.authorise(t, a, name, company(i%2))
	}

	stop, result := make(chan struct{}), make(chan [2]int, 1)
	go func() { // calls all the time, and counts
		var served, failed int
		for {
			for _, name := range names {
				for _, p := range []*proxy{a, b} {
					switch got := send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(name))); {
					case got.status == http.StatusOK:
						served++
					case got.err == nil: // Caddy may reset a connection while it changes its listeners
						failed++
					}
				}
			}
			select {
			case <-stop:
				result <- [2]int{served, failed}
				return
			default:
			}
		}
	}()
	for _, keys := range []string{old + " " + next, next + " " + old} { // all can open it before any seals with it
		a.useKeys(t, keys)
		b.useKeys(t, keys)
	}
	code, report := b.rekey(t)
	require.Zero(t, code)
	require.Equal(t, 3, report.Connections)
	require.True(t, report.Done())
	a.useKeys(t, next)
	b.useKeys(t, next)
	close(stop)
	calls := <-result
	require.Positive(t, calls[0])
	require.Zero(t, calls[1], "calls that failed")

	fresh := startProxy(t, e, onRedis(r)) // has the old key alone
	requireProblem(t, get(t, fresh.URL+"/v2/employees", on("one")), http.StatusServiceUnavailable, "store-unavailable")
	require.Equal(t, "degraded", fresh.healthStatus(t))
	code, report = fresh.rekey(t)
	require.Equal(t, 7, code)
	require.Equal(t, 3, report.Left)
	fresh.useKeys(t, next)
	for _, name := range names {
		fresh.employees(t, on(name))
	}
	require.Equal(t, "ready", fresh.healthStatus(t))
}
