package caddymodule

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func openerFor(t *testing.T, dir string, change func(*sourceOpener)) *sourceOpener {
	t.Helper()
	o := &sourceOpener{
		config:  pleoauth.Config{ClientID: "acme"}.WithDefaults(),
		store:   &CaddyStore{storage: &certmagic.FileStorage{Path: dir}},
		slogger: slog.New(slog.NewTextHandler(new(bytes.Buffer), nil)),
	}
	if change != nil {
		change(o)
	}
	return o
}

func TestOneSourceServesEveryConfigurationOfAClient(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	dir := t.TempDir()
	first, second, refused := new(App), new(App), new(App)
	a, keyA, err := openerFor(t, dir, nil).acquire(first)
	require.NoError(t, err)
	b, keyB, err := openerFor(t, dir, func(o *sourceOpener) {
		o.config.RefreshBefore = 2 * time.Minute
		o.config.ClientSecret = "rotated"
		o.config.Scopes = []string{"users:read"}
		o.keys = []string{pleoauth.GenerateKey()}
	}).acquire(second)
	require.NoError(t, err)
	require.Same(t, a, b)
	require.Equal(t, keyA, keyB)
	require.Equal(t, 2*time.Minute, a.source.Config().RefreshBefore, "the newest configuration holds")
	require.NoError(t, a.release(first, keyA))
	require.Equal(t, "rotated", a.source.Config().ClientSecret)

	c, keyC, err := openerFor(t, dir, func(o *sourceOpener) { o.config.RefreshBefore = 3 * time.Minute }).acquire(refused)
	require.NoError(t, err)
	require.Equal(t, 3*time.Minute, a.source.Config().RefreshBefore)
	require.NoError(t, c.release(refused, keyC))
	require.Equal(t, 2*time.Minute, a.source.Config().RefreshBefore, "after a refused reload the running one holds again")

	refs, _ := sources.References(keyB)
	require.Equal(t, 1, refs)
	require.NoError(t, b.release(second, keyB))
	_, there := sources.References(keyB)
	require.False(t, there)
}

func TestAnotherClientServerOrStoreIsAnotherSource(t *testing.T) {
	dir := t.TempDir()
	base := openerFor(t, dir, nil).poolKey()
	for name, change := range map[string]func(*sourceOpener){
		"client": func(o *sourceOpener) { o.config.ClientID = "other" },
		"server": func(o *sourceOpener) { o.config.AuthServer = pleoauth.StagingAuthServer },
		"store":  func(o *sourceOpener) { o.store = &CaddyStore{storage: &certmagic.FileStorage{Path: dir + "/x"}} },
	} {
		o := openerFor(t, dir, change)
		require.NotEqual(t, base, o.poolKey(), name)
		require.NotEqual(t, openerFor(t, dir, nil).spillDir(), o.spillDir(), name)
	}
}

func TestCleanupReleasesOnlyWhatWasAcquired(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	dir := t.TempDir()
	running := &App{life: newLifetime(), opener: openerFor(t, dir, nil)}
	require.NoError(t, running.Start())
	key := running.poolKey

	require.NoError(t, new(App).Cleanup(), "Provision failed")
	require.NoError(t, (&App{life: newLifetime(), opener: openerFor(t, dir, nil)}).Cleanup(), "it was never started")
	refs, _ := sources.References(key)
	require.Equal(t, 1, refs)

	require.NoError(t, running.Cleanup())
	require.NoError(t, running.Cleanup())
	_, there := sources.References(key)
	require.False(t, there)
}

func TestARequestWaitsForTheStart(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	app := &App{life: newLifetime(), opener: openerFor(t, t.TempDir(), nil)}
	got := make(chan error, 1)
	go func() {
		shared, err := app.current(t.Context())
		if err == nil {
			shared.leave()
		}
		got <- err
	}()
	require.NoError(t, app.Start())
	require.NoError(t, <-got)
	require.NoError(t, app.Cleanup())

	over := &App{life: newLifetime()}
	require.NoError(t, over.Cleanup())
	_, err := over.current(t.Context())
	require.ErrorIs(t, err, errNotStarted, "its configuration was refused")
}

func TestASourceIsClosedAfterItsLastCall(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	app := &App{life: newLifetime(), opener: openerFor(t, t.TempDir(), nil)}
	require.NoError(t, app.Start())
	shared, err := app.current(t.Context())
	require.NoError(t, err)
	require.NoError(t, app.Cleanup())
	require.NotEqual(t, pleoauth.HealthStarting, shared.source.Health(t.Context()).Status, "a call still needs it")
	shared.leave()
	require.Eventually(t, func() bool {
		return shared.source.Health(t.Context()).Status == pleoauth.HealthStarting // it is closing
	}, 5*time.Second, 5*time.Millisecond)
}

func TestAProcessThatExitsWaitsForNoCall(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	over := make(chan struct{})
	close(over)
	for name, grace := range map[string]<-chan struct{}{
		"of the configuration that serves":                        nil,
		"of an earlier configuration, whose grace period is over": over,
	} {
		t.Run(name, func(t *testing.T) {
			shared, key, err := openerFor(t, t.TempDir(), nil).acquire(new(App))
			require.NoError(t, err)
			shared.enter() // a call that never ends
			began := time.Now()
			require.NoError(t, shared.close(grace))
			require.Less(t, time.Since(began), markLife(shared.source.Config())/2)
			require.Equal(t, pleoauth.HealthStarting, shared.source.Health(t.Context()).Status, "it is closed")
			_, err = sources.Delete(key)
			require.NoError(t, err)
		})
	}
}
