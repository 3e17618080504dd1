package redisstore_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

func TestSwapDeliveredTwiceIsMadeOnceAndAnsweredTwice(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, options(t, server.URL()))
	old, err := s.Read(t.Context(), "acme")
	require.NoError(t, err)
	subscriber := server.Client(t).Subscribe(t.Context(), s.NoticeChannel("acme"))
	defer subscriber.Close()
	_, err = subscriber.Receive(t.Context())
	require.NoError(t, err)
	answers, err := s.SwapTwice(t.Context(), "acme", old, pleoauth.Record{State: pleoauth.StateConnected},
		pleoauth.SwapOptions{Notice: pleoauth.Notice{Kind: pleoauth.NoticeChanged}})
	require.NoError(t, err)
	for _, answer := range answers {
		require.Equal(t, "OK", answer[0])
	}
	require.NoError(t, server.Client(t).Publish(t.Context(), s.NoticeChannel("acme"), "end").Err())
	first, err := subscriber.ReceiveMessage(t.Context())
	require.NoError(t, err)
	require.Contains(t, first.Payload, "changed")
	second, err := subscriber.ReceiveMessage(t.Context())
	require.NoError(t, err)
	require.Equal(t, "end", second.Payload)
}

// A user without rights to channels, as Redis 7 makes users, can publish nothing. What
// else a swap leads to is there all the same, an application's message first.
func TestSwapOfAUserWithoutChannelsIsMadeAndLosesNoMessage(t *testing.T) {
	server := redistest.Start(t, redistest.WithRules("resetchannels"))
	store := open(t, options(t, server.URL()))
	store.NoteChanges(func() {})
	old, err := store.Read(t.Context(), "acme")
	require.NoError(t, err)
	made, err := store.Swap(t.Context(), "acme", old, pleoauth.Record{State: pleoauth.StateConnected},
		pleoauth.SwapOptions{Notice: pleoauth.Notice{Kind: pleoauth.NoticeChanged}})
	require.NoError(t, err)
	require.Equal(t, made.Revision, revision(t, server, "acme"))
	changes, err := store.ClaimChanges(t.Context(), 10, time.Minute)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	names, _, err := store.List(t.Context(), "", 10)
	require.NoError(t, err)
	require.Equal(t, []string{"acme"}, names)
	require.NoError(t, server.Client(t).ACLLogReset(t.Context()).Err(), "the refusal is wanted")
}

func TestDriversMessagesGoWhereTheyAreSent(t *testing.T) {
	var log bytes.Buffer
	redisstore.SetDriverLog(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer redisstore.SetDriverLog(nil)
	// go-redis says of itself that it passes over a strategy it does not know.
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ClientSideCacheStrategy: 99})
	require.NoError(t, c.Close())
	require.Contains(t, log.String(), "go-redis: ")
	redisstore.SetDriverLog(nil)
	length := log.Len()
	require.NoError(t, redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ClientSideCacheStrategy: 99}).Close())
	require.Equal(t, length, log.Len())
}
