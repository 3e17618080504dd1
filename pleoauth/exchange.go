package pleoauth

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// exchange spends an authorisation code, under lock and mark like a refresh:
// Pleo may count a second consent as the same authorisation, and then a
// refresh that travels at the same time would kill what was just granted.
func (s *Source) exchange(f flow, code string) (string, error) {
	c, done := s.exchanges(f.Connection)
	defer done()
	limit := time.Now().Add(s.times().mark + 2*s.config().RefreshTimeout)
	lock, err := s.lockUntil(c, limit)
	if err != nil {
		return "", err
	}
	defer func() {
		if !c.passLock(lock) {
			lock.release()
		}
	}()
	for time.Now().Before(limit) && !s.closing() {
		news := c.news()
		snap, err := s.read(f.Connection)
		if err != nil {
			return "", storeFailed(err)
		}
		if v := c.view.Load(); v.outranks(snap) { // the store has forgotten what comes before, and whose it was
			s.restore(c, v.pair)
			s.pause(time.Second, news)
			continue
		}
		var over string
		if m := snap.Marked(); m != nil {
			if rest := m.Life - time.Since(c.markSince(m.Nonce, time.Now())); rest > 0 {
				s.pause(min(rest, time.Second), news)
				continue
			}
			over = m.Nonce // nothing that it protects can still be on its way
		}
		subject, err := s.exchangeOnce(c, f, code, snap, over, lock)
		if errors.Is(err, errRefused) {
			continue
		}
		return subject, err
	}
	return "", fmt.Errorf("%w: a refresh of this connection is still not settled", ErrExchangeFailed)
}

func storeFailed(err error) error { return fmt.Errorf("%w: %w", ErrStoreUnavailable, err) }

func (s *Source) lockUntil(c *connection, limit time.Time) (held *heldLock, err error) {
	began := time.Now()
	defer func() { s.lockWaited(c, began, lockResult(held, err)) }()
	for k := 0; time.Now().Before(limit) && !s.closing(); k++ {
		ctx, cancel := s.command()
		lock, err := s.store.Lock(ctx, c.name, LockOptions{Life: s.times().lock, Yield: true})
		cancel()
		s.storeAnswered(StoreLock, err)
		if err == nil {
			return s.hold(lock), nil
		}
		if !errors.Is(err, ErrLocked) {
			return nil, storeFailed(err)
		}
		s.pause(min(s.backOffAfter(k)/16, 500*time.Millisecond), c.news())
	}
	return nil, fmt.Errorf("%w: the connection is locked", ErrStoreUnavailable)
}

// exchangeOnce marks the record, sends the code, and stores what comes of it.
// It returns errRefused where the record has to be read again first.
func (s *Source) exchangeOnce(c *connection, f flow, code string, snap Snapshot, over string, lock *heldLock) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.config().RefreshTimeout)
	conn, err := s.oauth().Dial(ctx)
	cancel()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrExchangeFailed, err)
	}
	m := s.newMark(MarkAuthorise)
	before := time.Now()
	c.markSince(m.Nonce, before)
	seq := nextSeq(snap.Record, before)
	m.Seq = seq
	marked, err := s.applyReplicated(c.name, snap, writeMark(snap.Version, m, over), lock.Lock)
	if errors.Is(err, ErrNotReplicated) {
		s.unmark(c, marked, m, unsent(m, over))
	}
	if errors.Is(err, errRefused) || err == nil && (marked.Marked() == nil || marked.Marked().Nonce != m.Nonce) {
		conn.Close()
		return "", errRefused
	}
	if err != nil {
		conn.Close()
		return "", storeFailed(err)
	}
	g, err := conn.Exchange(code, f.Verifier, before.Add(sendWithin(m)))
	if err != nil {
		if errors.Is(err, ErrNotProcessed) || errors.Is(err, ErrTerminal) || errors.Is(err, ErrMisconfigured) {
			s.unmark(c, marked, m, unsent(m, over))
		} else {
			s.unmark(c, marked, m, nil)
		}
		s.logger().Warn("authorisation failed", "connection", c.name, "duration", time.Since(before), "result", "exchange_failed", "error", err)
		if errors.Is(err, ErrMisconfigured) {
			return "", fmt.Errorf("%w: %w", ErrClientRejected, err)
		}
		return "", fmt.Errorf("%w: %w", ErrExchangeFailed, err)
	}
	subject, err := s.checkSubjectOf(g, f, marked)
	if err != nil {
		s.unmark(c, marked, m, writeOver(m.Nonce))
		s.logger().Warn("authorisation refused: nothing is stored", "connection", c.name, "duration", time.Since(before), "result", "other_subject", "error", err)
		return subject, err
	}
	p := &pair{
		grant: g, seq: seq, generation: marked.Generation + 1, lineage: random128(),
		version: random128(), subject: subject, obtained: before,
	}
	s.logger().Info("connection authorised", "connection", c.name, "generation", p.generation, "duration", time.Since(before), "result", "connected")
	s.save(c, &heldPair{pair: p, snap: &marked, first: writeAuthorise})
	return subject, nil
}

// unsent is what becomes of a mark under which no code has bought a pair. over
// is the nonce of the mark that it has replaced, or "".
func unsent(m Mark, over string) write {
	if over != "" { // what the mark before it left in doubt still is
		return writeOver(m.Nonce)
	}
	return writeClear(m.Nonce, nil)
}

// unmark does with the mark what an exchange that stored nothing calls for. A
// connection without a grant has nothing to protect. If it has one, and the
// code may have been exchanged, Pleo may have killed that grant's tokens: then
// the mark stays (nil), or is over but has to be settled.
func (s *Source) unmark(c *connection, marked Snapshot, m Mark, w write) {
	if marked.State != StateConnected {
		w = writeClear(m.Nonce, nil)
	}
	if w != nil {
		_, _ = s.apply(c.name, marked, w)
	}
}

const subjectAttempts = 3

// checkSubjectOf asks whose company authorised, and whether that is the one it
// has to be: the one asked for, and the one that the connection had before.
func (s *Source) checkSubjectOf(g Grant, f flow, before Snapshot) (string, error) {
	subject, err := s.subjectOf(g)
	known := before.Subject != "" && !s.config().AllowSubjectChange
	switch {
	case err != nil && (f.Subject != "" || known):
		return "", fmt.Errorf("%w: whose company it is could not be asked: %w", ErrExchangeFailed, err)
	case f.Subject != "" && subject != f.Subject, known && subject != before.Subject:
		return subject, ErrOtherSubject
	}
	return subject, nil
}

func (s *Source) subjectOf(g Grant) (string, error) {
	var err error
	for k := range subjectAttempts {
		if k > 0 {
			s.pause(s.backOffAfter(0)/4, nil)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*introspectionTimeout)
		var seen Introspection
		if seen, err = s.oauth().Introspect(ctx, g.AccessToken, AccessTokenKind); err == nil && seen.Subject != "" {
			cancel()
			return seen.Subject, nil
		}
		var subject string
		subject, err = s.oauth().APISubject(ctx, g.AccessToken)
		cancel()
		if err == nil && subject != "" {
			return subject, nil
		}
	}
	if err == nil {
		err = errors.New("neither introspection nor the API names a company")
	}
	return "", err
}
