package pleoauth

import (
	"errors"
	"sync"
	"time"
)

// heldLock is the connection's lock while it is renewed. It saves work: what
// is done under it is safe without it, and losing it stops nothing.
type heldLock struct {
	Lock
	source *Source
	once   sync.Once
	stop   chan struct{}
	done   chan struct{}
}

// obtainLock takes the connection's lock. While another replica has it, it
// waits with growing delays, and returns neither lock nor error if meanwhile
// the connection has left the flight's version behind.
func (s *Source) obtainLock(c *connection, f *flight) (*heldLock, error) {
	started := time.Now()
	lock, err := s.awaitLock(c, f, started)
	s.lockWaited(c, started, lockResult(lock, err))
	return lock, err
}

func (s *Source) awaitLock(c *connection, f *flight, started time.Time) (*heldLock, error) {
	o := LockOptions{Life: s.times().lock}
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
		news := c.news()
		if c.left(f.goal) {
			return nil, nil
		}
		ctx, cancel := s.command()
		lock, err := s.store.Lock(ctx, c.name, o)
		cancel()
		s.runs.refusal(err)
		s.storeAnswered(StoreLock, err)
		if err == nil {
			return s.hold(lock), nil
		}
		if !errors.Is(err, ErrLocked) {
			return nil, s.storeError(c.name, err)
		}
		o.Next = nextInLine // which a lock that is free at once need not be told
		// A replica that has the lock for long waits for a request to be settled.
		f.at(ErrRefreshUnsettled)
		if s.closing() || time.Since(started) > s.times().mark+2*s.config().RefreshTimeout {
			return nil, &TokenError{Kind: ErrRefreshUnsettled, Connection: c.name, RetryAfter: time.Second, Err: errStillWaiting}
		}
		s.pause(wait/2+s.spread(wait), news)
	}
}

// nextInLine is for how long a refresh that waits for a lock is next in line for
// it: longer than it waits between two looks.
const nextInLine = 2 * time.Second

func (s *Source) hold(lock Lock) *heldLock {
	h := &heldLock{Lock: lock, source: s, stop: make(chan struct{}), done: make(chan struct{})}
	go h.renew()
	return h
}

func (h *heldLock) renew() {
	defer close(h.done)
	ticker := time.NewTicker(h.source.times().lock / 3)
	defer ticker.Stop()
	for {
		select {
		case <-h.stop:
			return
		case <-ticker.C:
		}
		ctx, cancel := h.source.command()
		err := h.Renew(ctx, h.source.times().lock)
		cancel()
		h.source.storeAnswered(StoreRenew, err)
		if errors.Is(err, ErrLockLost) {
			return // another replica has it by now; the mark is what protects
		}
	}
}

// release ends the renewal and gives the lock back. It may be called twice.
func (h *heldLock) release() {
	h.once.Do(func() {
		close(h.stop)
		<-h.done
		ctx, cancel := h.source.command()
		defer cancel()
		_ = h.Release(ctx) // it lapses by itself
	})
}
