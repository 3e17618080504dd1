package pleoauth_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// ledger is what judgements have to know of a schedule: what happened to it,
// and where each pair that Pleo issued went.
type ledger struct {
	sameFamily                        bool // a second consent replaces the first at Pleo
	revoked                           bool // by the user, since the last consent
	disconnected, perhapsDisconnected bool
	acts                              int // revocations and disconnects
	consents                          int // after the first
	failedConsent                     bool
	forgot                            bool // the store may have lost writes
	locks                             bool // or locks, or a process may have been too late to renew one

	received map[string]*process // by refresh token: who has read the whole answer
	died     map[string]bool     // went with a process that had neither stored nor spilled it
}

func (l *ledger) init() {
	l.received, l.died = map[string]*process{}, map[string]bool{}
}

// broken notes the first violation of an invariant.
func (s *sim) broken(format string, args ...any) {
	s.mu.Lock()
	first := s.bad == ""
	if first {
		s.bad = fmt.Sprintf(format, args...)
	}
	s.mu.Unlock()
	if first {
		s.say("VIOLATION %s", s.bad)
	}
}

func (s *sim) isBroken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad != ""
}

// replayed: I1.
func (s *sim) replayed() bool {
	c := s.pleo.Counters()
	if c.Replays > 0 {
		s.broken("I1: a refresh token was spent twice")
	}
	if c.CodeReplays > 0 {
		s.broken("I1: a code was spent twice")
	}
	return s.isBroken()
}

// swapped judges every write to the store: I2.
func (s *sim) swapped(name string, before, after pleoauth.Record) {
	if s.replayed() || before.State == "" {
		return
	}
	if after.Empty() && before.State == pleoauth.StateConnected {
		s.broken("I2: a grant's record was removed")
	}
	if after.Empty() {
		return
	}
	if cmp.Or(cmp.Compare(after.Seq, before.Seq), cmp.Compare(after.Generation, before.Generation)) < 0 {
		s.broken("I2: an older grant was written over a newer one")
	}
	if before.State != pleoauth.StateConnected || after.State == pleoauth.StateDisconnected || after.Seq != before.Seq {
		return
	}
	was := s.refreshToken(name, before)
	if (after.State != pleoauth.StateConnected || s.refreshToken(name, after) != was) && s.isLive(was) {
		s.broken("I2: a live grant was overwritten or wiped")
	}
}

// refreshToken returns the one in a record, "" if it has none.
func (s *sim) refreshToken(name string, r pleoauth.Record) string {
	if r.State != pleoauth.StateConnected {
		return ""
	}
	g, err := pleoauth.OpenGrant(s.opener, s.cfg, name, r.Sealed)
	if err != nil {
		return ""
	}
	return g.RefreshToken
}

func (s *sim) isLive(refreshToken string) bool {
	return slices.ContainsFunc(s.pleo.Authorisations(pleotest.Target{}), func(a pleotest.Authorisation) bool {
		return a.Connected && a.RefreshToken == refreshToken
	})
}

// judgeToken: no connection ever gets another's token.
func (s *sim) judgeToken(name string, token *pleoauth.Token) {
	if len(s.names) == 1 {
		return
	}
	for _, other := range s.names {
		if other == name {
			continue
		}
		for _, a := range s.pleo.Authorisations(pleotest.Target{Company: s.companyOf(other)}) {
			if a.AccessToken != "" && token.Authorization() == "Bearer "+a.AccessToken {
				s.broken("a call for %s got the token of %s", name, other)
			}
		}
	}
}

// judge: I2, I3 and I4, once faults have ended and everything had its time.
func (s *sim) judge() simOutcome {
	c := s.pleo.Counters()
	lost := 0
	if !s.replayed() {
		for _, name := range s.names {
			record := s.store.record(name)
			s.say("the record of %s says %s %s, generation %d", name, record.State, record.Reason, record.Generation)
			for _, p := range s.living() {
				s.judgeProcess(p, name, record.State)
			}
			lost += s.judgeEnd(name, record)
		}
	}
	for _, p := range s.living() {
		if unsaved := p.Health(context.Background()).Unsaved; unsaved != 0 {
			s.broken("I3: %s still holds %d pairs", p, unsaved)
		}
	}
	if limit := 150 * len(s.names); c.TokenRequests > limit || c.Introspections > limit {
		s.broken("I4: %d requests to the token endpoint, %d introspections", c.TokenRequests, c.Introspections)
	}
	return simOutcome{Refreshes: c.Refreshes, Replays: c.Replays, Faults: s.faults, Lost: lost, violation: s.bad}
}

