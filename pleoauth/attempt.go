package pleoauth

import (
	"context"
	"errors"
	"os"
	"time"
)

// attempt is one attempt to leave a version behind: lock, read again, wait for
// or settle a mark, dial, mark, send once, save. At most one token leaves.
type attempt struct {
	*Source
	c    *connection
	f    *flight
	lock *heldLock
	// doubts counts answers of Pleo's that did not fit together.
	doubts int
	after  RefreshAfter // of the token that is sent next
	sent   bool         // a token was sent
	// relocked is set once the lock was lost, and taken again.
	relocked bool
}

var errTakesLong = errors.New("the refresh is still not settled")

// errLockGone ends a turn whose lock is another's by now, or nobody's.
var errLockGone = errors.New("the lock was lost")

func (s *Source) attempt(c *connection, f *flight) error {
	lock, err := s.obtainLock(c, f)
	if err != nil || lock == nil {
		return err
	}
	a := &attempt{Source: s, c: c, f: f, lock: lock}
	defer func() {
		if a.lock != nil && !c.passLock(a.lock) { // a pair that is still held goes on under it
			a.lock.release()
		}
	}()
	limit := s.times().mark + 3*s.config().RefreshTimeout
	for time.Since(f.started) < limit {
		if s.closing() {
			return a.failed(ErrRefreshFailed, time.Second, errClosing)
		}
		done, err := a.turn()
		if errors.Is(err, errLockGone) {
			done, err = a.lockAgain(err)
		}
		if done || err != nil {
			return err
		}
	}
	return a.failed(*f.stage.Load(), time.Second, errTakesLong)
}

// lockAgain takes a lost lock anew, once: a store that keeps none is not waited
// for. It reports true when the connection has left the flight's version behind.
func (a *attempt) lockAgain(gone error) (bool, error) {
	if a.relocked {
		return false, gone
	}
	a.relocked = true
	a.lock.release()
	var err error
	a.lock, err = a.obtainLock(a.c, a.f)
	return a.lock == nil, err
}

func (a *attempt) failed(kind error, retryAfter time.Duration, err error) error {
	return &TokenError{Kind: kind, Connection: a.c.name, RetryAfter: max(retryAfter, time.Second), Err: err}
}

// turn reads the record and does what it calls for. It reports true when the
// connection has left the flight's version behind.
func (a *attempt) turn() (bool, error) {
	news := a.c.news()
	if a.c.left(a.f.goal) {
		return true, nil
	}
	subscription := a.subscription.Load()
	snap, err := a.read(a.c.name)
	if err != nil {
		return false, a.storeError(a.c.name, err)
	}
	if v := a.c.view.Load(); v.outranks(snap) {
		a.f.at(ErrStoreUnavailable)
		a.restore(a.c, v.pair)
		a.pause(time.Second, news)
		return false, nil
	}
	if snap.Version != a.f.goal || snap.State != StateConnected {
		if _, err := a.adopt(a.c, snap, subscription); err != nil {
			return false, a.storeError(a.c.name, err)
		}
		if !a.c.left(a.f.goal) { // what this process knows is newer
			a.pause(a.backOffAfter(0), nil)
			return false, nil
		}
		return true, nil
	}
	if wait := a.c.backOffRest(snap); wait > 0 {
		return false, a.failed(kindOf(snap.NotBeforeReason), wait, nil)
	}
	if m := snap.Marked(); m != nil {
		return false, a.marked(snap, m, news)
	}
	return false, a.refresh(snap, "", time.Time{})
}

