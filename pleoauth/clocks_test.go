package pleoauth_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// skewedStore is a store as a replica sees it that disagrees with the others
// about the store's own time. That is more than a replica's wrong clock can do,
// for that is compared with nothing: here lives and back-offs are misjudged, and
// nothing but safety can be asked for.
type skewedStore struct {
	pleoauth.Store
	skew time.Duration
}

func (s skewedStore) Read(ctx context.Context, name string) (pleoauth.Snapshot, error) {
	snap, err := s.Store.Read(ctx, name)
	snap.Now = snap.Now.Add(s.skew)
	return snap, err
}

func (s skewedStore) Swap(ctx context.Context, name string, old pleoauth.Snapshot, next pleoauth.Record, o pleoauth.SwapOptions) (pleoauth.Snapshot, error) {
	old.Now = old.Now.Add(-s.skew)
	snap, err := s.Store.Swap(ctx, name, old, next, o)
	snap.Now = snap.Now.Add(s.skew)
	return snap, err
}

// skewedReplica is a replica whose time is off.
func (w *world) skewedReplica(skew time.Duration) *pleoauth.Source {
	w.t.Helper()
	keys, err := pleoauth.NewKeyring(w.key)
	require.NoError(w.t, err)
	s, err := pleoauth.NewSource(w.cfg, skewedStore{w.store.client(), skew}, keys,
		pleoauth.WithDialContext(w.dial), pleoauth.WithSpillDir(w.t.TempDir()),
		pleoauth.WithLogger(slog.New(slog.NewTextHandler(w.log, nil))))
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func TestReplicasTenMinutesApartSpendNoTokenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		right := w.replica()
		replicas := []*pleoauth.Source{right.Source, w.skewedReplica(10 * time.Minute), w.skewedReplica(-10 * time.Minute)}
		w.authorise(right, "default", "")
		// Some are lost on their way, and have to be settled.
		w.pleo.Fault(pleotest.Fault{
			Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Times: 5, Skip: 2, Drop: pleotest.BeforeProcessing,
		})
		served := 0
		for i := range 5000 {
			_, err := replicas[i%len(replicas)].Token(t.Context(), "default")
			if err == nil {
				served++
			} else if !errors.Is(err, pleoauth.ErrRefreshFailed) {
				require.ErrorIs(t, err, pleoauth.ErrRefreshUnsettled)
			}
			time.Sleep(2 * time.Second)
		}
		c := w.pleo.Counters()
		require.Zero(t, c.Replays)
		require.Zero(t, c.DeadRefreshes)
		require.Equal(t, 5, c.Faults)
		require.Positive(t, c.Introspections, "what was lost was settled")
		require.Equal(t, c.RefreshRequests-5, c.Refreshes)
		require.Greater(t, served, 2500)
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
		w.token(right, "default")
	})
}
