package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

var (
	// errSubscriptionBroken is what waits for a confirmation get when the
	// connection under it breaks.
	errSubscriptionBroken = errors.New("redis: subscription broken")
	errClosed             = errors.New("redis: store is closed")
	errUnwatched          = errors.New("redis: no longer watched")
)

// notices is the subscription to the notices of all watched connections, over
// one connection to the server, kept by one goroutine that starts with the
// first Watch and that close waits for.
type notices struct {
	options Options
	keys    keys
	client  client

	// stop ends the goroutine, wake tells it that there is work.
	stop context.CancelFunc
	wake chan struct{}
	// begin starts the goroutine; done is closed when it has ended.
	begin func()
	done  chan struct{}

	mu      sync.Mutex
	receive func(pleoauth.Notice)
	closed  bool
	// channels holds what is watched, and what still has to be unsubscribed.
	channels map[string]*channel
	// dirty are the channels whose subscription is not as it should be.
	dirty map[string]*channel
}

func newNotices(o Options, k keys, c client) *notices {
	ctx, stop := context.WithCancel(context.Background())
	n := &notices{
		options: o, keys: k, client: c,
		stop: stop, wake: make(chan struct{}, 1), done: make(chan struct{}),
		channels: make(map[string]*channel), dirty: make(map[string]*channel),
	}
	n.begin = sync.OnceFunc(func() { go n.run(ctx) })
	return n
}

// Listen names the function that gets the notices, see [pleoauth.Store].
func (s *Store) Listen(receive func(pleoauth.Notice)) {
	s.notices.mu.Lock()
	defer s.notices.mu.Unlock()
	s.notices.receive = receive
}

// Watch subscribes and waits for the server's confirmation, for
// [Options.CommandTimeout] at most. Watching what is watched already waits
// only if the subscription is broken at the moment.
//
// A caller that was told [pleoauth.NoticeLost] between its call of Watch and
// its Read must watch and read again.
func (s *Store) Watch(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil { // a confirmation that comes at once must not hide it
		return fmt.Errorf("redis: watch: %w", err)
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.notices.watch(ctx, s.keys.notice(name)); err != nil {
		return fmt.Errorf("redis: watch: %w", err)
	}
	return nil
}

// Unwatch ends a subscription, without waiting for the server.
func (s *Store) Unwatch(name string) {
	n := s.notices
	n.mu.Lock()
	defer n.mu.Unlock()
	if ch, ok := n.channels[s.keys.notice(name)]; ok {
		n.unwatch(s.keys.notice(name), ch)
	}
}

// Publish sends a notice to all who watch its connection.
func (s *Store) Publish(ctx context.Context, notice pleoauth.Notice) error {
	text, err := encodeNotice(notice)
	if err != nil {
		return err
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	key := s.keys.notice(notice.Connection)
	if err := s.client.do(ctx, key, "publish", key, text).Err(); err != nil {
		return fmt.Errorf("redis: publish: %w", err)
	}
	return nil
}

func (n *notices) watch(ctx context.Context, key string) error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return errClosed
	}
	ch := n.channels[key]
	if ch == nil {
		ch = &channel{confirm: newConfirmation()}
		n.channels[key] = ch
	}
	if !ch.watched || (ch.confirm.settled() && ch.confirm.err != nil) {
		ch.watched = true
		ch.confirm = newConfirmation()
		n.mark(key, ch)
	}
	confirm, done := ch.confirm, ch.confirm.done
	ch.watchers++
	n.mu.Unlock()
	n.begin()

	var err error
	select {
	case <-done:
		err = confirm.err
	case <-ctx.Done():
		err = ctx.Err()
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	ch.watchers--
	if err == nil && ch.confirm != confirm {
		// Lost again since: the caller must not take it for whole.
		err = errSubscriptionBroken
	}
	switch {
	case err == nil:
		ch.held = true
	case ch.watchers == 0 && !ch.held && ch.watched:
		// Nobody has it, nobody waits for it.
		n.unwatch(key, ch)
	}
	n.drop(key, ch)
	return err
}

func (n *notices) unwatch(key string, ch *channel) {
	ch.watched, ch.held = false, false
	ch.confirm.settle(errUnwatched)
	n.mark(key, ch)
}

// mark has the goroutine look at a channel.
func (n *notices) mark(key string, ch *channel) {
	n.dirty[key] = ch
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// dispatch hands on what came from the server.
func (n *notices) dispatch(message any) {
	switch m := message.(type) {
	case *redis.Subscription:
		if m.Kind == "subscribe" {
			n.confirmed(m.Channel)
		}
	case *redis.Message:
		var notice pleoauth.Notice
		// Whoever may publish on the channel could send anything. What is not
		// a notice tells at most that something happened there, and only the
		// store itself says that notices were lost.
		if json.Unmarshal([]byte(m.Payload), &notice) != nil || notice.Kind == pleoauth.NoticeLost ||
			n.keys.notice(notice.Connection) != m.Channel {
			return
		}
		n.mu.Lock()
		ch := n.channels[m.Channel]
		receive := n.receive
		wanted := ch != nil && ch.watched
		n.mu.Unlock()
		if wanted && receive != nil {
			receive(notice)
		}
	}
}

func (n *notices) confirmed(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := n.channels[key]
	if ch == nil {
		return
	}
	ch.unanswered--
	if ch.unanswered == 0 && ch.sent && ch.watched {
		ch.confirm.settle(nil)
	}
	n.drop(key, ch)
}

// drop forgets a channel that is neither wanted nor on the wire.
func (n *notices) drop(key string, ch *channel) {
	if n.channels[key] == ch && !ch.watched && !ch.sent && ch.unanswered <= 0 && ch.watchers == 0 {
		delete(n.channels, key)
	}
}

// close ends the goroutine and fails who still waits.
func (n *notices) close() {
	n.mu.Lock()
	n.closed = true
	for _, ch := range n.channels {
		ch.confirm.settle(errClosed)
	}
	n.mu.Unlock()
	n.stop()
	n.begin()
	<-n.done
}

// backoff returns how long to wait before the k-th attempt in a row.
func backoff(k int) time.Duration {
	return min(50*time.Millisecond<<min(k, 5), 500*time.Millisecond)
}
