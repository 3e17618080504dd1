package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// requireAlone makes a swap that waits for replicas, and one that does not.
func requireAlone(t *testing.T, alone bool, store pleoauth.Store, name string) {
	t.Helper()
	made, err := swapWaiting(t, store, name, patience)
	require.NoError(t, err)
	require.Equal(t, alone, made.Alone)
	require.False(t, put(t, store, name, connected).Alone, "a swap that does not wait asks for no replica")
}

// awaitNoReplica waits until the server has noticed that its replica is gone.
func awaitNoReplica(t *testing.T, server *redistest.Server) {
	t.Helper()
	client := server.Client(t)
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "connected_slaves:0")
	}, patience, 10*time.Millisecond)
}

func TestServerWhoseLastReplicaIsGoneIsAlone(t *testing.T) {
	master := redistest.Start(t, redistest.WithConfig("repl-backlog-ttl 1"))
	store := open(t, options(t, master.URL()))
	requireAlone(t, false, store, "acme")
	replica := master.StartReplica(t)
	requireAlone(t, false, store, "acme")
	replica.Kill()
	awaitNoReplica(t, master)
	requireAlone(t, true, store, "acme")
	for _, wanted := range []*int{new(0), new(1)} {
		o := options(t, master.URL())
		o.WaitReplicas = wanted
		made, err := swapWaiting(t, open(t, o), "acme", 50*time.Millisecond)
		if *wanted == 1 {
			require.ErrorIs(t, err, pleoauth.ErrNotReplicated)
		} else {
			require.NoError(t, err)
		}
		require.False(t, made.Alone, "the operator has said how many replicas are needed")
	}

	client := master.Client(t)
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "repl_backlog_active:0")
	}, patience, 50*time.Millisecond)
	requireAlone(t, true, store, "acme")
	requireAlone(t, false, open(t, options(t, master.URL())), "acme")
	master.StartReplica(t)
	requireAlone(t, false, store, "acme")
}

func TestProcessThatStartsAfterTheReplicaWentKnowsThatThereWasOne(t *testing.T) {
	master := redistest.Start(t)
	master.StartReplica(t).Kill()
	awaitNoReplica(t, master)
	requireAlone(t, true, open(t, options(t, master.URL())), "acme")
}

func TestReplicaThatIsConnectedAndDoesNotConfirmLeavesNoServerAlone(t *testing.T) {
	master := redistest.Start(t)
	replica := master.StartReplica(t)
	store := open(t, options(t, master.URL()))
	requireAlone(t, false, store, "acme")
	require.NoError(t, replica.Pause())
	made, err := swapWaiting(t, store, "acme", 100*time.Millisecond)
	require.ErrorIs(t, err, pleoauth.ErrNotReplicated)
	require.NotErrorIs(t, err, pleoauth.ErrNotWritten)
	require.False(t, made.Alone)
}

func TestMasterBehindSentinelWithoutReplicasIsAlone(t *testing.T) {
	s := redistest.StartSentinel(t, redistest.WithConfig("repl-backlog-ttl 1"))
	store := open(t, sentinelOptions(s))
	requireAlone(t, false, store, "acme")
	s.Replica.Kill()
	awaitNoReplica(t, s.Master)
	requireAlone(t, true, store, "acme")
	client := s.Master.Client(t)
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "repl_backlog_active:0")
	}, patience, 50*time.Millisecond)
	requireAlone(t, true, open(t, sentinelOptions(s)), "acme")
	require.NoError(t, s.Replica.Restart())
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "state=online")
	}, patience, 10*time.Millisecond)
	requireAlone(t, false, store, "acme")
}

func TestEachMasterOfAClusterIsAloneForItself(t *testing.T) {
	c := redistest.StartCluster(t, 3)
	replica := c.StartReplica(t, 0)
	store := open(t, clusterOptions(c))
	names := strings.Fields("a b c d e f g h i j k l m n o p")
	for _, name := range names {
		requireAlone(t, false, store, name)
	}
	replica.Kill()
	awaitNoReplica(t, c.Nodes[0])
	onFirst := 0
	for _, name := range names {
		first := strings.Contains(c.Nodes[0].Dump(t), ":record:"+name+" ")
		requireAlone(t, first, store, name)
		if first {
			onFirst++
		}
	}
	require.Positive(t, onFirst)
	require.Less(t, onFirst, len(names))
}
