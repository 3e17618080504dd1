package pleoauth

import (
	"errors"
	"log/slog"
	"sync"
	"time"
)

// What is observed takes one line where it happens, and stands here: what
// counts as what, and what the log says of it.

func (s *Source) hit() {
	if f := s.observer.Load().Hit; f != nil {
		f()
	}
}

func (s *Source) missed(cause MissCause) {
	if f := s.observer.Load().Missed; f != nil {
		f(cause)
	}
}

func (s *Source) refreshEnded(err error, after RefreshAfter, took time.Duration) {
	if f := s.observer.Load().Refreshed; f != nil {
		f(refreshResult(err), after, took)
	}
}

func refreshResult(err error) RefreshResult {
	switch {
	case err == nil:
		return RefreshStored
	case errors.Is(err, ErrTerminal):
		return RefreshTerminal
	case errors.Is(err, ErrNotProcessed):
		return RefreshNotSent
	case errors.Is(err, ErrRateLimited):
		return RefreshRateLimited
	case errors.Is(err, ErrMisconfigured):
		return RefreshMisconfigured
	}
	return RefreshAmbiguous
}

// afterSettling is what a token is sent after, if it is under a mark that
// replaces the one with the nonce settled.
func afterSettling(settled string) RefreshAfter {
	if settled != "" {
		return AfterActive
	}
	return AfterNothing
}

// notDialled: the token endpoint could not be connected to.
func (a *attempt) notDialled(snap Snapshot, err error, wait, took time.Duration) {
	a.refreshEnded(err, a.after, took)
	a.logger().Warn("refresh failed: the token endpoint cannot be connected to", "connection", a.c.name,
		"generation", snap.Generation, "duration", took, "result", string(RefreshNotSent), "wait", wait, "error", err)
}

// settled notes what Pleo said, asked at the given time, of a token whose mark is
// over, or is not.
func (a *attempt) settled(snap Snapshot, said asked, began time.Time, over bool) {
	log := a.logger().With("connection", a.c.name, "generation", snap.Generation, "duration", time.Since(began))
	result := SettledInactive
	switch {
	case said.tokenAnswer == noAnswer:
		result = SettledUnknown
		log.Warn("a refresh could not be settled", "result", string(result), "error", said.err)
	case said.tokenAnswer == tokenSilent:
		result = SettledUnknown
		log.Warn("a refresh could not be settled", "result", string(result), "error", errSilent)
	case said.tokenAnswer == tokenLives && over:
		result = SettledActive
		log.Info("settled: the refresh was not processed; it will be done again", "result", string(result))
	case said.tokenAnswer == tokenLives:
		result = SettledActive
		log.Debug("the refresh was not processed so far; Pleo is asked again when its mark is over", "result", string(result))
	default:
		log.Info("settled: the refresh was processed; the replica that has the new pair is asked for it", "result", string(result))
	}
	a.settleEnded(result)
}

// lostGrant notes that a connection has ended, and how.
func (a *attempt) lostGrant(snap Snapshot, reason Reason) {
	log := a.logger().With("connection", a.c.name, "generation", snap.Generation, "duration", time.Since(a.f.started))
	if reason == ReasonRevokedOrExpired {
		log.Error("Pleo says that the grant has ended: reauthorisation required", "result", "terminal")
		a.refreshEnded(&OAuthError{Kind: ErrTerminal}, AfterNothing, time.Since(a.f.started))
		return
	}
	log.Error("a refresh was processed and its answer was lost: reauthorisation required", "result", "lost_response")
	a.settleEnded(SettledLostResponse)
}

// heldLog is the log for a pair that is held, or was.
func (s *Source) heldLog(c *connection, h *heldPair) *slog.Logger {
	if h.since.IsZero() {
		h.since = time.Now()
	}
	return s.logger().With("connection", c.name, "generation", h.pair.generation, "duration", time.Since(h.since))
}

// heldResult says what has become of a held pair.
func heldResult(stored bool) string {
	if stored {
		return "stored"
	}
	return "superseded" // the record is newer, or Pleo says that the pair is dead
}

