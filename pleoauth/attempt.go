package pleoauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"time"
)

// attempt is one attempt to leave a version behind: lock, read again, wait for
// or settle a mark, ask, dial, mark, send once, save. At most one token leaves.
type attempt struct {
	*Source
	c    *connection
	f    *flight
	lock *heldLock
	// doubts counts answers of Pleo's that did not fit together.
	doubts int
	after  RefreshAfter // of the token that is sent next
	reason Reason       // of the connection's end, should Pleo call that token dead
	sent   bool         // a token was sent
	late   int          // how often one was not sent because its time was over
	// limited counts questions that were answered by a 429.
	limited int
	// relocked is set once the lock was lost, and taken again.
	relocked bool
	// entered is set while the attempt may make requests to Pleo, and waited is for
	// how long it had to wait until it might.
	entered bool
	waited  time.Duration
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
		a.leave()
		if a.lock != nil && !c.passLock(a.lock) { // a pair that is still held goes on under it
			a.lock.release()
		}
	}()
	limit := s.times().mark + 3*s.config().RefreshTimeout
	for time.Since(f.started)-a.waited < limit {
		if s.stopping() && !c.left(f.goal) {
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
	if wait := a.c.backOffRest(snap); wait > 0 && !a.f.forced.Load() {
		return false, a.failed(kindOf(snap.NotBeforeReason), wait, nil)
	}
	g, err := a.openGrant(a.c.name, snap.Sealed)
	if err != nil {
		return false, a.storeError(a.c.name, err)
	}
	if m, own := snap.Marked(), a.c.sentWith(g.RefreshToken); m != nil || own != nil {
		return false, a.marked(snap, g, m, own, news)
	}
	return false, a.askFirst(snap, g)
}

// askFirst asks Pleo whether the token of a record without a mark lives, and spends
// it if so. Where Pleo could not be asked, the refresh goes on all the same unless
// something speaks against the grant: an outage of introspection stops none.
func (a *attempt) askFirst(snap Snapshot, g Grant) error {
	if fresh, err := a.enter(2); !fresh {
		return err
	}
	if snap.Epoch != snap.Run { // the store may have forgotten a mark: the mark that is written now says so
		return a.refresh(snap, g, "", asked{})
	}
	said := asked{err: ErrRateLimited}
	if a.limited < mostLimited {
		said = a.ask(snap, g, false)
	}
	switch said.tokenAnswer {
	case tokenDead:
		return a.lost(snap, g, nil, true, ReasonRevokedOrExpired)
	case tokenSilent:
		said.wait = said.wait || a.accessIsDead()
		return a.silent(snap, g, nil, said)
	case noAnswer:
		if a.accessIsDead() {
			return a.unsettled(snap, said.err)
		}
	case tokenLives:
	}
	return a.refresh(snap, g, "", said)
}

// accessIsDead reports whether Pleo has called the access token dead, for a call that was
// refused: that speaks against the refresh token as well.
func (a *attempt) accessIsDead() bool {
	v := a.c.view.Load()
	return a.f.for401 || v != nil && v.dead
}

// refresh marks the record and spends its token. settled is the nonce of a mark
// that may be replaced, or "". said is what Pleo has said of the token. It returns
// nil when the record has to be looked at again: after a success it has left the
// version behind.
//
// The order of the steps is what no refresh token is sent twice rests on.
func (a *attempt) refresh(snap Snapshot, g Grant, settled string, said asked) error {
	a.after = afterSettling(settled)
	a.reason = ReasonRevokedOrExpired
	if said.tokenAnswer == tokenSilent && settled != "" { // then the request before it was processed
		a.reason = ReasonLostResponse
	}
	began := time.Now()
	a.f.at(ErrRefreshFailed)
	// Dialled, TLS included, before the mark: nothing slow lies between mark and token.
	ctx, cancel := context.WithTimeout(context.Background(), a.config().RefreshTimeout)
	conn, err := a.oauth().Dial(ctx)
	cancel()
	if err != nil {
		b := backOff{wait: a.backOffAfter(snap.Attempts), reason: reasonRefreshFailed}
		_, _ = a.apply(a.c.name, snap, writeNote(snap.Version, b))
		a.notDialled(snap, err, b.wait, time.Since(began))
		return a.failed(ErrRefreshFailed, b.wait, err)
	}
	if said.tokenAnswer == tokenLives && said.stale() { // dialling took too long
		if said = a.ask(snap, g, settled != ""); said.tokenAnswer != tokenLives {
			conn.Close()
			return nil // the next turn goes on from there
		}
	}
	if a.stopping() {
		conn.Close()
		return a.failed(ErrRefreshFailed, time.Second, errClosing)
	}
	if a.pace.Pause() > 0 && !a.f.forced.Load() { // since this turn has come
		conn.Close()
		a.leave()
		return nil
	}
	// The clock, then the announcement, then the mark: all others count the mark's
	// life from a later moment than this process.
	m := a.newMark(MarkRefresh)
	m.Attempt = snap.Attempts + 1
	before := time.Now()
	a.c.markSince(m.Nonce, before)
	a.announce(a.c, snap.Version, m.Nonce)
	marked, err := a.applyReplicated(a.c.name, snap, writeMark(snap.Version, m, settled, said.seen), a.lock.Lock)
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
		a.rest(a.backOffAfter(0), nil) // another replica is at it
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
	case said == asked{}: // the store has forgotten nothing after all
		conn.Close()
		_, _ = a.apply(a.c.name, marked, writeClear(m.Nonce, nil))
		a.revokeGate(a.c, m.Nonce)
		return nil
	case marked.Alone && said.tokenAnswer != tokenLives: // the other side of a split network may have spent it
		conn.Close()
		marked, _ = a.apply(a.c.name, marked, writeClear(m.Nonce, nil))
		a.revokeGate(a.c, m.Nonce)
		return a.unsettled(marked, errors.Join(errAlone, said.err))
	}
	return a.send(marked, m, conn, g, before, said)
}

