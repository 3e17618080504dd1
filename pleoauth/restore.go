package pleoauth

import (
	"cmp"
	"errors"
	"time"
)

// whoHasWait is how long holders of a newer grant have to put it back before it
// is declared lost.
const whoHasWait = time.Second

var errOwnPairUnknown = errors.New("whether the held grant lives could not be asked")

// putBack restores a grant that the record lacks (W5).
func (s *Source) putBack(c *connection, h *heldPair, st stored, snap Snapshot, subscription uint64) (bool, error) {
	if snap.Version == h.pair.version && snap.State == StateConnected {
		return true, s.isStored(c, h, snap, subscription, nil) // it is there after all
	}
	if snap.Seq == h.pair.seq && snap.Lineage != "" && snap.Lineage != h.pair.lineage || compareOrder(snap.Seq, snap.Generation, h.pair.seq, h.pair.generation) >= 0 {
		return false, s.adoptInstead(c, h.pair, snap, subscription)
	}
	if snap.State != StateConnected {
		if time.Now().Before(h.askAt) {
			return false, errOwnPairUnknown
		}
		if !h.spilled { // Pleo may be long in answering, and the process may end meanwhile
			h.spilled = s.spill.write(s, c.name, h.pair) == nil
		}
		switch answer, err := s.askAboutHeld(c, h, snap); answer {
		case noAnswer:
			h.askAt = time.Now().Add(s.backOffAfter(h.unasked))
			h.unasked++
			return false, errors.Join(errOwnPairUnknown, err)
		case tokenDead:
			s.heldLog(c, h).Warn("a grant that the store lacks is dead: it is dropped", "result", "dead")
			if snap.State == "" {
				err := s.nobodyHas(c, h.pair, snap, subscription)
				if err != nil { // all who hold a dead grant ask each other: not in a circle
					h.askAt = time.Now().Add(s.backOffAfter(h.unasked))
					h.unasked++
				}
				return false, err
			}
			return false, s.adoptInstead(c, h.pair, snap, subscription)
		case tokenSilent: // it is asked about again before it is spent
			m := s.newMark(MarkUnknown)
			st.unknown = &m
		case tokenLives:
		}
	}
	after, err := s.applyReplicated(c.name, snap, writeRestore(st), nil)
	if errors.Is(err, errRefused) {
		return false, err // it has changed again: read it again
	}
	if err != nil && !errors.Is(err, ErrNotReplicated) {
		h.unanswered = h.unanswered || !errors.Is(err, ErrNotWritten)
		return false, err
	}
	s.heldLog(c, h).Warn("a grant that the store lacked has been restored", "result", "restored")
	return true, s.isStored(c, h, after, subscription, err)
}

// askAboutHeld asks Pleo whether a held grant lives, in whose place the record says
// that there is none.
func (s *Source) askAboutHeld(c *connection, h *heldPair, snap Snapshot) (tokenAnswer, error) {
	if s.pace.Pause() > 0 { // it is put on the disk meanwhile
		return noAnswer, ErrRateLimited
	}
	turn := s.pace.Turn(time.Time{})
	turn.Hurry()
	if !turn.Enter(2, s.abandon) {
		return noAnswer, errClosing
	}
	defer turn.Leave()
	seen, err := s.introspect(h.pair.grant.RefreshToken, RefreshTokenKind)
	switch {
	case err == nil && seen.Active:
		return tokenLives, nil
	case err != nil && !silentStatus(err):
		return noAnswer, err
	}
	if time.Now().Before(h.pair.obtained.Add(h.pair.grant.ExpiresIn)) && !h.pair.grant.NoRefreshToken {
		if access, _ := s.askAboutAccess(h.pair.grant); access == tokenLives {
			return tokenLives, nil
		}
	}
	snap.Introspection, snap.Lineage = cmp.Or(snap.Introspection, h.pair.introspection), h.pair.lineage
	if err == nil && s.verdictOn(c, snap).believed() {
		return tokenDead, nil
	}
	return tokenSilent, nil
}

// nobodyHas ends a connection whose record is gone and whose pair is dead, unless
// somebody puts the next pair back when asked: 'not connected' would be wrong, and
// the order of grants must not be forgotten.
func (s *Source) nobodyHas(c *connection, dead *pair, snap Snapshot, subscription uint64) error {
	if _, err := s.whoHas(c, dead.version); err != nil {
		return err
	}
	after, err := s.apply(c.name, snap, writeGone(dead, random128()))
	if errors.Is(err, errRefused) {
		after, err = s.read(c.name)
	}
	if err != nil {
		return err
	}
	return s.adoptInstead(c, dead, after, subscription)
}

// whoHas asks all replicas for a newer grant than that of the given version, and
// reports whether somebody had one.
func (s *Source) whoHas(c *connection, version string) (bool, error) {
	ctx, cancel := s.command()
	err := s.store.Publish(ctx, Notice{Kind: NoticeWhoHas, Connection: c.name, Version: version})
	cancel()
	s.storeAnswered(StorePublish, err)
	if err != nil {
		return false, err
	}
	for until := time.Now().Add(whoHasWait); time.Now().Before(until) && !s.closing(); {
		news := c.news() // our own question comes back too: only a new version ends the wait
		if c.left(version) {
			return true, nil
		}
		s.pause(time.Until(until), news)
	}
	if s.closing() {
		return false, errClosing // whoever comes next gives them their second
	}
	return false, nil
}

// adoptInstead gives up one's own grant for what the record says.
func (s *Source) adoptInstead(c *connection, given *pair, snap Snapshot, subscription uint64) error {
	c.mu.Lock()
	if v := c.view.Load(); v != nil && v.version == given.version {
		c.view.Store(nil)
	}
	c.mu.Unlock()
	_, _ = s.adopt(c, snap, subscription)
	return nil
}

// restore puts back a grant that this process knows and the record lacks, as
// after a failover that lost a write. It returns at once.
func (s *Source) restore(c *connection, p *pair) {
	c.mu.Lock()
	if c.held != nil {
		c.mu.Unlock()
		return
	}
	h := &heldPair{pair: p, unanswered: true}
	c.held = h
	c.mu.Unlock()
	if !s.goWork(func() {
		if !s.trySave(c, h) {
			s.unsavedPair(c, h)
			s.untilDone(c, func() bool { return s.tryAgain(c, h) })
		}
		s.letGo(c, h)
	}) {
		s.letGo(c, h)
	}
}
