package pleoauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// An authorisation code is exchanged under lock and mark like a refresh: Pleo may
// count a second consent as the same authorisation, and then a refresh that travels
// at the same time would kill what was just granted. But every browser that can open
// the authorise route can bring an exchange about, so that none may hold a living grant
// up: an exchange leaves the lock to refreshes that wait for it, waits for marks
// without it, and gives it back when its own mark is over.

// exchangePatience is how long a browser is kept waiting for an earlier request about
// its connection. If that may take longer, its user is told for how long.
const exchangePatience = 2 * time.Second

// exchange is one exchange of a code, and what came of it.
type exchange struct {
	*Source
	c    *connection
	flow flow
	code string
	lock *heldLock
	// taken is set once the flow is spent, so that the same callback is of no more use.
	taken  bool
	failed bool // and bought nothing
	// before is the record in which the exchange was marked, mark its mark, over the
	// nonce of the mark that was over and that it has replaced, or "".
	before Snapshot
	mark   Mark
	over   string
	began  time.Time // the moment before the mark was asked for
}

// exchanged is what came of an exchange.
type exchanged struct {
	subject string
	err     error
	// retryAfter is when it is worth trying again, see [Completed.RetryAfter].
	retryAfter time.Duration
}

// pending ends an exchange that has to wait for longer than a browser is kept.
func (e *exchange) pending(rest time.Duration) exchanged {
	rest = max(rest, time.Second)
	if e.taken {
		return exchanged{err: fmt.Errorf("%w: a refresh of this connection is still not settled", ErrExchangeFailed), retryAfter: rest}
	}
	return exchanged{err: ErrAuthorisationPending, retryAfter: rest}
}

// run waits for its turn, has take called then, and exchanges the code. Until take
// has returned without an error nothing has happened to the flow.
func (e *exchange) run(take func() error) exchanged {
	defer e.letGo()
	for until := time.Now().Add(exchangePatience); ; {
		if e.stopping() {
			return exchanged{err: storeFailed(errClosing)}
		}
		news := e.c.news()
		snap, err := e.read(e.c.name)
		if err != nil {
			return exchanged{err: storeFailed(err)}
		}
		if v := e.c.view.Load(); v.outranks(snap) { // the store has forgotten what comes before, and whose it was
			e.restore(e.c, v.pair)
			e.letGo()
			if !time.Now().Before(until) {
				return e.pending(time.Second)
			}
			e.pause(exchangePatience/4, news)
			continue
		}
		e.over = ""
		if m := snap.Marked(); m != nil {
			rest := e.restOf(e.c, snap, m)
			if left := time.Until(until); rest > 0 && left <= 0 {
				return e.pending(rest)
			} else if rest > 0 {
				e.letGo()
				e.pause(min(rest, left), news)
				continue
			}
			e.over = m.Nonce // nothing that it protects can still be on its way
		}
		if e.lock == nil {
			if e.lock, err = e.tryLock(); err != nil {
				return exchanged{err: storeFailed(err)}
			}
			if e.lock == nil && !time.Now().Before(until) {
				return e.pending(exchangePatience)
			}
			if e.lock == nil {
				e.pause(exchangePatience/20+e.spread(exchangePatience/20), news)
			}
			continue // read again under the lock
		}
		if snap, err = e.pinned(snap); err != nil {
			return exchanged{err: err, retryAfter: exchangePatience}
		}
		if snap.State == StateConnected && snap.Epoch != snap.Run { // the store may have forgotten a mark: it is waited out
			if err := e.markUnknown(snap); err != nil {
				return exchanged{err: storeFailed(err)}
			}
			continue
		}
		if !e.taken && !e.lane.enter() {
			return e.pending(exchangePatience)
		}
		if !e.taken {
			if err := take(); err != nil {
				e.lane.leave(false)
				return exchanged{err: err}
			}
			e.taken = true
			defer func() { e.lane.leave(e.failed) }()
			until = time.Now().Add(e.times().mark) // it has to be gone through with
		}
		if outcome, done := e.once(snap); done {
			return outcome
		}
	}
}