// refresh marks the record and spends its token. settled is the nonce of a
// mark that may be replaced, since Pleo said at asked or later that the token
// lives, or "". It returns nil when the record has to be looked at again: after a
// success it has left the version behind.
func (a *attempt) refresh(snap Snapshot, settled string, asked time.Time) error {
	g, err := a.openGrant(a.c.name, snap.Sealed)
	if err != nil {
		return a.storeError(a.c.name, err)
	}
	a.after = afterSettling(settled)
	began := time.Now()
	a.f.at(ErrRefreshFailed)
	ctx, cancel := context.WithTimeout(context.Background(), a.config().RefreshTimeout)
	conn, err := a.oauth().Dial(ctx)
	cancel()
	if err != nil {
		b := backOff{wait: a.backOffAfter(snap.Attempts), reason: reasonRefreshFailed}
		_, _ = a.apply(a.c.name, snap, writeNote(snap.Version, b))
		a.notDialled(snap, err, b.wait, time.Since(began))
		return a.failed(ErrRefreshFailed, b.wait, err)
	}

	if settled != "" && time.Since(asked) > answerGood { // Pleo's word is too old by now
		if active, err := a.refreshTokenLives(snap, g); err != nil || !active {
			conn.Close()
			return nil //nolint:nilerr // the next turn settles it anew
		}
	}

	m := a.newMark(MarkRefresh)
	m.Attempt = snap.Attempts + 1
	before := time.Now() // and before anybody can have heard of the mark: all count its life from later on
	a.c.markSince(m.Nonce, before)
	a.announce(a.c, snap.Version, m.Nonce)
	marked, err := a.applyReplicated(a.c.name, snap, writeMark(snap.Version, m, settled), a.lock.Lock)
	switch {
	case errors.Is(err, ErrNotReplicated): // a failover could forget the mark, so nothing is sent under it
		conn.Close()
		b := backOff{wait: a.backOffAfter(snap.Attempts), reason: reasonStoreUnavailable}
		_, _ = a.apply(a.c.name, marked, writeClear(m.Nonce, &b))
		a.revokeGate(a.c, m.Nonce)
		return a.failed(ErrStoreUnavailable, b.wait, err)
	case errors.Is(err, errRefused), errors.Is(err, ErrLockLost), errors.Is(err, ErrConflict):
		conn.Close()
		a.revokeGate(a.c, m.Nonce)
		a.pause(a.backOffAfter(0), nil) // somebody else is at it
		if errors.Is(err, ErrLockLost) {
			return a.failed(ErrStoreUnavailable, time.Second, errLockGone)
		}
		return nil
	case err != nil:
		conn.Close()
		a.revokeGate(a.c, m.Nonce)
		return a.storeError(a.c.name, err)
	case marked.Marked() == nil || marked.Marked().Nonce != m.Nonce:
		a.revokeGate(a.c, m.Nonce)
		conn.Close() // the store's run is new: an unknown mark has to be waited out
		return nil
	}
	return a.send(marked, m, conn, g, before)
}

// newMark returns a mark of this process.
func (s *Source) newMark(kind MarkKind) Mark {
	host, _ := os.Hostname()
	return Mark{Nonce: random128(), Kind: kind, Life: s.times().mark, Replica: host, Time: time.Now().UTC().Truncate(time.Millisecond)}
}

// send lets the refresh token leave, once, and waits for what comes of it. The
// answer is read and stored by a goroutine of its own: neither the end of this
// wait nor anybody's context takes it away.
func (a *attempt) send(marked Snapshot, m Mark, conn *TokenConn, g Grant, before time.Time) error {
	result := make(chan error, 1)
	own := &sentRequest{nonce: m.Nonce, ended: make(chan struct{})}
	own.conn.Store(conn)
	spent := &pair{
		grant: g, seq: marked.Seq, generation: marked.Generation, lineage: marked.Lineage,
		version: marked.Version, subject: marked.Subject, for401At: marked.locally(marked.For401At),
	}
	first := !a.sent
	a.sent = true
	after := a.after // of this one: the attempt may go on before its answer is here
	sending := a.goWork(func() {
		next, err := conn.Refresh(g.RefreshToken, before.Add(sendWithin(m)))
		own.end()
		err = a.answered(a.c, refreshed{
			marked: marked, mark: m, spent: spent, before: before, for401At: refusedAt(a.f, spent, before), after: after, first: first,
			next: next, err: err,
		})
		if !a.c.left(spent.version) {
			a.revokeGate(a.c, m.Nonce)
		}
		result <- err
	})
	if !sending {
		conn.Close()
		a.revokeGate(a.c, m.Nonce)
		_, _ = a.apply(a.c.name, marked, writeClear(m.Nonce, nil))
		return a.failed(ErrRefreshFailed, time.Second, errClosing)
	}
	a.c.sends(own)
	a.f.sent = true
	a.f.at(ErrRefreshUnsettled)
	a.f.expect(before.Add(m.Life))
	a.f.waited.Store(&before)
	timer := time.NewTimer(m.Life - time.Since(before))
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		return nil // the mark is over: settle it; the answer is still read
	}
}
