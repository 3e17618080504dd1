package test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// changeSecret gives the client another secret at Pleo.
func (e *pleo) changeSecret(t *testing.T, secret string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.client.Secret = secret
	require.NoError(t, e.AddClient(e.client))
}

// requireUnsaved requires that neither the configuration that Caddy shows nor
// the one that it saves, nor the log, has a secret.
func requireUnsaved(t *testing.T, p *proxy, secrets ...string) {
	t.Helper()
	shown := p.admin(t, http.MethodGet, "/config/", "", nil)
	require.Contains(t, string(shown.body), "client_secret")
	saved, err := os.ReadFile(filepath.Join(p.dir, "config", "caddy", "autosave.json"))
	require.NoError(t, err)
	for _, secret := range secrets {
		require.NotContains(t, string(shown.body), secret)
		require.NotContains(t, string(saved), secret)
		require.NotContains(t, p.stderr.String(), secret)
	}
}

func TestAClientSecretThatIsChangedInItsFileIsUsedWithoutAReload(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t, pleotest.WithAccessTokenLife(2*time.Second)), redistest.Start(t)
	file := filepath.Join(t.TempDir(), "client_secret")
	require.NoError(t, os.WriteFile(file, []byte(e.ClientSecret+"\n"), 0o600))
	c := onRedis(r)
	c.secret = "{file." + file + "}"
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	e.awaitExpiry(t)

	require.NoError(t, os.WriteFile(file, []byte("a-secret-that-was-rotated\n"), 0o600))
	e.changeSecret(t, "a-secret-that-was-rotated")
	e.ResetCounters()
	p.employees(t)
	require.Equal(t, 1, e.Counters().ClientRefusals)
	require.Equal(t, 1, e.Counters().Refreshes)
	requireUnsaved(t, p, e.ClientSecret, "a-secret-that-was-rotated")
}

func TestASecondClientSecretIsUsedOnceTheFirstIsRefused(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t, pleotest.WithAccessTokenLife(2*time.Second)), redistest.Start(t)
	c := onRedis(r)
	c.secret, c.env = "{env.PLEO_CLIENT_SECRET} {env.PLEO_NEXT_CLIENT_SECRET}", []string{"PLEO_NEXT_CLIENT_SECRET=the-secret-that-comes"}
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	e.awaitExpiry(t)

	e.changeSecret(t, "the-secret-that-comes")
	e.ResetCounters()
	p.employees(t)
	require.Equal(t, 1, e.Counters().ClientRefusals)
	require.Equal(t, 1, e.Counters().Refreshes)
	requireUnsaved(t, p, e.ClientSecret, "the-secret-that-comes")
}
