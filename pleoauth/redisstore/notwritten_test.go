package redisstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// changed is another record than connected.
var changed = pleoauth.Record{State: pleoauth.StateConnected, Version: "v2", Sealed: []byte("other")}

// revision returns the revision that a server has of a connection's record.
func revision(t *testing.T, server *redistest.Server, name string) string {
	t.Helper()
	client := server.Client(t)
	keys, err := client.Keys(t.Context(), "*:record:"+name).Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	return client.HGet(t.Context(), keys[0], "rev").Val()
}

// requireNotWritten requires that a swap fails with a text, and proves that
// nothing was written.
func requireNotWritten(t *testing.T, store pleoauth.Store, old pleoauth.Snapshot, text string) {
	t.Helper()
	_, err := store.Swap(t.Context(), "acme", old, changed, pleoauth.SwapOptions{ReplicaWait: time.Second})
	require.ErrorIs(t, err, pleoauth.ErrNotWritten)
	require.ErrorContains(t, err, text)
	require.NotErrorIs(t, err, pleoauth.ErrNotReplicated)
}

// blockedSnapshots are the lines of redis.conf of a server whose snapshots fail:
// there is a directory where it wants to write them.
var blockedSnapshots = redistest.WithConfig("save 3600 1", "dbfilename blocked")

// failSnapshot lets a snapshot fail, so that the server refuses writes.
func failSnapshot(t *testing.T, server *redistest.Server) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(server.Dir(), "blocked", "x"), 0o700))
	client := server.Client(t)
	require.NoError(t, client.BgSave(t.Context()).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
	}, patience, 10*time.Millisecond)
}

// set changes an option of the server.
func set(t *testing.T, server *redistest.Server, option, value string) {
	t.Helper()
	require.NoError(t, server.Client(t).ConfigSet(t.Context(), option, value).Err())
}

// keepBusy runs a script that does not end by itself, until the test ends.
func keepBusy(t *testing.T, server *redistest.Server) {
	t.Helper()
	set(t, server, "busy-reply-threshold", "1")
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2, ReadTimeout: -1, MaxRetries: -1})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = client.Eval(context.WithoutCancel(t.Context()), "while true do end", nil).Err()
	}()
	other := server.Client(t)
	t.Cleanup(func() {
		_ = other.ScriptKill(context.Background()).Err()
		<-ended
		_ = client.Close()
	})
	require.Eventually(t, func() bool {
		return redis.HasErrorPrefix(other.Ping(t.Context()).Err(), "BUSY")
	}, patience, 10*time.Millisecond)
}

// refusing are the states of a server in which it refuses every write, and what
// undoes them.
var refusing = map[string]struct {
	begin, end func(*testing.T, *redistest.Server)
}{
	"MISCONF": {failSnapshot, func(t *testing.T, s *redistest.Server) { set(t, s, "stop-writes-on-bgsave-error", "no") }},
	"NOREPLICAS": {
		func(t *testing.T, s *redistest.Server) { set(t, s, "min-replicas-to-write", "1") },
		func(t *testing.T, s *redistest.Server) { set(t, s, "min-replicas-to-write", "0") },
	},
	"BUSY": {keepBusy, func(t *testing.T, s *redistest.Server) {
		require.NoError(t, s.Client(t).ScriptKill(t.Context()).Err())
		require.Eventually(t, func() bool { return s.Client(t).Ping(t.Context()).Err() == nil }, 10*time.Second, time.Millisecond, "the script ends")
	}},
}

func TestSwapThatAServerRefusesBeforeItsFirstWriteProvesIt(t *testing.T) {
	single := redistest.Start(t, blockedSnapshots)
	cluster := redistest.StartCluster(t, 1, blockedSnapshots)
	for topology, c := range map[string]struct {
		server  *redistest.Server
		options redisstore.Options
	}{
		"single":  {single, options(t, single.URL())},
		"Cluster": {cluster.Nodes[0], clusterOptions(cluster)},
	} {
		for code, state := range refusing {
			t.Run(topology+" "+code, func(t *testing.T) {
				store := open(t, c.options)
				old := put(t, store, "acme", connected)
				state.begin(t, c.server)
				requireNotWritten(t, store, old, code)
				state.end(t, c.server)
				require.Equal(t, old.Revision, revision(t, c.server, "acme"))
				_, err := store.Swap(t.Context(), "acme", old, changed, pleoauth.SwapOptions{})
				require.NoError(t, err, "once the server takes writes again")
			})
		}
	}
}

func TestSwapThatAReplicaRefusesProvesIt(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	old := put(t, store, "acme", connected)
	client := server.Client(t)
	require.NoError(t, client.ReplicaOf(t.Context(), "127.0.0.1", "1").Err())
	requireNotWritten(t, store, old, "READONLY")
	require.Equal(t, old.Revision, revision(t, server, "acme"))
	set(t, server, "replica-serve-stale-data", "no")
	requireNotWritten(t, store, old, "MASTERDOWN")
	set(t, server, "replica-serve-stale-data", "yes")
	require.Equal(t, old.Revision, revision(t, server, "acme"))
}

func TestSwapThatAClusterDoesNotServeProvesIt(t *testing.T) {
	c := redistest.StartCluster(t, 1)
	store := open(t, clusterOptions(c))
	old := put(t, store, "acme", connected)
	client := c.Nodes[0].Client(t)
	// A slot without an owner: a Cluster serves nothing then. It is not acme's.
	slot := client.ClusterKeySlot(t.Context(), client.Keys(t.Context(), "*:record:acme").Val()[0]).Val()
	require.NoError(t, client.ClusterDelSlots(t.Context(), int(slot+1)%16384).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(client.ClusterInfo(t.Context()).Val(), "cluster_state:fail")
	}, patience, 10*time.Millisecond)
	requireNotWritten(t, store, old, "CLUSTERDOWN")
}

