package pleoauth_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// riskyStore is a store that tells what may lose grants.
type riskyStore struct {
	*memStore
	mu     sync.Mutex
	risks  []pleoauth.DurabilityRisk
	err    error
	checks int
	// markLife is what the last check was told.
	markLife time.Duration
}

func (s *riskyStore) CheckDurability(_ context.Context, markLife time.Duration) ([]pleoauth.DurabilityRisk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks++
	s.markLife = markLife
	return s.risks, s.err
}

func (s *riskyStore) set(err error, risks ...pleoauth.DurabilityRisk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.risks = err, risks
}

func (s *riskyStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checks
}

var eviction = pleoauth.DurabilityRisk{
	Code: pleoauth.RiskEviction, Server: "redis-1:6379", Text: "grants are dropped; do not drop them",
}

// riskySource returns a source over a risky store that is closed with the test.
func riskySource(t *testing.T, log *logBuffer, opts ...pleoauth.Option) (*pleoauth.Source, *riskyStore) {
	t.Helper()
	store := &riskyStore{memStore: newMemServer().client()}
	keys, err := pleoauth.NewKeyring(pleoauth.GenerateKey())
	require.NoError(t, err)
	cfg := pleoauth.Config{AuthServer: "http://auth.localhost", APIServer: "http://api.localhost", ClientID: "client"}
	source, err := pleoauth.NewSource(cfg, store, keys,
		append(opts, pleoauth.WithLogger(slog.New(slog.NewTextHandler(log, nil))))...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close(context.Background())) })
	return source, store
}

func TestStoreThatMayLoseGrantsIsWarnedAboutAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		source, store := riskySource(t, log)
		elsewhere := eviction
		elsewhere.Server = "redis-2:6379"
		store.set(nil, eviction, elsewhere)
		source.Start()
		synctest.Wait()
		require.Equal(t, 2, strings.Count(log.String(), "level=WARN"))
		require.Contains(t, log.String(), `level=WARN msg="the store may lose grants: grants are dropped; do not drop them" risk=eviction server=redis-2:6379`)
		require.Equal(t, []pleoauth.DurabilityRisk{eviction, elsewhere}, source.DurabilityRisks())
		health := source.Health(t.Context())
		require.Equal(t, pleoauth.HealthReady, health.Status, "a risk is a warning")
		require.Equal(t, []string{eviction.Text}, health.Risks, "the text alone, and once")

		time.Sleep(time.Hour + time.Second)
		require.Equal(t, 2, store.count())
		require.Equal(t, 4, strings.Count(log.String(), "level=WARN"))
		store.set(nil)
		time.Sleep(time.Hour)
		require.Empty(t, source.DurabilityRisks())
		require.Empty(t, source.Health(t.Context()).Risks)
	})
}

func TestStoreThatIsAwayIsCheckedOnceItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		source, store := riskySource(t, log)
		store.set(errAway)
		source.Start()
		time.Sleep(time.Minute + time.Second)
		require.Empty(t, source.DurabilityRisks())
		require.Empty(t, log.String(), "that it is away is told elsewhere")
		store.set(nil, eviction)
		time.Sleep(10 * time.Second)
		require.Len(t, source.DurabilityRisks(), 1)
		checks := store.count()
		time.Sleep(50 * time.Minute)
		require.Equal(t, checks, store.count(), "from then on hourly")

		store.set(errAway)
		_, err := source.CheckDurability(t.Context())
		require.ErrorIs(t, err, errAway)
		require.Len(t, source.DurabilityRisks(), 1, "who does not answer has not become better")
	})
}

func TestRequiredDurabilityMakesARiskAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		source, store := riskySource(t, log, pleoauth.WithRequireDurable())
		source.Start()
		synctest.Wait()
		require.Equal(t, pleoauth.HealthReady, source.Health(t.Context()).Status)
		store.set(nil, eviction)
		time.Sleep(time.Hour + time.Second)
		require.Contains(t, log.String(), "level=ERROR msg=\"the store may lose grants")
		require.Equal(t, 15*time.Second, store.markLife)
		health := source.Health(t.Context())
		require.Equal(t, pleoauth.HealthDegraded, health.Status)
		require.Contains(t, strings.Join(health.Reasons, " "), "require_durable")
	})
}

func TestStoreThatCannotTellIsNotJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		source := w.replica()
		source.Start()
		risks, err := source.CheckDurability(t.Context())
		require.NoError(t, err)
		require.Empty(t, risks)
		require.Empty(t, source.Health(t.Context()).Risks)
		w.close()
	})
}
