package pleoauth_test

import (
	"context"
	"fmt"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

var simSteps = []string{
	"lock before", "lock after", "pleo write", "read before", "read after", "dial before", "swap before", "swap after",
	"pleo read", "renew before", "renew after", "publish before", "release before", "watch before", "watch after",
}

// plan places the schedule's faults.
func (s *sim) plan() {
	for range 1 + s.rng.IntN(4) {
		s.faults++
		if s.rng.IntN(2) == 0 {
			p := s.procs[s.rng.IntN(len(s.procs))]
			at := simSteps[s.rng.IntN(len(simSteps))]
			occurrence := 1 + s.rng.IntN(6)
			what, length := s.rng.IntN(7), time.Duration(1+s.rng.Int64N(int64(50*time.Second)))
			p.mu.Lock()
			key := fmt.Sprintf("%s %d", at, p.ops[at]+occurrence)
			p.faults[key] = func(p *process) { s.atStep(p, at, what, length) }
			p.mu.Unlock()
			s.say("planned for %c at %s: fault %d (%v)", 'A'+rune(p.number), key, what, length)
			continue
		}
		delay := time.Duration(s.rng.Int64N(int64(40 * time.Minute)))
		what, length := s.rng.IntN(6), time.Duration(1+s.rng.Int64N(int64(50*time.Second)))
		who := s.rng.IntN(len(s.procs))
		p := s.procs[who]
		time.AfterFunc(delay, func() { s.atTime(p, what, length) })
		s.say("planned in %v: event %d (%v) at %d", delay, what, length, who)
	}
	for range s.rng.IntN(3) {
		s.faults++
		s.pleoFault()
	}
}

func (s *sim) atStep(p *process, at string, what int, length time.Duration) {
	switch what {
	case 0, 1:
		p.kill("at "+at, length)
	case 2, 3:
		p.pause(length)
	case 4:
		s.say("the store fails over, without its last write")
		s.store.failover(1 + int(length)%2)
	case 5:
		s.say("the store loses its locks")
		s.store.loseLocks()
	case 6:
		s.cut(p, length)
	}
}

func (s *sim) atTime(p *process, what int, length time.Duration) {
	switch what {
	case 0:
		s.say("the store is emptied")
		s.store.failover(-1)
	case 1:
		s.cut(p, length)
	case 2:
		s.say("a user authorises again")
		s.reauthorise(p)
	case 3:
		if int(length)%3 == 0 {
			s.say("the grant is revoked at Pleo")
			s.mu.Lock()
			s.revoked = true
			s.mu.Unlock()
			s.pleo.Revoke(pleotest.Target{})
		}
	case 4:
		s.say("the store fails over, without its last two writes")
		s.store.failover(2)
	case 5:
		p.pause(length)
	}
}

func (s *sim) cut(p *process, length time.Duration) {
	s.say("%c is cut off the store for %v", 'A'+rune(p.number), length)
	p.store.setAway(true)
	time.AfterFunc(length, func() { p.store.setAway(false) })
}

func (s *sim) reauthorise(p *process) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	begun, err := p.BeginAuthorisation(ctx, pleoauth.AuthorisationRequest{Connection: "default"})
	if err != nil {
		return
	}
	back, err := s.pleo.Approve(begun.URL, "")
	if err != nil {
		return
	}
	if _, err = p.CompleteAuthorisation(ctx, callback(s.t, back, begun)); err == nil {
		s.mu.Lock()
		s.revoked = false
		s.mu.Unlock()
	}
	if err != nil { // a code may have been exchanged, which may have ended the grant before
		s.mu.Lock()
		s.lostBy = append(s.lostBy, "consent")
		s.mu.Unlock()
	}
	s.say("authorised: %v", err)
}

func (s *sim) pleoFault() {
	refresh := pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Skip: s.rng.IntN(4)}
	d := time.Duration(s.rng.Int64N(int64(20 * time.Second)))
	loses := false
	switch s.rng.IntN(10) {
	case 0:
		refresh.Drop = pleotest.BeforeProcessing
	case 1:
		refresh.Drop, loses = pleotest.AfterProcessing, true
	case 2:
		refresh.DelayAfter = d
	case 3:
		refresh.Status, refresh.Process, refresh.ProcessAfter, loses = 500, pleotest.ProcessedLater, d/3, true
	case 4:
		refresh.Status = 503
	case 5:
		refresh.Status, refresh.Body, refresh.Process, loses = 200, "<html>", pleotest.ProcessedFirst, true
	case 6:
		refresh.Status = 429
	case 7:
		refresh.Omit, loses = []string{"refresh_token"}, true
	case 8:
		refresh.DelayBefore = d / 3
	case 9:
		s.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: 1 + s.rng.IntN(3)})
		refresh.Drop = pleotest.BeforeProcessing
	}
	if loses {
		s.lostBy = append(s.lostBy, "answer")
	}
	s.say("Pleo: %+v", refresh)
	s.pleo.Fault(refresh)
}
