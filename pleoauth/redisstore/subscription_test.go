package redisstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const patience = 30 * time.Second

// heard collects notices.
type heard struct {
	mu      sync.Mutex
	notices []pleoauth.Notice
}

func listen(store pleoauth.Store) *heard {
	h := &heard{}
	store.Listen(func(n pleoauth.Notice) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.notices = append(h.notices, n)
	})
	return h
}

// count returns how many notices of a kind have come.
func (h *heard) count(kind pleoauth.NoticeKind) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, notice := range h.notices {
		if notice.Kind == kind {
			n++
		}
	}
	return n
}

func gate(name string) pleoauth.Notice {
	return pleoauth.Notice{Kind: pleoauth.NoticeGate, Connection: name}
}

// watchAgain watches until it is confirmed.
func watchAgain(t *testing.T, store pleoauth.Store, name string) {
	t.Helper()
	require.Eventually(t, func() bool { return store.Watch(t.Context(), name) == nil }, patience, 10*time.Millisecond)
}

func TestBrokenSubscriptionIsToldOnceAndHeals(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	in := listen(store)
	const names = 2500 // three SUBSCRIBEs
	var group sync.WaitGroup
	for i := range names {
		group.Go(func() { require.NoError(t, store.Watch(t.Context(), fmt.Sprintf("acme-%d", i))) })
	}
	group.Wait()
	for round := 1; round <= 3; round++ {
		require.NoError(t, server.Client(t).Do(t.Context(), "client", "kill", "type", "pubsub").Err())
		require.Eventually(t, func() bool { return in.count(pleoauth.NoticeLost) == round }, patience, time.Millisecond)
		for i := range names {
			require.NoError(t, store.Watch(t.Context(), fmt.Sprintf("acme-%d", i)))
		}
		for i := range names {
			require.NoError(t, store.Publish(t.Context(), gate(fmt.Sprintf("acme-%d", i))))
		}
		require.Eventually(t, func() bool { return in.count(pleoauth.NoticeGate) == round*names }, patience, time.Millisecond)
		require.Equal(t, round, in.count(pleoauth.NoticeLost))
	}
}

func TestBrokenSubscriptionIsMadeAgainOnceAndInParts(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	listen(store)
	const names = 2500
	var group sync.WaitGroup
	for i := range names {
		group.Go(func() { require.NoError(t, store.Watch(t.Context(), fmt.Sprintf("acme-%d", i))) })
	}
	group.Wait()
	require.NoError(t, server.Client(t).ConfigResetStat(t.Context()).Err())
	require.NoError(t, server.Client(t).Do(t.Context(), "client", "kill", "type", "pubsub").Err())
	require.Eventually(t, func() bool { return calls(t, server, "subscribe") == "3" }, patience, 20*time.Millisecond)
	for i := range names {
		require.NoError(t, store.Watch(t.Context(), fmt.Sprintf("acme-%d", i)))
	}
	require.Equal(t, "3", calls(t, server, "subscribe"))
}

func TestSubscriptionHealsWithoutAnotherWatch(t *testing.T) {
	server := redistest.Start(t)
	store, publisher := open(t, options(t, server.URL())), open(t, options(t, server.URL()))
	in := listen(store)
	require.NoError(t, store.Watch(t.Context(), "acme"))
	require.NoError(t, server.Restart())
	require.Eventually(t, func() bool {
		return publisher.Publish(t.Context(), gate("acme")) == nil && in.count(pleoauth.NoticeGate) > 0
	}, patience, 10*time.Millisecond)
	require.Equal(t, 1, in.count(pleoauth.NoticeLost))
}

func TestServerThatIsAwayIsToldOnce(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	in := listen(store)
	require.NoError(t, store.Watch(t.Context(), "acme"))
	server.Kill()
	require.Eventually(t, func() bool { return in.count(pleoauth.NoticeLost) == 1 }, patience, time.Millisecond)
	for range 5 {
		require.Error(t, store.Watch(t.Context(), "acme"))
	}
	require.NoError(t, server.Restart())
	watchAgain(t, store, "acme")
	require.Equal(t, 1, in.count(pleoauth.NoticeLost))
}

func TestSilentServerCountsAsLost(t *testing.T) {
	server := redistest.Start(t)
	o := options(t, server.URL())
	o.CommandTimeout, o.PingInterval = time.Second, 200*time.Millisecond
	store := open(t, o)
	in := listen(store)
	require.NoError(t, store.Watch(t.Context(), "acme"))
	require.NoError(t, server.Pause())
	require.Eventually(t, func() bool { return in.count(pleoauth.NoticeLost) == 1 }, patience, time.Millisecond)
	require.NoError(t, server.Continue())
	watchAgain(t, store, "acme")
	require.NoError(t, store.Publish(t.Context(), gate("acme")))
	require.Eventually(t, func() bool { return in.count(pleoauth.NoticeGate) == 1 }, patience, time.Millisecond)
	require.Equal(t, 1, in.count(pleoauth.NoticeLost))
}

func TestIdleSubscriptionIsNotLost(t *testing.T) {
	server := redistest.Start(t)
	o := options(t, server.URL())
	o.PingInterval = 250 * time.Millisecond
	store := open(t, o)
	in := listen(store)
	require.NoError(t, store.Watch(t.Context(), "acme"))
	select {
	case <-time.After(5 * o.PingInterval): // nothing but pings, for longer than silence is borne
	case <-t.Context().Done():
	}
	require.Zero(t, in.count(pleoauth.NoticeLost))
	require.NoError(t, store.Publish(t.Context(), gate("acme")))
	require.Eventually(t, func() bool { return in.count(pleoauth.NoticeGate) == 1 }, patience, time.Millisecond)
}

func TestWhatOthersPublishIsNotTakenForTheStoresWord(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	in := listen(store)
	require.NoError(t, store.Watch(t.Context(), "acme"))
	c := server.Client(t)
	channel := c.PubSubChannels(t.Context(), "*").Val()[0]
	for _, payload := range []string{`{"kind":"lost"}`, `{"kind":"lost","connection":"acme"}`, `{"kind":"gate","connection":"other"}`, `nonsense`, ``} {
		require.NoError(t, c.Publish(t.Context(), channel, payload).Err())
	}
	require.NoError(t, store.Publish(t.Context(), gate("acme")))
	require.Eventually(t, func() bool { return in.count(pleoauth.NoticeGate) == 1 }, patience, time.Millisecond)
	require.Len(t, in.notices, 1)
}

func TestWatchThatFailedLeavesNoSubscription(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	listen(store)
	require.NoError(t, store.Watch(t.Context(), "acme"))
	server.Kill()
	require.Error(t, store.Watch(t.Context(), "other"))
	require.NoError(t, server.Restart())
	watchAgain(t, store, "acme")
	require.Len(t, server.Client(t).PubSubChannels(t.Context(), "*").Val(), 1)
}

func TestWatchingAndUnwatchingAtOnceEndsAsItWasLeft(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	listen(store)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 200 {
				_ = store.Watch(context.WithoutCancel(t.Context()), fmt.Sprint(i%3))
				store.Unwatch(fmt.Sprint(i % 3))
			}
		})
	}
	group.Wait()
	require.Eventually(t, func() bool {
		return len(server.Client(t).PubSubChannels(t.Context(), "*").Val()) == 0
	}, patience, 20*time.Millisecond)
	require.NoError(t, store.Watch(t.Context(), "0"))
	require.Len(t, server.Client(t).PubSubChannels(t.Context(), "*").Val(), 1)
}
