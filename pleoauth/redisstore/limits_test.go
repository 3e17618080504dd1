package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// scheduling is what a busy machine may add to a limit. The driver's own
// limits, which must not show, are five seconds and more.
const scheduling = 3 * time.Second

// topology is a way to run Redis: its options, and all of its servers.
type topology struct {
	options redisstore.Options
	servers []*redistest.Server
}

var topologies = map[string]func(t *testing.T) topology{
	"single": func(t *testing.T) topology {
		server := redistest.Start(t)
		return topology{options(t, server.URL()), []*redistest.Server{server}}
	},
	"TLS": func(t *testing.T) topology {
		ca := redistest.NewCA(t)
		server := redistest.Start(t, redistest.WithTLS(t, ca, false, "127.0.0.1"))
		o := options(t, server.TLSURL())
		o.TLS.RootCAs = ca.Pool()
		return topology{o, []*redistest.Server{server}}
	},
	"Sentinel": func(t *testing.T) topology {
		s := redistest.StartSentinel(t)
		return topology{sentinelOptions(s), append(s.Sentinels, s.Replica, s.Master)}
	},
	"Cluster": func(t *testing.T) topology {
		c := redistest.StartCluster(t, 3)
		return topology{clusterOptions(c), c.Nodes}
	},
}

// storeCalls returns every call that asks the server.
func storeCalls(t *testing.T, store *redisstore.Store) map[string]func(context.Context) error {
	old := put(t, store, "acme", connected)
	lock, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
	require.NoError(t, err)
	swap := func(ctx context.Context, o pleoauth.SwapOptions) error {
		_, err := store.Swap(ctx, "acme", old, connected, o)
		return err
	}
	return map[string]func(context.Context) error{
		"read": func(ctx context.Context) error { _, err := store.Read(ctx, "acme"); return err },
		"swap": func(ctx context.Context) error { return swap(ctx, pleoauth.SwapOptions{}) },
		// Its wait comes only after an answer.
		"swap with a wait": func(ctx context.Context) error { return swap(ctx, pleoauth.SwapOptions{ReplicaWait: time.Hour}) },
		"lock": func(ctx context.Context) error {
			_, err := store.Lock(ctx, "other", pleoauth.LockOptions{Life: time.Minute})
			return err
		},
		"renew":   func(ctx context.Context) error { return lock.Renew(ctx, time.Minute) },
		"release": func(ctx context.Context) error { return lock.Release(ctx) },
		"watch":   func(ctx context.Context) error { return store.Watch(ctx, "other") },
		"publish": func(ctx context.Context) error {
			return store.Publish(ctx, pleoauth.Notice{Kind: pleoauth.NoticeGate, Connection: "acme"})
		},
		"put flow":   func(ctx context.Context) error { return store.PutFlow(ctx, "id", nil, time.Minute) },
		"flow":       func(ctx context.Context) error { _, err := store.Flow(ctx, "id"); return err },
		"take flow":  func(ctx context.Context) error { _, err := store.TakeFlow(ctx, "id"); return err },
		"list":       func(ctx context.Context) error { _, _, err := store.List(ctx, "", 10); return err },
		"due":        func(ctx context.Context) error { _, err := store.Due(ctx, 10); return err },
		"durability": func(ctx context.Context) error { _, err := store.CheckDurability(ctx, 15*time.Second); return err },
		"ping":       store.Ping,
	}
}

func TestHungServersHoldNobodyLongerThanTheLimits(t *testing.T) {
	for name, start := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			top := start(t)
			top.options.CommandTimeout = 300 * time.Millisecond
			store := open(t, top.options)
			store.Listen(func(pleoauth.Notice) {})
			// A busy machine may take longer than that for the first answers.
			require.Eventually(t, func() bool { return store.Watch(t.Context(), "watched") == nil }, patience, 10*time.Millisecond)
			require.Eventually(t, func() bool { _, err := store.Read(t.Context(), "acme"); return err == nil }, patience, 10*time.Millisecond)
			calls := storeCalls(t, store)
			for _, server := range top.servers {
				require.NoError(t, server.Pause())
			}
			for name, call := range calls {
				begun := time.Now()
				require.Error(t, call(t.Context()), name)
				require.Less(t, time.Since(begun), top.options.CommandTimeout+scheduling, name)
				if name == "release" {
					continue // heeds its own limit alone
				}
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				begun = time.Now()
				require.Error(t, call(ctx), name)
				require.Less(t, time.Since(begun), 50*time.Millisecond+scheduling, name)
				cancel()
			}
			begun := time.Now()
			require.NoError(t, store.Close())
			require.Less(t, time.Since(begun), top.options.CommandTimeout+scheduling)
		})
	}
}

func TestRefusedConnectionsFailAtOnce(t *testing.T) {
	for name, start := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			top := start(t)
			top.options.CommandTimeout = time.Minute
			store := open(t, top.options)
			store.Listen(func(pleoauth.Notice) {})
			calls := storeCalls(t, store)
			for _, server := range top.servers {
				server.Kill()
			}
			// The driver's own retries and pauses would make it 1.75s for each.
			begun := time.Now()
			for name, call := range calls {
				require.Error(t, call(t.Context()), name)
			}
			require.Less(t, time.Since(begun)/time.Duration(len(calls)), 500*time.Millisecond)
		})
	}
}
