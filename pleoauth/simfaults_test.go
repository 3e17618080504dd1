package pleoauth_test

import (
	"context"
	"fmt"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// longest is how long a pause, a cut or the time without a process lasts.
const longest = 40 * time.Second

// simSteps are the steps of the protocol before or after which a fault can
// come: each exchange with the store and with Pleo.
var simSteps = []string{
	"lock before", "lock after", "read before", "read after", "dial before", "publish before", "publish after",
	"swap before", "swap after", "pleo write", "pleo read", "renew before", "renew after", "release before", "release after",
	"watch before", "watch after",
}

func (s *sim) length() time.Duration { return time.Duration(1 + s.rng.Int64N(int64(longest))) }
func (s *sim) moment() time.Duration { return time.Duration(s.rng.Int64N(int64(s.window))) }
func (s *sim) someone() *process     { return s.procs[s.rng.IntN(len(s.procs))] }

// plan places the schedule's faults.
func (s *sim) plan() {
	if s.nuisance {
		return
	}
	for range 1 + s.rng.IntN(4) {
		s.faults++
		p, length := s.someone(), s.length()
		if s.rng.IntN(3) > 0 {
			at, what := simSteps[s.rng.IntN(len(simSteps))], s.rng.IntN(8)
			key := p.at(at, 1+s.rng.IntN(6), func() { s.atStep(p, at, what, length) })
			s.say("planned for %s at %s: fault %d (%v)", p, key, what, length)
			continue
		}
		delay, what := s.moment(), s.rng.IntN(7)
		time.AfterFunc(delay, func() {
			s.awaitTruce()
			s.atTime(p, what, length)
		})
		s.say("planned in %v: event %d (%v) at %s", delay, what, length, p)
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
		s.failover(1 + int(length)%2)
	case 5:
		s.say("the store loses its locks")
		s.note(func(l *ledger) { l.locks = true })
		s.store.loseLocks()
	case 6:
		s.cut(p, length)
	case 7:
		s.cut(p, length)
		time.AfterFunc(length/2, func() { p.kill("while it is cut off", length) })
	}
}

func (s *sim) atTime(p *process, what int, length time.Duration) {
	switch what {
	case 0:
		s.failover(-1)
	case 1:
		s.cut(p, length)
	case 2:
		s.say("a user authorises again")
		_ = s.authoriseAs(p, "default")
	case 3:
		if int(length)%3 == 0 {
			s.revoke(pleotest.Target{Company: s.companyOf("default")})
		}
	case 4:
		s.failover(2)
	case 5:
		p.pause(length)
	case 6:
		s.disconnect(p, "default")
	}
}

// failover makes another server take over, without the last writes, or with
// nothing where writes is negative.
func (s *sim) failover(writes int) {
	s.say("the store fails over, without %d of its writes", writes)
	s.note(func(l *ledger) { l.locks, l.forgot = true, true })
	s.store.failover(writes)
}

func (s *sim) cut(p *process, length time.Duration) {
	s.say("%s is cut off the store for %v", p, length)
	s.note(func(l *ledger) { l.locks = true })
	p.store.setAway(true)
	time.AfterFunc(length, func() { p.store.setAway(false) })
}

func (s *sim) disconnect(p *process, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := p.Disconnect(ctx, name)
	s.say("%s disconnects %s: %v", p, name, err)
	s.userOf(name, func(u *acts) {
		u.count++
		if err == nil {
			u.disconnected = true
		} else {
			u.perhapsDisconnected = true // the answer may have been lost
		}
	})
}

func (s *sim) pleoFault() {
	refresh := pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Skip: s.rng.IntN(3)}
	d := time.Duration(s.rng.Int64N(int64(20 * time.Second)))
	switch s.rng.IntN(12) {
	case 0:
		refresh.Drop = pleotest.BeforeProcessing
	case 1:
		refresh.Drop = pleotest.AfterProcessing
	case 2:
		refresh.DelayAfter = d
	case 3:
		refresh.Status, refresh.Process, refresh.ProcessAfter = 500, pleotest.ProcessedLater, min(d/3, s.processing())
	case 4:
		refresh.Status = 503
	case 5:
		refresh.Status, refresh.Body, refresh.Process = 200, "<html>", pleotest.ProcessedFirst
	case 6:
		refresh.Status = 429
	case 7:
		refresh.Omit = []string{"refresh_token"}
	case 8:
		refresh.DelayBefore = min(d/3, s.processing())
	case 9:
		if times := 1 + s.rng.IntN(3); !s.believes() {
			s.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: times})
		}
		refresh.Drop = pleotest.BeforeProcessing
	case 10:
		refresh.Drop = pleotest.MidBody
	case 11:
		refresh.Status, refresh.Times = 503, pleotest.Always // until faults end
	}
	s.say("Pleo: %+v", refresh)
	s.pleo.Fault(refresh)
}

// processing is how long Pleo may work on a request at the most: what is later
// than a mark lives, counted from the latest moment that the token may leave, no
// protocol can exclude.
func (s *sim) processing() time.Duration {
	if s.apart() && !s.slowly { // two that know nothing of each other wait for each other's turn, see simsent_test.go
		return quickly
	}
	timeout := s.cfg.WithDefaults().RefreshTimeout
	return timeout + 5*time.Second - timeout/2 - 100*time.Millisecond
}

// note changes what judgements have to know.
func (s *sim) note(change func(*ledger)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.ledger)
}

// at places a fault at the n-th time from now that the process takes a step.
func (p *process) at(step string, n int, fault func()) (key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key = fmt.Sprintf("%s %d", step, p.ops[step]+n)
	p.faults[key] = fault
	return key
}