func TestSwapOfASlotThatIsBeingMovedProvesThatNothingWasWritten(t *testing.T) {
	c := redistest.StartCluster(t, 2)
	store := open(t, clusterOptions(c))
	old := put(t, store, "acme", connected)
	from, err := c.Owner(t.Context(), "*:record:acme")
	require.NoError(t, err)
	source, target := c.Nodes[from].Client(t), c.Nodes[1-from].Client(t)
	slot := source.ClusterKeySlot(t.Context(), source.Keys(t.Context(), "*:record:acme").Val()[0]).Val()
	id := func(client *redis.Client) string {
		id, err := client.Do(t.Context(), "cluster", "myid").Text()
		require.NoError(t, err)
		return id
	}
	require.NoError(t, target.Do(t.Context(), "cluster", "setslot", slot, "importing", id(source)).Err())
	require.NoError(t, source.Do(t.Context(), "cluster", "setslot", slot, "migrating", id(target)).Err())
	requireNotWritten(t, store, old, "TRYAGAIN") // the lock of acme is not there
	require.NoError(t, source.Do(t.Context(), "cluster", "setslot", slot, "stable").Err())
	require.Equal(t, old.Revision, revision(t, c.Nodes[from], "acme"))
}

// The first write of a swap removes the old record, which Redis never refuses
// for want of memory, and after it Redis refuses nothing more.
func TestSwapIsMadeThoughTheMemoryOfRedisIsFull(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	old := put(t, store, "acme", connected)
	set(t, server, "maxmemory", "1")
	_, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
	require.ErrorContains(t, err, "OOM")
	made, err := store.Swap(t.Context(), "acme", old, changed, pleoauth.SwapOptions{})
	require.NoError(t, err)
	require.Equal(t, made.Revision, revision(t, server, "acme"))
}

func TestSwapThatNeverLeftTheProcessProvesIt(t *testing.T) {
	for name, start := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			top := start(t)
			store := open(t, top.options)
			old := put(t, store, "acme", connected)

			ended, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := store.Swap(ended, "acme", old, changed, pleoauth.SwapOptions{})
			require.ErrorIs(t, err, pleoauth.ErrNotWritten)
			require.ErrorIs(t, err, context.Canceled)

			wrong := top.options
			wrong.Password = "wrong"
			_, err = open(t, wrong).Swap(t.Context(), "acme", old, changed, pleoauth.SwapOptions{})
			require.ErrorIs(t, err, pleoauth.ErrNotWritten)

			for _, server := range top.servers {
				server.Kill()
			}
			// The first exchange may still find the connection of before, on which
			// the command can have been carried out.
			require.Eventually(t, func() bool {
				_, err = store.Swap(t.Context(), "acme", old, changed, pleoauth.SwapOptions{})
				return errors.Is(err, syscall.ECONNREFUSED)
			}, patience, 10*time.Millisecond)
			require.ErrorIs(t, err, pleoauth.ErrNotWritten)
			_, err = store.Read(t.Context(), "acme")
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
			_, err = store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
			require.ErrorIs(t, err, syscall.ECONNREFUSED)
		})
	}
}

func TestSwapThatMayHaveBeenCarriedOutProvesNothing(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	old := put(t, store, "acme", connected)
	require.NoError(t, server.Pause())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := store.Swap(ctx, "acme", old, changed, pleoauth.SwapOptions{})
	require.Error(t, err)
	require.NotErrorIs(t, err, pleoauth.ErrNotWritten)
	require.NoError(t, server.Continue())
	require.Eventually(t, func() bool { return revision(t, server, "acme") != old.Revision }, patience, 10*time.Millisecond,
		"it is carried out once the server goes on")
}

// A script that fails at its second write has made its first: Redis undoes nothing.
func TestSwapThatFailsAtItsSecondWriteProvesNothing(t *testing.T) {
	for name, hinder := range map[string]func(t *testing.T, client *redis.Client){
		"the index is of another type": func(t *testing.T, client *redis.Client) {
			record := client.Keys(t.Context(), "*:record:acme").Val()[0]
			index := strings.TrimSuffix(record, "record:acme") + "index"
			require.NoError(t, client.Set(t.Context(), index, "x", 0).Err())
		},
		"a right is missing": func(t *testing.T, client *redis.Client) {
			require.NoError(t, client.Do(t.Context(), "acl", "setuser", redistest.User, "-zadd", "-zrem").Err())
			t.Cleanup(func() {
				require.NoError(t, client.Do(context.Background(), "acl", "log", "reset").Err(), "the refusal is wanted")
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			store := open(t, options(t, server.URL()))
			old := put(t, store, "acme", connected)
			client := server.Client(t)
			hinder(t, client)
			_, err := store.Swap(t.Context(), "acme", old, changed, pleoauth.SwapOptions{})
			require.Error(t, err)
			require.NotErrorIs(t, err, pleoauth.ErrNotWritten)
			require.NotEqual(t, old.Revision, revision(t, server, "acme"))
		})
	}
}

func TestServerThatAsksForAPasswordHasWrittenNothing(t *testing.T) {
	server := redistest.Start(t)
	o := options(t, "redis://"+server.Addr())
	old := put(t, open(t, o), "acme", connected)
	client := server.Client(t)
	require.NoError(t, client.ConfigSet(t.Context(), "requirepass", "secret").Err())
	requireNotWritten(t, open(t, o), old, "unauthenticated")
	require.NoError(t, client.ConfigSet(t.Context(), "requirepass", "").Err())
	require.Equal(t, old.Revision, revision(t, server, "acme"))
}
