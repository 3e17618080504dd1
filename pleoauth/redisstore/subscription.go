package redisstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// channelsAtOnce bounds how many channels one SUBSCRIBE names, so that a
// hundred thousand of them do not hold up the server's other clients.
const channelsAtOnce = 1000

// dialOnce allows one dial, see dialGate.
type dialOnce struct{ used atomic.Bool }

// run keeps the subscription up until ctx ends.
func (n *notices) run(ctx context.Context) {
	defer close(n.done)
	for failures := 0; ; {
		if !n.waitForWork(ctx) {
			return
		}
		if n.serve(ctx) {
			failures = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff(failures)):
			failures++
		}
	}
}

// waitForWork waits until something is watched; false: ctx has ended.
func (n *notices) waitForWork(ctx context.Context) bool {
	for {
		if ctx.Err() != nil {
			return false
		}
		n.mu.Lock()
		work := false
		for key, ch := range n.dirty {
			if ch.watched {
				work = true
				break
			}
			delete(n.dirty, key)
			n.drop(key, ch)
		}
		n.mu.Unlock()
		if work {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-n.wake:
		}
	}
}

// serve keeps one connection until it breaks or ctx ends, and reports whether
// it was of use.
func (n *notices) serve(ctx context.Context) (useful bool) {
	if n.client.cluster != nil {
		// Learn the nodes now, not under the one dial that is allowed.
		warm, cancel := context.WithTimeout(ctx, n.options.CommandTimeout)
		_, err := n.client.cluster.MasterForKey(warm, n.keys.names(0))
		cancel()
		if err != nil {
			n.lost(err)
			return false
		}
	}
	ctx = context.WithValue(ctx, dialOnceKey{}, new(dialOnce))
	subscription := n.client.Subscribe(ctx)
	// This dials. The reader starts before the rest is sent: the server gives
	// up on a subscriber that does not take its confirmations.
	if _, err := n.flushSome(ctx, subscription); err != nil {
		_ = subscription.Close()
		n.lost(err)
		return false
	}
	broken := make(chan error, 1)
	go func() { broken <- n.read(ctx, subscription) }()

	err := n.keep(ctx, subscription, broken)
	// Closing it is what ends the reader: it does not heed ctx.
	_ = subscription.Close()
	if err == nil {
		err = <-broken
	}
	return n.lost(err)
}

// keep writes to the subscription until it breaks or ctx ends. It returns the
// reader's error, or nil if the reader still runs.
func (n *notices) keep(ctx context.Context, subscription *redis.PubSub, broken <-chan error) error {
	ping := time.NewTicker(n.options.PingInterval)
	defer ping.Stop()
	for {
		for more := true; more; {
			var err error
			if more, err = n.flushSome(ctx, subscription); err != nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case <-n.wake:
		case <-ping.C:
			bounded, cancel := context.WithTimeout(ctx, n.options.CommandTimeout)
			err := subscription.Ping(bounded)
			cancel()
			if err != nil {
				return nil
			}
		}
	}
}

// read hands on what comes until the connection breaks or has been silent for
// two pings.
func (n *notices) read(ctx context.Context, subscription *redis.PubSub) error {
	for {
		message, err := subscription.ReceiveTimeout(ctx, 2*n.options.PingInterval)
		if err != nil {
			return err
		}
		n.dispatch(message)
	}
}

// flushSome brings some of the server's subscriptions in line with what is
// watched, and reports whether there may be more to do.
func (n *notices) flushSome(ctx context.Context, subscription *redis.PubSub) (more bool, err error) {
	subscribe, unsubscribe := n.changes()
	ctx, cancel := context.WithTimeout(ctx, n.options.CommandTimeout)
	defer cancel()
	// Never without a channel: that would mean all of them.
	if len(unsubscribe) > 0 {
		err = subscription.Unsubscribe(ctx, unsubscribe...)
	}
	if err == nil && len(subscribe) > 0 {
		err = subscription.Subscribe(ctx, subscribe...)
	}
	return len(subscribe)+len(unsubscribe) > 0, err
}

// changes takes up to channelsAtOnce dirty channels and notes them as sent.
func (n *notices) changes() (subscribe, unsubscribe []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, ch := range n.dirty {
		if len(subscribe)+len(unsubscribe) == channelsAtOnce {
			return subscribe, unsubscribe
		}
		delete(n.dirty, key)
		switch {
		case ch.watched && !ch.sent:
			ch.sent = true
			ch.unanswered++
			subscribe = append(subscribe, key)
		case !ch.watched && ch.sent:
			ch.sent = false
			unsubscribe = append(unsubscribe, key)
			n.drop(key, ch)
		case ch.watched && ch.unanswered == 0:
			// Unwatched and watched again before the goroutine looked.
			ch.confirm.settle(nil)
		default:
			n.drop(key, ch)
		}
	}
	return subscribe, unsubscribe
}

// lost starts over: all that is watched has to be subscribed to again. It
// tells the listener if a subscription had been confirmed, and reports that.
func (n *notices) lost(reason error) bool {
	n.mu.Lock()
	had := false
	for key, ch := range n.channels {
		confirmed := ch.confirm.settled() && ch.confirm.err == nil
		had = had || confirmed
		ch.sent, ch.unanswered = false, 0
		if !ch.watched {
			delete(n.dirty, key)
			n.drop(key, ch)
			continue
		}
		if n.closed {
			continue
		}
		if confirmed {
			ch.confirm = newConfirmation()
		} else if ch.watchers > 0 {
			// Who waits learns why, rather than only that time is up.
			ch.confirm.settle(reason)
			ch.confirm = newConfirmation()
		}
		n.dirty[key] = ch
	}
	receive, closed := n.receive, n.closed
	n.mu.Unlock()
	if had && !closed && receive != nil {
		receive(pleoauth.Notice{Kind: pleoauth.NoticeLost})
	}
	return had
}
