package pleoauth_test

import (
	"context"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// planClose has a process told to end, as by SIGTERM: while a refresh is under way,
// or at any moment; some are killed while they end.
func (s *sim) planClose() {
	p, notice, bound := s.anyProcess(), s.between(0, 3*time.Second), s.between(2*time.Second, longest)
	restart, slow := s.between(0, longest), s.between(time.Second, 15*time.Second)
	killed := time.Duration(-1)
	if s.chance(3) {
		killed = s.between(0, 5*time.Second)
	}
	end := func() { s.endProcess(p, notice, bound, restart, killed) }
	if s.chance(2) {
		s.in(s.between(0, s.window), "a process ends in order", end)
		return
	}
	s.in(s.between(0, s.window*2/3), "a process ends in order while a refresh is under way", func() {
		s.when(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayAfter: slow}, func() {
			s.awaitTruce()
			for _, r := range s.travelling() {
				p = r.p
			}
			end()
		})
	})
}

// endProcess tells a process that it is about to end, and a little later to end,
// within a bound.
func (s *sim) endProcess(p *process, notice, bound, restart, killed time.Duration) {
	if p.dead.Load() || p.ending.Swap(true) {
		return
	}
	s.say("%s is told that it will end in %v, within %v", p, notice, bound)
	if killed >= 0 {
		time.AfterFunc(killed, func() { p.kill("while it ends", restart) })
	}
	s.sleep(notice)
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	err := p.Close(ctx)
	s.say("%s has ended in order, after %v: %v", p, time.Since(began), err)
	if p.dead.Load() {
		return
	}
	p.kill("after it has ended in order", restart)
	if err != nil {
		return
	}
	s.mu.Lock()
	var lost bool
	for token, by := range s.ledger.received {
		lost = lost || by == p && s.ledger.died[token] && !s.ledger.lied[token] && s.isLive(token)
	}
	lost = lost && !s.ledger.forgot && len(s.ledger.users) == 0 // else it may be of an authorisation before the last
	s.mu.Unlock()
	if lost {
		s.broken("I2: %s has ended in order, and the pair that it had is nowhere", p)
	}
}