// judgeEnd says whether a grant was lost, and sees that it was lost with a
// process or with an answer, where nobody can help it.
func (s *sim) judgeEnd(name string, record pleoauth.Record) (lost int) {
	s.mu.Lock()
	l := s.ledger
	s.mu.Unlock()
	first := name == s.names[0] // the one that users act on
	switch record.State {
	case pleoauth.StateDisconnected:
		if !first || !l.disconnected && !l.perhapsDisconnected && l.consents == 0 {
			s.broken("I2: disconnected by nobody")
		}
		return 0
	case pleoauth.StateConnected:
		if first && l.disconnected && !l.forgot && l.consents == 0 {
			s.broken("I2: a disconnect was undone")
		}
		return 0
	case pleoauth.StateReauthorisationRequired:
	}
	if first && (l.revoked || l.disconnected || l.perhapsDisconnected || l.failedConsent) {
		return 0
	}
	if first && l.consents > 0 && (l.forgot || len(l.died) > 0) {
		return 0 // protocol's section on what nobody can exclude: a consent and another fault
	}
	live := false
	for _, a := range s.pleo.Authorisations(pleotest.Target{Company: s.companyOf(name)}) {
		if !a.Connected {
			continue
		}
		live = true
		p := l.received[a.RefreshToken]
		switch {
		case first && l.consents > 0: // of which authorisation it is, nobody can tell here
		case p == nil: // the answer was lost
		case !p.dead.Load():
			s.broken("I2: %s has the live pair, and the record says %q", p, record.State)
		case !l.died[a.RefreshToken] && !l.forgot:
			s.broken("I2: the live pair was stored or on %s's disk, and the record says %q", p, record.State)
		}
	}
	switch {
	case !live:
		s.broken("I2: the grant is dead, and nobody revoked it")
	case record.State == "" && !l.forgot:
		s.broken("I2: the record is gone")
	case record.State != "" && record.Reason != pleoauth.ReasonLostResponse:
		s.broken("I2: the pair was lost, and the reason is %q", record.Reason)
	}
	return 1
}

func (s *sim) judgeProcess(p *process, name string, state pleoauth.State) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	token, err := p.Token(ctx, name)
	if err == nil && !s.lives(token) { // refreshed at this moment: as a call would
		token, err = p.Refused(ctx, name, token)
	}
	switch state {
	case pleoauth.StateConnected:
		if err != nil {
			s.broken("I3: %s does not serve a connected connection: %v", p, err)
		} else if !s.lives(token) {
			s.broken("I3: %s serves a dead token", p)
		}
	case pleoauth.StateReauthorisationRequired:
		// A replica that missed the notice uses a token to its end if Pleo still
		// takes it, as after an answer that had no refresh token.
		if !errors.Is(err, pleoauth.ErrReauthorisationRequired) && (err != nil || !s.lives(token)) {
			s.broken("I3: %s does not learn that it ended: %v", p, err)
		}
	default:
		if !errors.Is(err, pleoauth.ErrNotConnected) {
			s.broken("I3: %s does not know that there is no grant: %v", p, err)
		}
	}
}

// locked sees that no two living processes are at the same connection at once,
// unless something has happened to the lock: it saves work, and has to.
func (s *sim) locked(p *process, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.procs {
		if other != p && !other.dead.Load() && other.inside[name] && !s.ledger.locks && s.bad == "" {
			s.bad = fmt.Sprintf("the lock: %s and %s are at it at once", other, p)
		}
	}
	p.inside[name] = true
}

func (s *sim) unlocked(p *process, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.inside[name] = false
}
