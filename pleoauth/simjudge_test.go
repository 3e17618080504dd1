package pleoauth_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// broken notes the first violation of an invariant.
func (s *sim) broken(format string, args ...any) {
	if s.bad == "" {
		s.bad = fmt.Sprintf(format, args...)
		s.say("VIOLATION %s", s.bad)
	}
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
	return s.bad != ""
}

// judge: I2, I3 and I4, once faults have ended and everything had its time.
func (s *sim) judge() simOutcome {
	c := s.pleo.Counters()
	record := s.store.record("default")
	s.say("the record says %s %s, generation %d", record.State, record.Reason, record.Generation)
	for _, p := range s.living() {
		s.judgeProcess(p, record.State)
	}
	lost := 0
	if record.State != pleoauth.StateConnected && !s.revoked {
		if len(s.lostBy) == 0 {
			s.broken("I2: a grant was lost although no process and no answer was")
		}
		lost = 1
	}
	if c.TokenRequests > 400 {
		s.broken("I4: refreshes without end")
	}
	if c.Introspections > 400 {
		s.broken("I4: introspections without end")
	}
	return simOutcome{refreshes: c.Refreshes, replays: c.Replays, faults: s.faults, lost: lost, violation: s.bad}
}

func (s *sim) judgeProcess(p *process, state pleoauth.State) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	token, err := p.Token(ctx, "default")
	if err == nil && !s.lives(token) { // refreshed at this moment: as a call would
		token, err = p.Refused(ctx, "default", token)
	}
	switch state {
	case pleoauth.StateConnected:
		if err != nil {
			s.broken("I3: %c does not serve a connected connection: %v", 'A'+rune(p.number), err)
		} else if !s.lives(token) {
			s.broken("I3: %c serves a dead token", 'A'+rune(p.number))
		}
	case pleoauth.StateReauthorisationRequired:
		// A replica that missed the notice uses a token to its end if Pleo still
		// takes it, as after an answer that had no refresh token.
		if !errors.Is(err, pleoauth.ErrReauthorisationRequired) && (err != nil || !s.lives(token)) {
			s.broken("I3: %c does not learn that it ended: %v", 'A'+rune(p.number), err)
		}
	default:
		if !errors.Is(err, pleoauth.ErrNotConnected) {
			s.broken("I3: %c does not know that there is no grant: %v", 'A'+rune(p.number), err)
		}
	}
	if p.Health(ctx).Unsaved != 0 {
		s.broken("I3: %c still holds a pair", 'A'+rune(p.number))
	}
}
