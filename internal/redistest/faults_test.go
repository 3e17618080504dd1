package redistest

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestServerThatRestartsEmptyHasNothingLeft(t *testing.T) {
	s := Start(t, WithAppendOnly())
	require.NoError(t, s.Client(t).Set(t.Context(), "key", "value", 0).Err())
	addr := s.Addr()
	require.NoError(t, s.RestartEmpty())
	require.Equal(t, addr, s.Addr())
	require.Empty(t, s.Dump(t))
}

func TestDetachedReplicaIsPromotedWithoutTheLastWrites(t *testing.T) {
	s := StartSentinel(t)
	client := s.Master.Client(t)
	require.NoError(t, client.Set(t.Context(), "kept", "value", 0).Err())
	require.EqualValues(t, 1, client.Wait(t.Context(), 1, 5*time.Second).Val())
	require.NoError(t, s.Detach(t.Context()))
	require.NoError(t, client.Set(t.Context(), "lost", "value", 0).Err())
	s.Master.Kill()
	require.NoError(t, s.Promoted(t.Context()))
	require.Equal(t, "kept string forever value", s.Replica.Dump(t))
}

func TestSlotsMoveWithTheirKeysAndAReplicaTakesThemOver(t *testing.T) {
	c := StartCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), Protocol: 2})
	defer client.Close()
	require.NoError(t, client.Set(t.Context(), "{a}key", "value", 0).Err())
	from, err := c.Owner(t.Context(), "{a}*")
	require.NoError(t, err)
	to := (from + 1) % 3
	require.NoError(t, c.MoveSlots(t.Context(), from, to))
	now, err := c.Owner(t.Context(), "{a}*")
	require.NoError(t, err)
	require.Equal(t, to, now)
	require.Equal(t, "value", client.Get(t.Context(), "{a}key").Val())

	replica := c.AddReplica(t, to)
	require.NoError(t, c.FailOver(t.Context(), to, replica))
	require.Equal(t, "value", replica.Client(t).Get(t.Context(), "{a}key").Val())
}
