package storetest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

var lifeTests = map[string]func(suite, *testing.T){
	"it answers": func(s suite, t *testing.T) {
		require.NoError(t, s.store(t, identity()).Ping(t.Context()))
	},
	"a context that has ended ends every call": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, call := range everyCall(store) {
			require.ErrorIs(t, call(ctx), context.Canceled, name)
		}
		require.Empty(t, read(t, store, "acme").Revision)
	},
	"close ends everything": func(s suite, t *testing.T) {
		// What the first use of a process starts for good must not count.
		s.useAndClose(t)
		before := runtime.NumGoroutine()
		store := s.useAndClose(t)
		require.True(t, goroutinesAtMost(before), "goroutines are left")
		require.NoError(t, store.Close(), "closing again")
	},
	"a closed store answers with errors": func(s suite, t *testing.T) {
		store := s.useAndClose(t)
		for name, call := range everyCall(store) {
			require.Error(t, call(t.Context()), name)
		}
		store.Unwatch("acme")
	},
	"a wait for a confirmation ends with the store": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		listen(store)
		watched := make(chan error, 10)
		for range cap(watched) {
			go func() { watched <- store.Watch(context.WithoutCancel(t.Context()), "acme") }()
		}
		require.NoError(t, store.Close())
		for range cap(watched) {
			<-watched // an error or, if it was quicker, none
		}
	},
}

// useAndClose uses all that a store can keep open, and closes it.
func (s suite) useAndClose(t *testing.T) pleoauth.Store {
	t.Helper()
	store := s.open(t, identity())
	listen(store)
	require.NoError(t, store.Watch(t.Context(), "acme"))
	require.NoError(t, store.Watch(t.Context(), "other"))
	put(t, store, "acme", record("v1"))
	require.NoError(t, store.PutFlow(t.Context(), "id", []byte("data"), time.Minute))
	take(t, store, "acme", time.Minute)
	require.NoError(t, store.Publish(t.Context(), changed("acme", "v1")))
	require.NoError(t, store.Close())
	return store
}

// goroutinesAtMost waits until there are no more than limit. It does not use
// require.Eventually, which itself starts one to look.
func goroutinesAtMost(limit int) bool {
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > limit; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// everyCall returns all methods that take a context.
func everyCall(store pleoauth.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"read": func(ctx context.Context) error { _, err := store.Read(ctx, "acme"); return err },
		"swap": func(ctx context.Context) error {
			_, err := store.Swap(ctx, "acme", pleoauth.Snapshot{}, record("v"), pleoauth.SwapOptions{})
			return err
		},
		"lock": func(ctx context.Context) error {
			_, err := store.Lock(ctx, "acme", pleoauth.LockOptions{Life: time.Minute})
			return err
		},
		"watch":     func(ctx context.Context) error { return store.Watch(ctx, "new") },
		"publish":   func(ctx context.Context) error { return store.Publish(ctx, changed("acme", "v")) },
		"put flow":  func(ctx context.Context) error { return store.PutFlow(ctx, "id", nil, time.Minute) },
		"flow":      func(ctx context.Context) error { _, err := store.Flow(ctx, "id"); return err },
		"take flow": func(ctx context.Context) error { _, err := store.TakeFlow(ctx, "id"); return err },
		"list":      func(ctx context.Context) error { _, _, err := store.List(ctx, "", 1); return err },
		"due":       func(ctx context.Context) error { _, err := store.Due(ctx, 1); return err },
		"ping":      func(ctx context.Context) error { return store.Ping(ctx) },
	}
}
