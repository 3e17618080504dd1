package pleoauth

import (
	"errors"
	"time"
)

// heldPair is a grant that the store does not have yet. It is served, and
// saved until it is stored, or until the record is newer, or Pleo says that it
// is dead. (save-or-hold)
type heldPair struct {
	pair *pair
	// snap is the record as it was last seen, nil if it has to be read.
	snap *Snapshot
	// first is the write that the pair was obtained for; nil for one that is
	// only put back.
	first func(stored) write
	// own is the nonce of the mark under which the pair was obtained, or "".
	own string
	// unanswered is set once a write may have been made without our knowing:
	// somebody may have read the pair since, and be sending its token.
	unanswered bool
	lock       *heldLock
	failures   int
	// superseded is set once the record's grant or tombstone turned out to be later.
	superseded bool
	// unreplicated is set once it is stored, but the store's replicas have not
	// confirmed that.
	unreplicated bool
	// counted is set once it counts as unsaved, spilled once it is on the disk.
	counted, spilled bool
	since            time.Time // of the hold
	// unasked counts how often Pleo did not say whether it lives, or replicas
	// whether they have it; askAt is when they are asked again.
	unasked int
	askAt   time.Time
}

// saveResult is what became of a new pair.
type saveResult int

const (
	saveStored saveResult = iota
	// saveHeld: the store has not taken it yet; it is served, and saved until it is.
	saveHeld
	// saveSuperseded: what the record says now is later, and stands.
	saveSuperseded
)

// save stores a new pair, or holds it: from the first failure on it is served
// from here, spilled to disk, and tried again.
func (s *Source) save(c *connection, h *heldPair) saveResult {
	if s.trySave(c, h) {
		if h.superseded {
			return saveSuperseded
		}
		return saveStored
	}
	s.unsavedPair(c, h)
	c.mu.Lock()
	c.held = h
	if v := c.view.Load(); v == nil || compareOrder(v.seq, v.generation, h.pair.seq, h.pair.generation) < 0 {
		s.putView(c, s.viewOfPair(h.pair))
	}
	c.mu.Unlock()
	keep := func() {
		s.untilDone(c, func() bool { return s.tryAgain(c, h) })
		s.letGo(c, h)
	}
	if !s.goWork(keep) {
		keep() // closing: our caller is waited for
	}
	return saveHeld
}

// unsavedPair puts a pair that the store has not taken on the disk, before
// anything else: it outlives the process from here on.
func (s *Source) unsavedPair(c *connection, h *heldPair) {
	log := s.heldLog(c, h)
	log.Error("the grant is not safe in the store: it is held, and saved until it is", "result", "held")
	if err := s.spill.write(s, c.name, h.pair); err != nil {
		log.Error("the held grant could not be written to disk: it lives in memory alone", "result", "held", "error", err)
	} else {
		h.spilled = true
	}
	h.counted = true
	s.unsaved.Add(1)
}

// tryAgain is trySave for a pair that is held. What the disk has not taken, it may
// take now.
func (s *Source) tryAgain(c *connection, h *heldPair) bool {
	if s.trySave(c, h) {
		return true
	}
	if !h.spilled {
		h.spilled = s.spill.write(s, c.name, h.pair) == nil
	}
	return false
}

// letGo ends a hold.
func (s *Source) letGo(c *connection, h *heldPair) {
	c.mu.Lock()
	if c.held == h {
		c.held = nil
	}
	lock := h.lock
	c.mu.Unlock()
	if h.counted {
		s.unsaved.Add(-1)
	}
	if v := c.view.Load(); v != nil && v.pair != nil && v.version != h.pair.version {
		s.load(c, true) // a newer pair may have had to wait for this one
	}
	if lock != nil {
		lock.release()
	}
}

// passLock hands an attempt's lock to the pair that came of it, if that is
// still held.
func (c *connection) passLock(lock *heldLock) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil || c.held.lock != nil || c.held.unreplicated {
		return false // a pair that is stored needs no lock
	}
	c.held.lock = lock
	return true
}

// trySave reports whether the pair needs to be held no longer: it is stored,
// or a newer grant is, or it is dead.
func (s *Source) trySave(c *connection, h *heldPair) bool {
	stored, err := s.storePair(c, h)
	switch {
	case err == nil:
		h.superseded = !stored
		s.spill.remove(c.name, h.pair)
		if h.failures > 0 {
			s.heldLog(c, h).Info("a held grant has been dealt with", "result", heldResult(stored))
		}
		return true
	case h.failures == 0 || h.failures%30 == 0:
		s.heldLog(c, h).Warn("a grant could not be stored", "result", "held", "error", err)
	}
	h.failures++
	h.snap = nil
	return false
}

func (s *Source) storePair(c *connection, h *heldPair) (bool, error) {
	subscription := s.subscription.Load()
	snap := h.snap
	if snap == nil {
		read, err := s.read(c.name)
		if err != nil {
			return false, err
		}
		snap = &read
	}
	st := stored{pair: h.pair, sealed: s.sealGrant(c.name, h.pair.grant), due: s.keepAliveIn(), own: h.own}
	st.over = func(m Mark) bool { return time.Since(c.markSeen(m.Nonce)) >= m.Life }
	if h.unanswered || h.pair.grant.NoRefreshToken {
		m := s.newMark(MarkUnknown)
		st.unknown = &m
	}
	if h.first != nil {
		after, err := s.applyReplicated(c.name, *snap, h.first(st), nil)
		if err == nil || errors.Is(err, ErrNotReplicated) {
			return true, s.isStored(c, h, after, subscription, err)
		}
		if !errors.Is(err, errRefused) {
			h.unanswered = h.unanswered || !errors.Is(err, ErrNotWritten)
			return false, err
		}
		if *snap, err = s.read(c.name); err != nil {
			return false, err
		}
	}
	return s.putBack(c, h, st, *snap, subscription)
}

// isStored takes over the record after our own write. replicated is nil, or
// [ErrNotReplicated]: the pair is stored then, and used by all, and held until
// the store's replicas have it too.
func (s *Source) isStored(c *connection, h *heldPair, snap Snapshot, subscription uint64, replicated error) error {
	_, _ = s.adopt(c, snap, subscription) // what goes wrong here is no failure to store
	c.keep()
	if replicated != nil {
		c.mu.Lock()
		h.unreplicated, h.unanswered = true, true // others may be sending its token when a failover loses it
		lock := h.lock
		c.mu.Unlock()
		if lock != nil {
			lock.release()
		}
	}
	if !h.unreplicated {
		return nil
	}
	if replicated == nil {
		if time.Now().Before(h.askAt) {
			return ErrNotReplicated
		}
		if _, replicated = s.applyReplicated(c.name, snap, writeAgain(snap.Version), nil); replicated == nil {
			return nil
		}
	}
	h.askAt = time.Now().Add(s.backOffAfter(h.unasked))
	h.unasked++
	return replicated
}
