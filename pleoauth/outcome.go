package pleoauth

import (
	"errors"
	"log/slog"
	"time"
)

// The back-off's reasons as they stand in records.
const (
	reasonRefreshFailed    = "refresh-failed"
	reasonClientRejected   = "client-rejected"
	reasonRefreshUnsettled = "refresh-unsettled"
	reasonStoreUnavailable = "store-unavailable"
)

func kindOf(reason string) error {
	switch reason {
	case reasonClientRejected:
		return ErrClientRejected
	case reasonRefreshUnsettled:
		return ErrRefreshUnsettled
	case reasonStoreUnavailable:
		return ErrStoreUnavailable
	}
	return ErrRefreshFailed
}

// refreshed is a refresh token that was sent, or was not, and what came of it.
type refreshed struct {
	marked Snapshot // the record with our mark
	mark   Mark
	spent  *pair
	before time.Time // the moment before the mark was asked for
	// for401At is when a refusal was last the reason for a refresh, or zero.
	for401At time.Time
	after    RefreshAfter
	reason   Reason // of the connection's end, should Pleo call the token dead
	// first is set on the first one of its attempt.
	first bool
	// silent is set where Pleo did not speak about the token that was sent.
	silent bool
	next   Grant
	err    error
}

// refusedAt is when a refusal was last the reason for a refresh of a connection: now,
// or when the pair that is spent was obtained, or one not long before it. A token
// that dies at once would otherwise be refreshed for its expiry and for its refusal
// in turn.
func refusedAt(f *flight, spent *pair, now time.Time) time.Time {
	if f.for401 {
		return now
	}
	if !spent.for401At.IsZero() && now.Sub(spent.for401At) < again401 {
		return spent.for401At
	}
	return time.Time{}
}

// answered takes the outcome of a refresh to the store. It returns nil if the
// connection has been taken further, or has to be looked at again; an error
// ends the flight.
func (s *Source) answered(c *connection, r refreshed) error {
	log := r.log(c, s.logger())
	s.refreshEnded(r.err, r.after, time.Since(r.before))
	switch {
	case r.err == nil:
		p := &pair{
			grant: r.next,
			seq:   r.spent.seq, generation: r.spent.generation + 1, lineage: r.spent.lineage,
			version: random128(), subject: r.spent.subject, introspection: r.spent.introspection,
			obtained: r.before, for401At: r.for401At,
		}
		// A token that has expired on its way is tried once: it costs nothing.
		p.grant.ExpiresIn = max(p.grant.ExpiresIn, time.Since(r.before)+minLife)
		log.Info("grant refreshed", "result", "stored", "next_generation", p.generation)
		s.save(c, &heldPair{pair: p, snap: &r.marked, own: r.mark.Nonce, first: func(st stored) write { return writeSave(r.spent.version, st) }})
		if r.spent.introspection == "" || r.silent && r.marked.Introspection.believed() { // what was believed holds no more
			s.judgeIntrospection(c, p)
		}
		return nil
	case errors.Is(r.err, ErrTerminal):
		return s.ended(c, r, log)
	case errors.Is(r.err, errTooLate):
		_, _ = s.apply(c.name, r.marked, writeClear(r.mark.Nonce, nil))
		log.Warn("a refresh token was not sent in time", "result", "not_sent", "error", r.err)
		return r.err
	case errors.Is(r.err, ErrNotProcessed):
		b := backOff{wait: s.backOffAfter(r.marked.Attempts), reason: reasonRefreshFailed}
		_, _ = s.apply(c.name, r.marked, writeClear(r.mark.Nonce, &b))
		log.Warn("refresh failed", "result", "not_sent", "error", r.err)
		return &TokenError{Kind: ErrRefreshFailed, Connection: c.name, RetryAfter: b.wait, Err: r.err}
	case r.first && hasOtherSecret(r.err):
		return s.withOtherSecret(c, r, log)
	case errors.Is(r.err, ErrRateLimited), errors.Is(r.err, ErrMisconfigured):
		return s.postponed(c, r, log)
	}
	log.Warn("refresh is ambiguous and will be settled by introspection", "result", "ambiguous", "error", r.err)
	return nil
}

// ended: Pleo says that the grant has ended. The verdict is conditional: a
// record that has changed meanwhile is not touched. While the store is away
// the verdict is held like a pair.
func (s *Source) ended(c *connection, r refreshed, log *slog.Logger) error {
	log.Error("the grant has ended: reauthorisation required", "result", "terminal", "error", r.err)
	version := random128()
	end := func() error {
		after, err := s.apply(c.name, r.marked, writeEnd(r.spent.version, r.mark.Nonce, version, r.reason, false))
		if errors.Is(err, errRefused) {
			return nil
		}
		if err == nil {
			_, err = s.adopt(c, after, s.subscription.Load())
		}
		return err
	}
	err := end()
	if err == nil {
		return nil
	}
	s.refuse(c, r.spent.version)
	s.goWork(func() { s.untilDone(c, func() bool { return end() == nil }) })
	return s.storeError(c.name, err)
}

// refuse makes the process stop using a token that Pleo has declared dead.
func (s *Source) refuse(c *connection, version string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.view.Load(); v != nil && v.version == version && !v.dead {
		known := *v
		known.dead = true
		s.putView(c, &known)
	}
}

// untilDone repeats what has to reach the store, with a back-off, for as long
// as the process lives. News of the connection make it try at once.
func (s *Source) untilDone(c *connection, try func() bool) {
	for k := 0; ; k++ {
		news := c.news()
		timer := time.NewTimer(min(s.backOffAfter(k), holdRetry))
		select {
		case <-timer.C:
		case <-news:
		case <-s.abandon:
			timer.Stop()
			return
		}
		timer.Stop()
		if try() {
			return
		}
	}
}

// holdRetry bounds the wait between attempts to store what is held: a store
// that is back should have it within moments.
const holdRetry = 2 * time.Second

// postponed: Pleo is too busy, or refuses the client. The mark stays, for it
// is not certain that nothing was processed, and is settled after the wait.
func (s *Source) postponed(c *connection, r refreshed, log *slog.Logger) error {
	var oauth *OAuthError
	errors.As(r.err, &oauth)
	b := backOff{
		wait:   max(oauth.RetryAfter, s.backOffAfter(r.marked.Attempts), r.mark.Life),
		reason: reasonRefreshFailed,
	}
	kind := ErrRefreshFailed
	if errors.Is(r.err, ErrMisconfigured) {
		b.reason, kind = reasonClientRejected, ErrClientRejected
		log.Error("Pleo refuses the client id or secret; grants are kept", "result", "misconfigured", "error", r.err)
	} else {
		log.Warn("refresh postponed", "result", "rate_limited", "wait", b.wait)
	}
	_, _ = s.apply(c.name, r.marked, writeNote(r.spent.version, b))
	return &TokenError{Kind: kind, Connection: c.name, RetryAfter: b.wait, Err: r.err}
}
