package redisstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/storetest"
)

func sentinelOptions(s *redistest.Sentinel) redisstore.Options {
	return redisstore.Options{
		Addresses: s.Addrs(), MasterName: redistest.MasterName, CommandTimeout: 10 * time.Second,
		Username: redistest.User, Password: redistest.Password,
		SentinelUsername: redistest.User, SentinelPassword: redistest.Password,
	}
}

func clusterOptions(c *redistest.Cluster) redisstore.Options {
	return redisstore.Options{
		Addresses: c.Addrs()[:1], Cluster: true, CommandTimeout: 10 * time.Second,
		Username: redistest.User, Password: redistest.Password,
	}
}

func TestSentinelConforms(t *testing.T) {
	s := redistest.StartSentinel(t)
	storetest.Run(t, opener(sentinelOptions(s)), storetest.Features{SharedNotices: true})
}

func TestFailoverIsAnotherRunAndLosesTheSubscription(t *testing.T) {
	s := redistest.StartSentinel(t)
	o := sentinelOptions(s)
	o.CommandTimeout = time.Second
	store := open(t, o)
	in := listen(store)
	require.NoError(t, store.Watch(t.Context(), "acme"))
	old := put(t, store, "acme", connected)
	require.EqualValues(t, 1, s.Master.Client(t).Wait(t.Context(), 1, 5*time.Second).Val())
	require.Eventually(t, func() bool { return strings.Contains(s.Replica.Dump(t), old.Revision) }, patience, 10*time.Millisecond)
	s.Master.Kill()

	var now pleoauth.Snapshot
	require.Eventually(t, func() (ok bool) {
		var err error
		now, err = store.Read(t.Context(), "acme")
		return err == nil
	}, patience, 50*time.Millisecond)
	require.Equal(t, old.Revision, now.Revision)
	require.NotEqual(t, old.Run, now.Run)
	_, err := store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{})
	require.ErrorIs(t, err, pleoauth.ErrConflict)
	_, err = store.Swap(t.Context(), "acme", now, connected, pleoauth.SwapOptions{})
	require.NoError(t, err)

	watchAgain(t, store, "acme")
	require.NoError(t, store.Publish(t.Context(), gate("acme")))
	require.Eventually(t, func() bool { return in.count(pleoauth.NoticeGate) == 1 }, patience, 10*time.Millisecond)
	require.Equal(t, 1, in.count(pleoauth.NoticeLost))
}

func TestClusterConforms(t *testing.T) {
	c := redistest.StartCluster(t, 3)
	storetest.Run(t, opener(clusterOptions(c)), storetest.Features{SharedNotices: true})
}

func TestSlotsThatMoveAreFollowed(t *testing.T) {
	c := redistest.StartCluster(t, 3)
	store := open(t, clusterOptions(c))
	put(t, store, "acme", connected)
	// While the client still has the old map, all empty slots of the first node
	// go to the second: as a Cluster that is rebalanced.
	require.NoError(t, c.MoveEmptySlots(t.Context(), 0, 1))
	for name := range strings.FieldsSeq("a b c d e f g h i j k l m n o p q r s t u v w x y z") {
		put(t, store, name, connected)
		_, err := store.Lock(t.Context(), name, pleoauth.LockOptions{Life: time.Minute})
		require.NoError(t, err)
	}
	names, _, err := store.List(t.Context(), "", 100)
	require.NoError(t, err)
	require.Len(t, names, 27)
}

func TestClusterNodeThatIsAwayIsTheOnlyOneMissed(t *testing.T) {
	c := redistest.StartCluster(t, 3, redistest.WithConfig("cluster-require-full-coverage no"))
	o := clusterOptions(c)
	o.Addresses, o.CommandTimeout = c.Addrs(), time.Second
	store := open(t, o)
	in := listen(store)
	require.NoError(t, store.Watch(t.Context(), "acme"))
	c.Nodes[0].Kill()
	names := strings.Fields("a b c d e f g h i j k l m n o p q r s t u v w x y z")
	require.Eventually(t, func() bool {
		ok := 0
		for _, name := range names {
			if _, err := store.Read(t.Context(), name); err == nil {
				ok++
			}
		}
		return ok > len(names)/3 && ok < len(names)
	}, patience, 50*time.Millisecond, "two thirds are answered")
	require.NoError(t, c.Nodes[0].Restart())
	require.Eventually(t, func() bool {
		for _, name := range names {
			if _, err := store.Read(t.Context(), name); err != nil {
				return false
			}
		}
		return true
	}, patience, 50*time.Millisecond)
	watchAgain(t, store, "acme")
	require.LessOrEqual(t, in.count(pleoauth.NoticeLost), 1)
}
