package test

import (
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

func recordOfDefault(t *testing.T, c *redis.Client) (key string) {
	t.Helper()
	keys, err := c.Keys(t.Context(), ofDefault).Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	return keys[0]
}

func TestAProcessThatEndsPutsBackTheGrantThatRedisHasLost(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, *redis.Client, *proxy){
		"its record is deleted": func(t *testing.T, c *redis.Client, _ *proxy) {
			t.Helper()
			require.NoError(t, c.Del(t.Context(), recordOfDefault(t, c)).Err())
		},
		"Redis is emptied": func(t *testing.T, c *redis.Client, _ *proxy) {
			t.Helper()
			require.NoError(t, c.FlushAll(t.Context()).Err())
		},
		"an older record is written back": func(t *testing.T, c *redis.Client, p *proxy) {
			t.Helper()
			writeBack := copiers["DUMP and RESTORE"](t, c, recordOfDefault(t, c))
			p.refresh(t, "default")
			writeBack(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, r := startPleo(t), redistest.Start(t)
			p := startProxy(t, e, onRedis(r))
			e.authorise(t, p, "default", company(0))
			p.employees(t)
			spoil(t, r.Client(t), p)
			p.stop(t, syscall.SIGTERM)
			recordOfDefault(t, r.Client(t))
			p.restart(t)
			p.employees(t)
			require.Zero(t, e.Counters().DeadRefreshes)
		})
	}
}
