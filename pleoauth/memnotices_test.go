package pleoauth_test

import (
	"context"
	"sync"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func (s *memStore) Listen(receive func(pleoauth.Notice)) { s.queue.start(receive) }

func (s *memStore) Watch(ctx context.Context, name string) error {
	return s.do(ctx, "watch", func() error { s.watched[name] = true; return nil })
}

func (s *memStore) Unwatch(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watched, name)
}

func (s *memStore) Publish(ctx context.Context, n pleoauth.Notice) error {
	return s.do(ctx, "publish", func() error { s.server.publish(n); return nil })
}

// noticeQueue hands notices to a listener in order, without making the sender
// wait.
type noticeQueue struct {
	mu      sync.Mutex
	cond    *sync.Cond
	waiting []pleoauth.Notice
	stopped bool
	done    chan struct{}
}

func newNoticeQueue() *noticeQueue {
	q := &noticeQueue{}
	q.cond = sync.NewCond(&q.mu)
	return q
}

func (q *noticeQueue) start(receive func(pleoauth.Notice)) {
	q.done = make(chan struct{})
	go func() {
		defer close(q.done)
		for {
			q.mu.Lock()
			for len(q.waiting) == 0 && !q.stopped {
				q.cond.Wait()
			}
			if q.stopped {
				q.mu.Unlock()
				return
			}
			n := q.waiting[0]
			q.waiting = q.waiting[1:]
			q.mu.Unlock()
			receive(n)
		}
	}()
}

func (q *noticeQueue) stop() {
	q.mu.Lock()
	q.stopped = true
	q.cond.Signal()
	q.mu.Unlock()
	if q.done != nil {
		<-q.done
	}
}

func (q *noticeQueue) put(n pleoauth.Notice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, n)
	q.cond.Signal()
}