// markUnknown marks a record of a store that may have forgotten a mark.
func (e *exchange) markUnknown(snap Snapshot) error {
	m := e.newMark(MarkAuthorise)
	marked, err := e.applyReplicated(e.c.name, snap, writeMark(snap.Version, m, e.over, Introspection{}), e.lock.Lock)
	if errors.Is(err, errRefused) || errors.Is(err, ErrNotReplicated) {
		err = nil
	}
	if err == nil && marked.Mark != nil && marked.Mark.Nonce == m.Nonce { // another process was faster: there is nothing to wait for
		_, err = e.apply(e.c.name, marked, writeClear(m.Nonce, nil))
	}
	return err
}

// tryLock takes the connection's lock unless a refresh is next in line for it; nil:
// another holder has it.
func (e *exchange) tryLock() (*heldLock, error) {
	ctx, cancel := e.command()
	lock, err := e.store.Lock(ctx, e.c.name, LockOptions{Life: e.times().lock, Yield: true})
	cancel()
	e.storeAnswered(StoreLock, err)
	switch {
	case errors.Is(err, ErrLocked):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return e.hold(lock), nil
}

// letGo gives the lock back, or hands it to a grant that is not stored yet.
func (e *exchange) letGo() {
	if e.lock == nil {
		return
	}
	if !e.c.passLock(e.lock) {
		e.lock.release()
	}
	e.lock = nil
}

// once marks the record, sends the code, and stores what comes of it. It reports
// false where the record has to be read again first.
func (e *exchange) once(snap Snapshot) (outcome exchanged, done bool) {
	ctx, cancel := context.WithTimeout(context.Background(), e.config().RefreshTimeout)
	conn, err := e.oauth().Dial(ctx)
	cancel()
	if err != nil {
		return exchanged{err: fmt.Errorf("%w: %w", ErrExchangeFailed, err)}, true
	}
	m := e.newMark(MarkAuthorise)
	e.began = time.Now()
	e.c.markSince(m.Nonce, e.began)
	m.Seq = nextSeq(snap.Record, e.began)
	marked, err := e.applyReplicated(e.c.name, snap, writeMark(snap.Version, m, e.over, Introspection{}), e.lock.Lock)
	e.before, e.mark = marked, m
	if errors.Is(err, ErrNotReplicated) {
		e.unmark()
	}
	if errors.Is(err, errRefused) || err == nil && (marked.Marked() == nil || marked.Marked().Nonce != m.Nonce) {
		conn.Close()
		return exchanged{}, false
	}
	if err != nil {
		conn.Close()
		return exchanged{err: storeFailed(err)}, true
	}
	return e.send(conn), true
}

// send sends the code, once. The answer is read and stored however late it comes; the
// browser and the lock are kept no longer than the mark stands.
func (e *exchange) send(conn *TokenConn) exchanged {
	result := make(chan exchanged, 1)
	_, done := e.exchanges(e.c.name)
	answered := func() {
		defer done()
		g, err := conn.Exchange(e.code, e.flow.Verifier, e.began.Add(sendWithin(e.mark)))
		result <- e.answered(g, err)
	}
	if !e.goWork(answered) {
		done()
		conn.Close()
		e.unmark()
		return exchanged{err: storeFailed(errClosing)}
	}
	over := time.NewTimer(e.mark.Life - time.Since(e.began))
	defer over.Stop()
	for {
		news := e.c.news()
		if e.c.left(e.before.Version) {
			if snap, err := e.read(e.c.name); err == nil && (snap.Mark == nil || snap.Mark.Nonce != e.mark.Nonce) {
				e.letGo() // the mark that it went with is gone
			}
		}
		select {
		case r := <-result:
			e.failed = r.err != nil
			return r
		case <-news:
		case <-over.C:
			e.failed = true
			e.logger().Warn("authorisation is ambiguous: Pleo does not answer", "connection", e.c.name,
				"duration", time.Since(e.began), "result", "exchange_failed")
			return exchanged{
				err:        fmt.Errorf("%w: Pleo has not answered yet; if it still does, the connection is connected", ErrExchangeFailed),
				retryAfter: time.Second,
			}
		}
	}
}

// answered stores what came of the code, or leaves the mark as the failure calls for.
func (e *exchange) answered(g Grant, err error) exchanged {
	log := e.logger().With("connection", e.c.name, "duration", time.Since(e.began))
	if err != nil {
		var wait time.Duration
		if notExchanged(err) {
			e.unmark()
		} else { // it may be processed yet: until the mark is over no other code is exchanged
			wait = max(e.mark.Life-time.Since(e.began), time.Second)
		}
		log.Warn("authorisation failed", "result", "exchange_failed", "error", err)
		kind := ErrExchangeFailed
		if errors.Is(err, ErrMisconfigured) {
			kind = ErrClientRejected
		}
		return exchanged{err: fmt.Errorf("%w: %w", kind, err), retryAfter: wait}
	}
	subject, err := e.checkSubjectOf(g, e.flow, e.before)
	if now, failed := e.read(e.c.name); err == nil && failed == nil && now.Subject != e.before.Subject {
		_, err = e.compareSubject(subject, e.flow, now) // found out meanwhile
	}
	if err != nil {
		_, _ = e.apply(e.c.name, e.before, writeOver(e.mark.Nonce))
		result := "other_subject"
		if !errors.Is(err, ErrOtherSubject) {
			result = "exchange_failed"
		}
		log.Warn("authorisation refused: nothing is stored", "result", result, "error", err)
		return exchanged{subject: subject, err: err}
	}
	p := &pair{
		grant: g, seq: e.mark.Seq, generation: e.before.Generation + 1, lineage: random128(),
		version: random128(), subject: subject, obtained: e.began,
	}
	if e.save(e.c, &heldPair{pair: p, snap: &e.before, own: e.mark.Nonce, first: writeAuthorise}) == saveSuperseded {
		_, _ = e.apply(e.c.name, e.before, writeOver(e.mark.Nonce)) // it was answered: nothing is on its way
		log.Warn("authorisation came too late: the connection has been disconnected or authorised again since; nothing is stored", "result", "superseded")
		return exchanged{subject: subject, err: ErrSuperseded}
	}
	log.Info("connection authorised", "generation", p.generation, "result", "connected")
	if missing := missingScopes(e.config().Scopes, g.Scope); missing != nil {
		log.Warn("Pleo has granted less than was asked for", "generation", p.generation, "missing", strings.Join(missing, " "))
	}
	if subject == "" {
		log.Warn("whose company the connection belongs to could not be asked; it is found out as soon as Pleo answers", "result", "unpinned")
		e.pin(e.c)
	}
	select { // in most cases it is known before the user comes back
	case <-e.judgeIntrospection(e.c, p):
	case <-time.After(exchangePatience):
	}
	return exchanged{subject: subject}
}

// notExchanged reports whether a failure shows that the code has bought nothing and
// will not: not a byte has left, or Pleo has refused it with a code of RFC 6749,
// section 5.2. Every browser can bring such a refusal about; it must not cost a mark's life.
func notExchanged(err error) bool {
	refusal := new(OAuthError)
	if !errors.As(err, &refusal) {
		return false
	}
	switch {
	case errors.Is(err, ErrNotProcessed), errors.Is(err, ErrTerminal), errors.Is(err, ErrMisconfigured):
		return true
	case errors.Is(err, ErrRateLimited), refusal.Status == 408, refusal.Status == 425:
		return false
	}
	return refusal.Status >= 400 && refusal.Status < 500 && refusedCodes[refusal.Code]
}

// unmark takes the mark away after a code that has bought nothing. Where it has
// replaced another mark, or stands with a grant, it is over instead, and the token is
// asked about: what the mark before it left in doubt still is.
func (e *exchange) unmark() {
	w := writeClear(e.mark.Nonce, nil)
	if e.over != "" || e.before.State == StateConnected {
		w = writeOver(e.mark.Nonce)
	}
	_, _ = e.apply(e.c.name, e.before, w)
}
