package storetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

var recordTests = map[string]func(suite, *testing.T){
	"a name without a record gives an empty revision": func(s suite, t *testing.T) {
		snapshot := read(t, s.store(t, identity()), "acme")
		require.Empty(t, snapshot.Revision)
		require.True(t, snapshot.Empty())
		require.NotEmpty(t, snapshot.Run)
		require.WithinDuration(t, time.Now(), snapshot.Now, time.Minute)
		require.WithinDuration(t, time.Now(), snapshot.ReadAt, time.Minute)
	},
	"every field survives": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		written := put(t, store, "acme", record("v1"))
		require.Equal(t, record("v1"), written.Record)
		got := read(t, store, "acme")
		require.Equal(t, record("v1"), got.Record)
		require.Equal(t, written.Revision, got.Revision)
		require.Equal(t, written.Run, got.Run)
	},
	"a swap tells what a read would": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		r := record("v1")
		r.Expires = time.Date(2026, 1, 2, 3, 4, 5, 6_789_000, time.FixedZone("", 3600))
		written := put(t, store, "acme", r)
		require.Equal(t, read(t, store, "acme").Record, written.Record)
		require.WithinDuration(t, time.Now(), written.Now, time.Minute)
		require.False(t, written.ReadAt.IsZero())
	},
	"a swap may wait for replicas": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		waiting := pleoauth.SwapOptions{ReplicaWait: patience}
		written, err := store.Swap(t.Context(), "acme", read(t, store, "acme"), record("v1"), waiting)
		require.NoError(t, err)
		require.Equal(t, record("v1"), written.Record)
		require.Equal(t, written.Revision, read(t, store, "acme").Revision)
		_, err = store.Swap(t.Context(), "acme", pleoauth.Snapshot{Run: written.Run}, record("v2"), waiting)
		require.ErrorIs(t, err, pleoauth.ErrConflict)
		gone, err := store.Swap(t.Context(), "acme", written, pleoauth.Record{}, waiting)
		require.NoError(t, err)
		require.Empty(t, gone.Revision)
	},
	"every swap makes a new revision": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		first := put(t, store, "acme", record("v1"))
		second := put(t, store, "acme", record("v1"))
		require.NotEqual(t, first.Revision, second.Revision)
	},
	"fields that are zero in the next record do not stay": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		put(t, store, "acme", record("v1"))
		put(t, store, "acme", pleoauth.Record{State: pleoauth.StateDisconnected})
		require.Equal(t, pleoauth.Record{State: pleoauth.StateDisconnected}, read(t, store, "acme").Record)
	},
	"a swap on an old revision changes nothing": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		old := put(t, store, "acme", record("v1"))
		now := put(t, store, "acme", record("v2"))
		for _, stale := range []pleoauth.Snapshot{old, {Run: old.Run}} {
			_, err := store.Swap(t.Context(), "acme", stale, record("v3"), pleoauth.SwapOptions{})
			require.ErrorIs(t, err, pleoauth.ErrConflict)
			_, err = store.Swap(t.Context(), "acme", stale, pleoauth.Record{}, pleoauth.SwapOptions{})
			require.ErrorIs(t, err, pleoauth.ErrConflict)
		}
		require.Equal(t, now.Revision, read(t, store, "acme").Revision)
	},
	"a swap on a record that is gone is a conflict": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		old := put(t, store, "acme", record("v1"))
		put(t, store, "acme", pleoauth.Record{})
		_, err := store.Swap(t.Context(), "acme", old, record("v2"), pleoauth.SwapOptions{})
		require.ErrorIs(t, err, pleoauth.ErrConflict)
		require.Empty(t, read(t, store, "acme").Revision)
	},
	"a swap from another run is a conflict": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		old := put(t, store, "acme", record("v1"))
		old.Run = "another"
		_, err := store.Swap(t.Context(), "acme", old, record("v2"), pleoauth.SwapOptions{})
		require.ErrorIs(t, err, pleoauth.ErrConflict)
		require.Equal(t, "v1", read(t, store, "acme").Version)
	},
	"an empty record removes": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		put(t, store, "acme", record("v1"))
		gone := put(t, store, "acme", pleoauth.Record{Version: "v2"})
		require.Empty(t, gone.Revision)
		require.Equal(t, pleoauth.Record{}, gone.Record)
		require.Empty(t, read(t, store, "acme").Revision)
		// What a removal returned can be built upon.
		_, err := store.Swap(t.Context(), "acme", gone, record("v3"), pleoauth.SwapOptions{})
		require.NoError(t, err)
	},
	"removing what is not there succeeds": func(s suite, t *testing.T) {
		put(t, s.store(t, identity()), "acme", pleoauth.Record{})
	},
	"a mark without a state is a record": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		r := pleoauth.Record{Mark: &pleoauth.Mark{Nonce: "n", Kind: pleoauth.MarkAuthorise}}
		put(t, store, "acme", r)
		require.Equal(t, r, read(t, store, "acme").Record)
		require.NotEmpty(t, read(t, store, "acme").Revision)
	},
	"of concurrent swaps exactly one wins": func(s suite, t *testing.T) {
		id := identity()
		stores := []pleoauth.Store{s.store(t, id), s.store(t, id)}
		for round, old := 0, read(t, stores[0], "acme"); round < 5; round++ {
			const n = 24
			won := make([]pleoauth.Snapshot, n)
			errs := together(t.Context(), n, func(ctx context.Context, i int) (err error) {
				r := record("v")
				r.Attempts = i + 1
				won[i], err = stores[i%2].Swap(ctx, "acme", old, r, pleoauth.SwapOptions{})
				return err
			})
			wins := 0
			for i, err := range errs {
				if err == nil {
					wins++
					old = won[i]
					require.Equal(t, i+1, read(t, stores[1], "acme").Attempts)
				} else {
					require.ErrorIs(t, err, pleoauth.ErrConflict)
				}
			}
			require.Equal(t, 1, wins)
		}
	},
	"concurrent read and swap loops lose no change": func(s suite, t *testing.T) {
		id := identity()
		stores := []pleoauth.Store{s.store(t, id), s.store(t, id)}
		const workers, each = 6, 10
		errs := together(t.Context(), workers, func(ctx context.Context, i int) error {
			for n := 0; n < each; {
				old, err := stores[i%2].Read(ctx, "acme")
				if err != nil {
					return err
				}
				next := old.Record
				next.State = pleoauth.StateConnected
				next.Generation++
				_, err = stores[i%2].Swap(ctx, "acme", old, next, pleoauth.SwapOptions{})
				switch {
				case err == nil:
					n++
				case !errors.Is(err, pleoauth.ErrConflict):
					return err
				}
			}
			return nil
		})
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.EqualValues(t, workers*each, read(t, stores[0], "acme").Generation)
	},
	"names that differ by case alone are different": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		put(t, store, "Acme", record("upper"))
		put(t, store, "acme", record("lower"))
		require.Equal(t, "upper", read(t, store, "Acme").Version)
		require.Equal(t, "lower", read(t, store, "acme").Version)
		require.Empty(t, read(t, store, "ACME").Revision)
	},
	"odd names are names": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		for _, name := range oddNames() {
			require.NoError(t, pleoauth.CheckConnection(name))
			r := record(name)
			put(t, store, name, r)
		}
		for _, name := range oddNames() {
			require.Equal(t, name, read(t, store, name).Version)
		}
	},
	"other identities have other records": func(s suite, t *testing.T) {
		id := identity()
		store := s.store(t, id)
		put(t, store, "acme", record("v1"))
		for _, other := range []pleoauth.Identity{
			{Issuer: id.Issuer, ClientID: id.ClientID + "2"},
			{Issuer: id.Issuer + "/staging", ClientID: id.ClientID},
			{Issuer: id.Issuer + id.ClientID, ClientID: ""},
		} {
			stranger := s.store(t, other)
			require.Empty(t, read(t, stranger, "acme").Revision)
			names, _, err := stranger.List(t.Context(), "", 10)
			require.NoError(t, err)
			require.Empty(t, names)
			lock, err := stranger.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
			require.NoError(t, err)
			own, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
			require.NoError(t, err)
			require.NoError(t, own.Release(t.Context()))
			require.NoError(t, lock.Release(t.Context()))
		}
	},
}

// oddNames are valid and unkind to files, keys and separators.
func oddNames() []string {
	return []string{
		"a..b", "a.", "a:b", "a", "a:", "a-", "0", "con", "nul", "a.json", "record:a", "record", "index",
		strings.Repeat("a", 64), strings.Repeat("a", 65), strings.Repeat("a", 127), strings.Repeat("a", 128), strings.Repeat("A", 128),
	}
}
