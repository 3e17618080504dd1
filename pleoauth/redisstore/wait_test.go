package redisstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// A swap may wait longer for replicas than for one exchange with the server.
func TestWaitForReplicasIsNotCutShortByTheCommandTimeout(t *testing.T) {
	master := redistest.Start(t)
	replica := master.StartReplica(t)
	o := options(t, master.URL())
	o.CommandTimeout = redisstore.DefaultCommandTimeout
	store := open(t, o)
	_, err := swapWaiting(t, store, "acme", patience)
	require.NoError(t, err)
	require.NoError(t, replica.Pause())
	defer func() { _ = replica.Continue() }()
	begun := time.Now()
	_, err = swapWaiting(t, store, "acme", 3*time.Second) // nobody confirms
	require.Error(t, err)
	require.GreaterOrEqual(t, time.Since(begun), 2500*time.Millisecond, "%v", err)
}
