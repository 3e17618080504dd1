package certstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// notices delivers to this store's own listener, in order, from one goroutine
// that starts with the first Watch and that close waits for: who publishes may
// hold locks that the listener wants.
type notices struct {
	// begin starts the goroutine; done is closed when it has ended.
	begin func()
	done  chan struct{}
	wake  chan struct{}

	mu      sync.Mutex
	receive func(pleoauth.Notice)
	watched map[string]struct{}
	queue   []pleoauth.Notice
	closed  bool
}

func newNotices() *notices {
	n := &notices{
		done: make(chan struct{}), wake: make(chan struct{}, 1),
		watched: make(map[string]struct{}),
	}
	n.begin = sync.OnceFunc(func() { go n.run() })
	return n
}

// Listen names the function that gets the notices, see [pleoauth.Store].
func (s *Store) Listen(receive func(pleoauth.Notice)) {
	s.notices.mu.Lock()
	defer s.notices.mu.Unlock()
	s.notices.receive = receive
}

// Watch subscribes to the notices that this store publishes.
func (s *Store) Watch(ctx context.Context, name string) error {
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("certstore: watch: %w", err)
	}
	n := s.notices
	n.mu.Lock()
	n.watched[name] = struct{}{}
	n.mu.Unlock()
	n.begin()
	return nil
}

// Unwatch ends a subscription.
func (s *Store) Unwatch(name string) {
	s.notices.mu.Lock()
	defer s.notices.mu.Unlock()
	delete(s.notices.watched, name)
}

// Publish tells this store's listener.
func (s *Store) Publish(ctx context.Context, notice pleoauth.Notice) error {
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("certstore: publish: %w", err)
	}
	s.notices.publish(notice)
	return nil
}

func (n *notices) publish(notice pleoauth.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.watched[notice.Connection]; !ok || n.closed {
		return
	}
	n.queue = append(n.queue, notice)
	n.signal()
}

func (n *notices) signal() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notices) run() {
	defer close(n.done)
	for range n.wake {
		n.mu.Lock()
		queue, receive, closed := n.queue, n.receive, n.closed
		n.queue = nil
		n.mu.Unlock()
		if closed {
			return
		}
		for _, notice := range queue {
			if receive != nil && n.wants(notice.Connection) {
				receive(notice)
			}
		}
	}
}

func (n *notices) wants(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.watched[name]
	return ok && !n.closed
}

// close drops what is not delivered and ends the goroutine.
func (n *notices) close() {
	n.mu.Lock()
	n.closed = true
	n.signal()
	n.mu.Unlock()
	n.begin()
	<-n.done
}
