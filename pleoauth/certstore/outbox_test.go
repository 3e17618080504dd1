package certstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/certstore"
)

// watchedStorage calls writing before a record is written.
type watchedStorage struct {
	certstore.Storage
	writing func()
}

func (s *watchedStorage) Store(ctx context.Context, key string, value []byte) error {
	if strings.Contains(key, "/records/") {
		s.writing()
	}
	return s.Storage.Store(ctx, key, value)
}

// A change is noted before it is made. Whoever looked at it in between would find
// nothing to tell, and forget it.
func TestAChangeIsNotClaimedBeforeItIsMade(t *testing.T) {
	data, locks := t.TempDir(), t.TempDir()
	watched := &watchedStorage{Storage: &certmagic.FileStorage{Path: data}}
	store, err := certstore.New(watched, locks, identity)
	require.NoError(t, err)
	defer store.Close()
	other, err := certstore.New(&certmagic.FileStorage{Path: data}, locks, identity)
	require.NoError(t, err)
	defer other.Close()
	store.NoteChanges(func() {})
	written := false
	watched.writing = func() {
		written = true
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		changes, _ := other.ClaimChanges(ctx, 1, time.Minute)
		require.Empty(t, changes)
	}
	put(t, store, "acme", pleoauth.Record{State: pleoauth.StateConnected, Version: "v1"})
	require.True(t, written)
	changes, err := other.ClaimChanges(t.Context(), 1, time.Minute)
	require.NoError(t, err)
	require.Len(t, changes, 1)
}
