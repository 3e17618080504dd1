package redistest

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestClusterServesAllSlots(t *testing.T) {
	c := StartCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Protocol: 2})
	defer client.Close()
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		require.NoError(t, client.Set(t.Context(), key, "value", 0).Err())
	}
}

func TestSentinelsReplaceADeadMaster(t *testing.T) {
	s := StartSentinel(t)
	client := redis.NewFailoverClient(&redis.FailoverOptions{SentinelAddrs: s.Addrs(), MasterName: MasterName, Protocol: 2})
	defer client.Close()
	require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())
	s.Master.Kill()
	require.Eventually(t, func() bool {
		return client.Set(t.Context(), "key", "value", 0).Err() == nil
	}, 30*time.Second, 100*time.Millisecond)
}