// errAlone: none of the store's replicas has the mark.
var errAlone = errors.New("none of the store's replicas is in step, so that another server may have taken its place")

// newMark returns a mark of this process.
func (s *Source) newMark(kind MarkKind) Mark {
	host, _ := os.Hostname()
	return Mark{Nonce: random128(), Kind: kind, Life: s.times().mark, Replica: host, Time: time.Now().UTC().Truncate(time.Millisecond)}
}

// send lets the refresh token leave, once, and waits for what comes of it. The
// answer is read and stored by a goroutine of its own: neither the end of this
// wait nor a caller's context takes it away.
func (a *attempt) send(marked Snapshot, m Mark, conn *TokenConn, g Grant, before time.Time, said asked) error {
	result := make(chan error, 1)
	own := &sentRequest{
		nonce: m.Nonce, token: sha256.Sum256([]byte(g.RefreshToken)), since: before, life: m.Life, ended: make(chan struct{}),
	}
	own.conn.Store(conn)
	spent := &pair{
		grant: g, seq: marked.Seq, generation: marked.Generation, lineage: marked.Lineage,
		version: marked.Version, subject: marked.Subject, introspection: marked.Introspection, for401At: marked.locally(marked.For401At),
	}
	deadlines := []time.Time{before.Add(sendWithin(m))}
	if said.tokenAnswer == tokenLives {
		deadlines = append(deadlines, said.at.Add(answerGood))
	}
	first := !a.sent
	a.sent = true
	after := a.after // of this one: the attempt may go on before its answer is here
	reason := a.reason
	a.c.sends(own) // before it leaves: a turn that comes meanwhile has to know
	sending := a.goWork(func() {
		next, err := conn.Refresh(g.RefreshToken, deadlines...)
		a.paced(before, err)
		own.refused.Store(hasOtherSecret(err))
		own.end()
		if errors.Is(err, ErrNotProcessed) {
			a.c.unsent(own)
		}
		err = a.answered(a.c, refreshed{
			marked: marked, mark: m, spent: spent, before: before, for401At: refusedAt(a.f, spent, before), after: after, reason: reason, first: first,
			silent: said.tokenAnswer == tokenSilent, next: next, err: err,
		})
		if !a.c.left(spent.version) {
			a.revokeGate(a.c, m.Nonce)
		}
		result <- err
	})
	if !sending {
		conn.Close()
		a.c.unsent(own)
		a.revokeGate(a.c, m.Nonce)
		_, _ = a.apply(a.c.name, marked, writeClear(m.Nonce, nil))
		return a.failed(ErrRefreshFailed, time.Second, errClosing)
	}
	a.f.sent = true
	a.f.at(ErrRefreshUnsettled)
	a.f.expect(before.Add(m.Life))
	a.f.waited.Store(&before)
	timer := time.NewTimer(m.Life - time.Since(before))
	defer timer.Stop()
	select {
	case err := <-result:
		if errors.Is(err, errTooLate) {
			return a.tooLate(marked)
		}
		return err
	case <-timer.C:
		return nil // the mark is over: settle it; the answer is still read
	}
}

// mostLate is how often an attempt tries again to send a token in time.
const mostLate = 3

// tooLate goes on after a token that did not leave because its mark, or Pleo's word
// on it, was too old by then: Pleo is asked again.
func (a *attempt) tooLate(marked Snapshot) error {
	if a.late++; a.late < mostLate {
		return nil
	}
	return a.failed(ErrRefreshFailed, a.backOffAfter(marked.Attempts), errTooLate)
}
