package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestServerThatWasReplacedAndIsBackIsAnotherRun(t *testing.T) {
	a := redistest.Start(t)
	b := a.StartReplica(t)
	store := open(t, options(t, a.URL()))
	old := put(t, store, "acme", connected)
	require.Eventually(t, func() bool { return b.Client(t).DBSize(t.Context()).Val() > 0 }, time.Minute, 10*time.Millisecond, "it is replicated")

	b.Promote(t)
	a.Demote(t, b)
	_, err := store.Read(t.Context(), "acme")
	require.ErrorContains(t, err, "READONLY")
	meanwhile, err := open(t, options(t, b.URL())).Read(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, old.Revision, meanwhile.Revision)

	a.Promote(t)
	now, err := store.Read(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, old.Revision, now.Revision)
	process := func(s pleoauth.Snapshot) string { id, _, _ := strings.Cut(s.Run, "."); return id }
	require.Equal(t, process(old), process(now), "it has not been restarted")
	require.NotEqual(t, old.Run, now.Run)
	require.NotEqual(t, meanwhile.Run, now.Run)
	_, err = store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{})
	require.ErrorIs(t, err, pleoauth.ErrConflict)
	_, err = store.Swap(t.Context(), "acme", now, connected, pleoauth.SwapOptions{})
	require.NoError(t, err)
}

func TestMasterThatGoesOnStaysTheSameRunWhenItsReplicaGoes(t *testing.T) {
	master := redistest.Start(t)
	replica := master.StartReplica(t)
	store := open(t, options(t, master.URL()))
	old := put(t, store, "acme", connected)
	replica.Kill()
	master.StartReplica(t)
	now, err := store.Read(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, old.Run, now.Run)
}
