package redisstore_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestOnlyLocksTheirQueueAndFlowsHaveATimeToLive(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	r := connected
	r.Due = time.UnixMilli(1790000000123)
	put(t, store, "acme", r)
	_, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
	require.NoError(t, err)
	_, err = store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute, Next: time.Minute})
	require.ErrorIs(t, err, pleoauth.ErrLocked)
	require.NoError(t, store.PutFlow(t.Context(), "state", []byte("data"), time.Minute))

	shape := regexp.MustCompile(`^pleo:\{[0-9a-f]{2}\}:[0-9a-f]{8}:(record:acme|lock:acme|next:acme|index|names|flow:state) (hash|string|zset) (\S+) `)
	kinds := map[string]string{}
	for line := range strings.Lines(server.Dump(t)) {
		parts := shape.FindStringSubmatch(line)
		require.NotNil(t, parts, line)
		kinds[parts[1]] = parts[2] + " " + parts[3]
	}
	require.Equal(t, "hash forever", kinds["record:acme"])
	require.Equal(t, "zset forever", kinds["index"])
	require.Equal(t, "zset forever", kinds["names"])
	require.Regexp(t, `^string (1m0s|59\.\d+s)$`, kinds["lock:acme"])
	require.Regexp(t, `^string (1m0s|59\.\d+s)$`, kinds["next:acme"])
	require.Regexp(t, `^string (1m0s|59\.\d+s)$`, kinds["flow:state"])
	require.Len(t, kinds, 6)
}

func TestIndexFollowsTheRecord(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	index := func() string {
		for line := range strings.Lines(server.Dump(t)) {
			if strings.Contains(line, ":index ") {
				return line
			}
		}
		return ""
	}
	r := connected
	put(t, store, "acme", r)
	require.Empty(t, index(), "without a due time")
	r.Due = time.UnixMilli(1790000000123)
	put(t, store, "acme", r)
	require.Contains(t, index(), "{1.790000000123e+12 acme}")
	r.Due = time.UnixMilli(1790000000124)
	old := put(t, store, "acme", r)
	require.Contains(t, index(), "{1.790000000124e+12 acme}")
	old.Revision = "another"
	_, err := store.Swap(t.Context(), "acme", old, pleoauth.Record{}, pleoauth.SwapOptions{})
	require.ErrorIs(t, err, pleoauth.ErrConflict)
	require.NotEmpty(t, index())
	put(t, store, "acme", pleoauth.Record{Due: r.Due})
	require.Empty(t, index(), "once removed")
	require.Empty(t, server.Dump(t), "a removed record leaves nothing")
}

func TestKeyPrefixBeginsEveryKey(t *testing.T) {
	server := redistest.Start(t, redistest.WithRules("~other/*", "&other/*"))
	o := options(t, server.URL())
	o.KeyPrefix = "other/"
	put(t, open(t, o), "acme", connected)
	for line := range strings.Lines(server.Dump(t)) {
		require.True(t, strings.HasPrefix(line, "other/{"), line)
	}
	got, err := open(t, options(t, server.URL())).Read(t.Context(), "acme")
	require.NoError(t, err)
	require.Empty(t, got.Revision)
}

func TestHashThatIsNoRecordIsNeitherReadNorReplaced(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	put(t, store, "acme", connected)
	absent, err := store.Read(t.Context(), "absent")
	require.NoError(t, err)
	c := server.Client(t)
	key := c.Keys(t.Context(), "*:record:acme").Val()[0]
	require.NoError(t, c.HDel(t.Context(), key, "rev").Err())
	_, err = store.Read(t.Context(), "acme")
	require.ErrorIs(t, err, pleoauth.ErrRecordUnreadable)
	_, err = store.Swap(t.Context(), "acme", absent, connected, pleoauth.SwapOptions{})
	require.ErrorIs(t, err, pleoauth.ErrConflict)
	require.NoError(t, c.HSet(t.Context(), key, "rev", "r", "format", "2").Err())
	_, err = store.Read(t.Context(), "acme")
	require.ErrorIs(t, err, pleoauth.ErrRecordUnreadable)
	require.ErrorContains(t, err, "format")
}