func (s *Source) settleEnded(result SettleResult) {
	if f := s.observer.Load().Settled; f != nil {
		f(result)
	}
}

// lockWaited notes how long it took to get a lock, or to give up. Where that
// takes long, calls may be waiting for it.
func (s *Source) lockWaited(c *connection, began time.Time, result string) {
	waited := time.Since(began)
	if f := s.observer.Load().LockWaited; f != nil {
		f(waited)
	}
	if waited < s.config().RefreshTimeout/2 {
		return
	}
	log := s.logger().With("connection", c.name, "duration", waited)
	if v := c.view.Load(); v != nil {
		log = log.With("generation", v.generation)
	}
	log.Warn("the connection's lock was long in coming", "result", result)
}

// lockResult says how a wait for a lock has ended.
func lockResult(lock *heldLock, err error) string {
	switch {
	case err != nil:
		return "given_up"
	case lock == nil:
		return "not_needed" // another replica has done the work
	}
	return "obtained"
}

func (s *Source) gateWaited(began time.Time) {
	if f := s.observer.Load().GateWaited; f != nil {
		f(time.Since(began))
	}
}

func (s *Source) refusedFor(cause RefusalCause) {
	if f := s.observer.Load().Refused; f != nil {
		f(cause)
	}
}

// whyRefused is for a token that is replaced by now, or known to be dead.
func whyRefused(refused *Token, now *view) RefusalCause {
	if now.version == refused.version {
		return RefusalDead
	}
	return RefusalReplaced
}

func (s *Source) authorisationEnded(err error) {
	if f := s.observer.Load().Authorised; f != nil {
		f(authorisationResult(err))
	}
}

func authorisationResult(err error) AuthorisationResult {
	switch {
	case err == nil:
		return AuthorisationConnected
	case errors.Is(err, ErrDenied):
		return AuthorisationDenied
	case errors.Is(err, ErrUnknownFlow):
		return AuthorisationUnknownFlow
	case errors.Is(err, ErrOtherBrowser):
		return AuthorisationOtherBrowser
	case errors.Is(err, ErrInvalidTicket):
		return AuthorisationInvalidTicket
	case errors.Is(err, ErrOtherSubject):
		return AuthorisationOtherSubject
	case errors.Is(err, ErrAuthorisationPending):
		return AuthorisationPending
	case errors.Is(err, ErrSuperseded):
		return AuthorisationSuperseded
	case errors.Is(err, ErrSubjectUnknown):
		return AuthorisationSubjectUnknown
	case errors.Is(err, ErrClientRejected):
		return AuthorisationClientRejected
	case errors.Is(err, ErrExchangeFailed):
		return AuthorisationExchangeFailed
	}
	return AuthorisationStoreUnavailable
}

func (s *Source) swept(result SweepResult, due int) {
	if f := s.observer.Load().Swept; f != nil {
		f(result, due)
	}
}

// leftFor is how long a grant counts that a sweep has met and not renewed: as
// long as the sweeps of all replicas may take to meet it again.
const leftFor = 15 * time.Minute

// oldestLeft is the oldest grant that sweeps have met and left as it was.
type oldestLeft struct {
	mu            sync.Mutex
	c             *connection
	obtained, met time.Time
}

// leave notes what a sweep has left of a connection.
func (o *oldestLeft) leave(c *connection) {
	v := c.view.Load()
	if v == nil {
		return
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	same := o.c == c
	switch {
	case same && v.pair == nil:
		o.c = nil
	case v.pair != nil && (same || o.c == nil || now.Sub(o.met) > leftFor || v.pair.obtained.Before(o.obtained)):
		o.c, o.obtained, o.met = c, v.pair.obtained, now
	}
}

func (o *oldestLeft) age(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.c == nil || now.Sub(o.met) > leftFor {
		return 0
	}
	return now.Sub(o.obtained)
}

// log is the log with what every line on a refresh says.
func (r refreshed) log(c *connection, log *slog.Logger) *slog.Logger {
	log = log.With("connection", c.name, "generation", r.spent.generation, "duration", time.Since(r.before))
	if r.after == AfterActive {
		log = log.With("after", string(r.after))
	}
	return log
}
