package pleoauth

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// negativeAge is the age at which an answer without a token, still in use, is
// read again in the background: pub/sub loses messages.
const negativeAge = 30 * time.Second

// askAgain is how soon after the store has not answered a call for a connection
// without a grant asks again: the others are answered from memory.
const askAgain = time.Second

// refusedAge is the age at which the record of a token that Pleo called dead is
// read again before a call fails for it: its successor's notice may be lost.
const refusedAge = time.Second

// current returns what is known of a connection, and reads it first where
// nothing is, or where nothing good is known and a notice may have been missed.
// A connected view is good although notices may have been missed, as long as Pleo
// has not said that its token is dead: Pleo itself proves the token.
func (s *Source) current(ctx context.Context, c *connection) (*view, error) {
	v := c.view.Load()
	if v != nil {
		if v.state == StateConnected && !v.dead || c.triedSince(time.Now().Add(-askAgain)) {
			return v, nil
		}
		age := time.Since(v.readAt)
		confirmed := v.subscription == s.subscription.Load() && (!v.dead || age <= refusedAge)
		if confirmed && age > negativeAge {
			s.load(c, false)
		}
		if confirmed {
			return v, nil
		}
	}
	s.missed(MissStore)
	l := s.load(c, false)
	if err := s.awaitCall(ctx, c, l); err != nil {
		if v != nil && ctx.Err() == nil {
			return v, nil
		}
		return nil, err
	}
	if loaded := c.view.Load(); loaded != nil && (l.err == nil || v != nil) {
		return loaded, nil // an unconfirmed answer is better than none
	}
	return nil, s.storeError(c.name, l.err)
}

var errHangs = errors.New("the store neither answers nor fails")

// awaitCall waits for a call that reads the store, no longer than the refresh
// timeout: a store may hang for longer than it was given.
func (s *Source) awaitCall(ctx context.Context, c *connection, l *call) error {
	timer := time.NewTimer(s.config().RefreshTimeout)
	defer timer.Stop()
	select {
	case <-l.done:
		return nil
	case <-timer.C:
		return s.storeError(c.name, errHangs)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// storeError makes a caller's error of one that reading the record gave.
func (s *Source) storeError(name string, err error) error {
	kind := ErrStoreUnavailable
	if errors.Is(err, ErrForeignRecord) {
		kind = ErrForeignRecord
	}
	return &TokenError{Kind: kind, Connection: name, RetryAfter: time.Second, Err: s.reasoned(err)}
}

// load reads the record and adopts what it says, once for all who ask at the
// same time. again makes sure that the record is read after this call, as for
// a notice that an older read may have crossed.
func (s *Source) load(c *connection, again bool) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loading != nil {
		c.again = c.again || again
		return c.loading
	}
	l := &call{done: make(chan struct{})}
	c.loading, c.again, c.told = l, false, again
	if !s.goWork(func() { s.runLoad(c, l) }) {
		c.loading = nil
		l.err = errClosing
		close(l.done)
	}
	return l
}

var errClosing = errors.New("the proxy is shutting down")

func (s *Source) runLoad(c *connection, l *call) {
	for {
		err := s.loadOnce(c)
		c.mu.Lock()
		if c.again && err == nil {
			c.again = false
			c.mu.Unlock()
			continue
		}
		l.err = err
		c.loading = nil
		if err != nil {
			c.tried.Store(time.Now().UnixNano())
		}
		s.missedLocked(c, err)
		close(l.done)
		c.wakeLocked()
		c.mu.Unlock()
		return
	}
}

// missedLocked has the record read later if a notice called for it and it could
// not be read: the notice does not come again. c.mu is held.
func (s *Source) missedLocked(c *connection, err error) {
	if err == nil {
		c.missed = 0
		return
	}
	if !c.told && !c.again || c.retrying {
		return
	}
	wait := s.backOffAfter(c.missed)
	c.missed++
	c.retrying = s.goWork(func() {
		s.pause(wait, nil)
		c.mu.Lock()
		c.retrying = false
		c.mu.Unlock()
		s.load(c, true)
	})
}

// loadOnce subscribes first and reads then: what changes after the read is
// told.
func (s *Source) loadOnce(c *connection) error {
	subscription := s.subscription.Load()
	ctx, cancel := s.command()
	defer cancel()
	err := s.store.Watch(ctx, c.name)
	s.storeAnswered(StoreWatch, err)
	if err != nil {
		return fmt.Errorf("subscribing to notices: %w", err)
	}
	c.mu.Lock()
	c.watched = true
	c.mu.Unlock()
	snap, err := s.read(c.name)
	if err != nil {
		return err
	}
	_, err = s.adopt(c, snap, subscription)
	return err
}

// receive takes in a notice. It does not block.
func (s *Source) receive(n Notice) {
	if n.Kind == NoticeLost {
		s.subscription.Add(1)
		s.runs.lost()
		s.lookOut()
		return
	}
	c := s.conns.get(n.Connection)
	if c == nil {
		return
	}
	switch n.Kind {
	case NoticeChanged:
		if v := c.view.Load(); v == nil || v.version != n.Version {
			s.load(c, true)
		}
	case NoticeWhoHas:
		c.wake() // a held pair is tried at once
		if v := c.view.Load(); v != nil && v.pair != nil && v.version != n.Version {
			s.load(c, true) // finds the record older, and restores
		}
	case NoticeGate:
		c.announced(n.Nonce, time.Now())
		s.raise(c, n.Version, n.Nonce)
	case NoticeLifted:
		c.lift(n.Nonce)
	case NoticeLost:
	}
}
