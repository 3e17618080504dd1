package redisstore_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

var identity = pleoauth.Identity{Issuer: "https://auth.example.com", ClientID: "client"}

// open returns a store that is closed when the test ends.
func open(t testing.TB, o redisstore.Options) *redisstore.Store {
	t.Helper()
	store, err := redisstore.New(o, identity)
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func put(t testing.TB, store pleoauth.Store, name string, r pleoauth.Record) pleoauth.Snapshot {
	t.Helper()
	old, err := store.Read(t.Context(), name)
	require.NoError(t, err)
	snapshot, err := store.Swap(t.Context(), name, old, r, pleoauth.SwapOptions{})
	require.NoError(t, err)
	return snapshot
}

var connected = pleoauth.Record{State: pleoauth.StateConnected, Version: "v1", Sealed: []byte("sealed")}

func TestWrongPasswordIsAnErrorThatDoesNotRepeatIt(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, "redis://pleo:s3cr3t@"+server.Addr()))
	err := store.Ping(t.Context())
	require.ErrorContains(t, err, "WRONGPASS")
	require.NotContains(t, err.Error(), "s3cr3t")
}

func TestUnixSocketAndAnotherDatabaseWork(t *testing.T) {
	dir := t.TempDir()
	server := redistest.Start(t, redistest.WithConfig("unixsocket "+dir+"/redis.sock"), redistest.WithRules("+select"))
	store := open(t, options(t, "unix://"+redistest.User+":"+redistest.Password+"@"+dir+"/redis.sock?db=2"))
	put(t, store, "acme", connected)
	require.Empty(t, server.Dump(t), "database 0 is not used")
}

func TestMakingAStoreAsksNoServer(t *testing.T) {
	store := open(t, options(t, "redis://127.0.0.1:1"))
	require.NoError(t, store.Close())
}

func TestRestartedServerIsAnotherRunAndRefusesWhatWasReadBefore(t *testing.T) {
	server := redistest.Start(t, redistest.WithAppendOnly())
	store := open(t, options(t, server.URL()))
	old := put(t, store, "acme", connected)
	require.NoError(t, server.Restart())
	now, err := store.Read(t.Context(), "acme")
	require.NoError(t, err, "a restart breaks no later command")
	require.Equal(t, old.Revision, now.Revision)
	require.NotEqual(t, old.Run, now.Run)
	_, err = store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{})
	require.ErrorIs(t, err, pleoauth.ErrConflict)
	_, err = store.Swap(t.Context(), "acme", now, connected, pleoauth.SwapOptions{})
	require.NoError(t, err)
}

func TestFlushedScriptsAreSentAgain(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	old := put(t, store, "acme", connected)
	for range 2 {
		require.NoError(t, server.Client(t).ScriptFlush(t.Context()).Err())
		next, err := store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{})
		require.NoError(t, err)
		require.NoError(t, server.Client(t).ScriptFlush(t.Context()).Err())
		got, err := store.Read(t.Context(), "acme")
		require.NoError(t, err)
		require.Equal(t, next.Revision, got.Revision)
		old = got
	}
}

func TestReplicaIsNeitherReadNorWritten(t *testing.T) {
	master := redistest.Start(t)
	_, port, _ := strings.Cut(master.Addr(), ":")
	replica := redistest.Start(t, redistest.WithConfig("replicaof 127.0.0.1 "+port))
	store := open(t, options(t, replica.URL()))
	_, err := store.Read(t.Context(), "acme")
	require.ErrorContains(t, err, "READONLY")
	old, err := open(t, options(t, master.URL())).Read(t.Context(), "acme")
	require.NoError(t, err)
	_, err = store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{})
	require.Error(t, err)
}
