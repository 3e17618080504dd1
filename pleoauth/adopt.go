package pleoauth

import (
	"cmp"
	"time"
)

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
		if same.pair != nil && (same.generation != next.generation || same.pair.introspection != snap.Introspection || same.pair.subject != snap.Subject) {
			p := *same.pair
			p.generation = next.generation // the record had gone further when it was stored
			p.introspection, p.subject = cmp.Or(snap.Introspection, p.introspection), snap.Subject
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
	if snap.State == StateConnected && snap.Subject == "" && !s.stopping() {
		s.pin(c)
	}
	switch v := s.verdictOn(c, snap); {
	case v != snap.Introspection: // the store has forgotten it, or was not told
		s.goWork(func() { s.noteVerdict(c, snap, v, false) })
	case v != "" && v != VerdictPresumed:
		s.rememberVerdict(c, snap.Lineage, v)
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
	if v.token == nil || !time.Now().Before(v.expires) || s.closing() {
		return // the call that needs an expired one's successor begins the refresh itself, and its trace has it
	}
	c.timer = time.AfterFunc(time.Until(s.dueAt(v)), func() {
		if wait := time.Until(s.dueAt(v)); wait > 0 { // the store has lost its replicas since
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.timer != nil && !c.left(v.version) && !s.closing() {
				c.timer.Reset(wait)
			}
			return
		}
		if c.usedSince(v.pair.obtained) && !c.left(v.version) {
			s.fly(c, v.version, false)
		}
	})
}
