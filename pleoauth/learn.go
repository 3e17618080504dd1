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

// current returns what is known of a connection, and reads it first where
// nothing is, or where nothing good is known and a notice may have been missed.
// A connected view is good although notices may have been missed: Pleo itself
// proves the token.
func (s *Source) current(ctx context.Context, c *connection) (*view, error) {
	v := c.view.Load()
	if v != nil {
		confirmed := v.subscription == s.subscription.Load()
		if v.state == StateConnected || c.triedSince(time.Now().Add(-askAgain)) {
			return v, nil
		}
		if confirmed && time.Since(v.readAt) > negativeAge {
			s.load(c, false)
		}
		if confirmed {
			return v, nil
		}
	}
	s.missed(MissStore)
	l := s.load(c, false)
	select {
	case <-l.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if loaded := c.view.Load(); loaded != nil && (l.err == nil || v != nil) {
		return loaded, nil // an unconfirmed answer is better than none
	}
	return nil, s.storeError(c.name, l.err)
}

// storeError makes a caller's error of one that reading the record gave.
func (s *Source) storeError(name string, err error) error {
	kind := ErrStoreUnavailable
	if errors.Is(err, ErrForeignRecord) {
		kind = ErrForeignRecord
	}
	return &TokenError{Kind: kind, Connection: name, RetryAfter: time.Second, Err: err}
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

// adopt makes a record the process's view of its connection, unless what the
// process has is newer: a store that failed over, was emptied or restored from
// a backup does not take a live grant away.
func (s *Source) adopt(c *connection, snap Snapshot, subscription uint64) (*view, error) {
	var g Grant
	if snap.State == StateConnected {
		var err error
		if g, err = s.openGrant(c.name, snap.Sealed); err != nil {
			return nil, err
		}
	}
	next := s.viewOf(snap, g, subscription)
	if m := snap.Marked(); m != nil {
		c.markSince(m.Nonce, time.Now()) // its life counts from here, whoever comes to wait for it
	}

	c.mu.Lock()
	now := c.view.Load()
	switch {
	case now == nil:
	case now.pair == nil && now.run == next.run && next.before(now):
		// Two reads whose answers overtook each other; or the record is gone, and
		// the answer is the same.
		same := *now
		same.readAt, same.subscription = next.readAt, next.subscription
		s.putView(c, &same)
		c.mu.Unlock()
		return &same, nil
	case now.outranks(snap):
		c.mu.Unlock()
		s.restore(c, now.pair)
		return now, nil
	case now.version == next.version:
		same := *now
		same.readAt, same.subscription, same.run = next.readAt, next.subscription, next.run
		same.marked = next.marked
		if same.generation != next.generation && same.pair != nil { // the record had gone further when it was stored
			p := *same.pair
			p.generation = next.generation
			same.generation, same.pair = next.generation, &p
		}
		next = &same
	}
	s.putView(c, next)
	watched := c.watched
	c.mu.Unlock()
	if snap.State == "" {
		s.absentName(c)
	}
	if !watched {
		s.load(c, true) // learnt from our own write: subscribe, and read again
	}
	return next, nil
}

// outranks reports whether v is a newer grant than the record's.
func (v *view) outranks(snap Snapshot) bool {
	if v == nil || v.pair == nil || v.version == snap.Version || v.seq == snap.Seq && snap.Lineage != "" && v.pair.lineage != snap.Lineage {
		return false
	}
	return compareOrder(v.seq, v.generation, snap.Seq, snap.Generation) > 0
}

// before reports whether v was true before other was, within one run of the
// store: grants have an order, and each ends after it was stored.
func (v *view) before(other *view) bool {
	order := compareOrder(v.seq, v.generation, other.seq, other.generation)
	return order < 0 || order == 0 && v.state == StateConnected && other.state != StateConnected
}

// putView replaces the view and sets the timer of the next refresh. c.mu is held.
func (s *Source) putView(c *connection, v *view) {
	before := c.view.Swap(v)
	if before == nil || before.version != v.version {
		c.failing.err, c.failing.times = nil, 0
		c.rests.Store(0)
		c.stored = false
		c.liftLocked("")
		c.wakeLocked()
		s.setTimer(c, v)
	}
}

// setTimer has a token that is in use refreshed before calls have to wait for
// it. c.mu is held.
func (s *Source) setTimer(c *connection, v *view) {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if v.token == nil || s.closing() {
		return
	}
	c.timer = time.AfterFunc(time.Until(v.refreshAt), func() {
		if c.usedSince(v.pair.obtained) && !c.left(v.version) {
			s.fly(c, v.version, false)
		}
	})
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
