package redisstore_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// swapWaiting swaps the record as it is for itself, waiting for replicas.
func swapWaiting(t testing.TB, store pleoauth.Store, name string, wait time.Duration) (pleoauth.Snapshot, error) {
	t.Helper()
	old, err := store.Read(t.Context(), name)
	require.NoError(t, err)
	return store.Swap(t.Context(), name, old, connected, pleoauth.SwapOptions{ReplicaWait: wait})
}

func TestSwapThatNoReplicaConfirmsWasMadeAndSaysSo(t *testing.T) {
	// Nothing but the test's writes moves the master's offset.
	master := redistest.Start(t, redistest.WithConfig("repl-ping-replica-period 3600"))
	replica := master.StartReplica(t)
	store := open(t, options(t, master.URL()))
	_, err := swapWaiting(t, store, "acme", patience)
	require.NoError(t, err)

	other := master.Client(t)
	require.Eventually(t, func() bool {
		info := other.Info(t.Context(), "replication").Val()
		offset := regexp.MustCompile(`master_repl_offset:(\d+)`).FindStringSubmatch(info)
		return offset != nil && strings.Contains(info, "state=online,offset="+offset[1]+",")
	}, patience, 50*time.Millisecond, "the replica is in step, and the last command of this connection is older than the swap")
	require.NoError(t, replica.Pause())
	begun := time.Now()
	made, err := swapWaiting(t, store, "acme", 300*time.Millisecond)
	require.ErrorIs(t, err, pleoauth.ErrNotReplicated)
	require.GreaterOrEqual(t, time.Since(begun), 300*time.Millisecond)
	require.Equal(t, connected.Version, made.Version)
	require.NotEmpty(t, made.Run)
	now, err := store.Read(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, made.Revision, now.Revision)
	require.EqualValues(t, 1, other.Wait(t.Context(), 1, time.Second).Val(), "another connection's WAIT sees nothing of it")

	begun = time.Now()
	_, err = store.Swap(t.Context(), "acme", now, connected, pleoauth.SwapOptions{})
	require.NoError(t, err, "only who asks for it waits")
	_, err = store.Swap(t.Context(), "acme", now, connected, pleoauth.SwapOptions{ReplicaWait: 2 * patience})
	require.ErrorIs(t, err, pleoauth.ErrConflict)
	require.Less(t, time.Since(begun), patience, "what was refused waits for nothing")

	require.NoError(t, replica.Continue())
	_, err = swapWaiting(t, store, "acme", patience)
	require.NoError(t, err)
}

func TestWaitForReplicasEndsWithItsContext(t *testing.T) {
	master := redistest.Start(t)
	replica := master.StartReplica(t)
	store := open(t, options(t, master.URL()))
	old := put(t, store, "acme", connected)
	require.NoError(t, replica.Pause())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	made, err := store.Swap(ctx, "acme", old, connected, pleoauth.SwapOptions{ReplicaWait: time.Hour})
	require.ErrorIs(t, err, pleoauth.ErrNotReplicated)
	require.NotEmpty(t, made.Revision)
}

func TestWaitReplicasSaysForHowMany(t *testing.T) {
	alone := redistest.Start(t)
	one := redistest.Start(t)
	one.StartReplica(t)
	for name, c := range map[string]struct {
		server     *redistest.Server
		wait       *int
		replicated bool
	}{
		"no replica, default":  {alone, nil, true},
		"no replica, none":     {alone, new(0), true},
		"no replica, one":      {alone, new(1), false},
		"one replica, default": {one, nil, true},
		"one replica, none":    {one, new(0), true},
		"one replica, one":     {one, new(1), true},
		"one replica, two":     {one, new(2), false},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, c.server.URL())
			o.WaitReplicas = c.wait
			store := open(t, o)
			wait := patience
			if !c.replicated {
				wait = 100 * time.Millisecond
			}
			_, err := swapWaiting(t, store, "acme", wait)
			require.Equal(t, !c.replicated, errors.Is(err, pleoauth.ErrNotReplicated), "%v", err)
		})
	}
}

func TestWaitForReplicasFollowsTheWriteWhenTheScriptIsSentAgain(t *testing.T) {
	master := redistest.Start(t)
	replica := master.StartReplica(t)
	store := open(t, options(t, master.URL()))
	old := put(t, store, "acme", connected)
	require.NoError(t, replica.Pause())
	client := master.Client(t)
	require.NoError(t, client.ScriptFlush(t.Context()).Err())
	require.NoError(t, client.ConfigResetStat(t.Context()).Err())
	_, err := store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{ReplicaWait: 200 * time.Millisecond})
	require.ErrorIs(t, err, pleoauth.ErrNotReplicated)
	require.Equal(t, "1", calls(t, master, "eval"))
	require.Equal(t, "1", calls(t, master, "hset"), "the record was written once")
	require.Equal(t, "1", calls(t, master, "wait"))
}

func TestClusterWaitsForTheReplicasOfTheNodeThatWasWritten(t *testing.T) {
	c := redistest.StartCluster(t, 3)
	replica := c.StartReplica(t, 0)
	store := open(t, clusterOptions(c))
	names := strings.Fields("a b c d e f g h i j k l m n o p")
	for _, name := range names {
		_, err := swapWaiting(t, store, name, patience)
		require.NoError(t, err)
	}
	require.NoError(t, replica.Pause())
	onFirst, elsewhere := 0, 0
	for _, name := range names {
		_, err := swapWaiting(t, store, name, 100*time.Millisecond)
		if strings.Contains(c.Nodes[0].Dump(t), ":record:"+name+" ") {
			onFirst++
			require.ErrorIs(t, err, pleoauth.ErrNotReplicated)
		} else {
			elsewhere++
			require.NoError(t, err)
		}
	}
	require.Positive(t, onFirst)
	require.Positive(t, elsewhere)
}
