package pleoauth_test

import (
	"sync/atomic"
	"time"
)

// planStrangeHand has a hand that is none of the schedule's change the store while
// all runs: an operator writes a copy of a record back, or deletes keys.
func (s *sim) planStrangeHand() {
	for range 1 + s.odds.IntN(3) {
		name := s.names[s.odds.IntN(len(s.names))]
		at, later, what := s.between(0, s.window*2/3), s.between(time.Second, s.window/2), s.odds.IntN(8)
		if what > 4 {
			s.in(at+later, "keys are lost", func() { s.loseKeys(name, what) })
			continue
		}
		underWay := s.chance(2)
		var taken atomic.Pointer[memRecord]
		taken.Store(&memRecord{})
		if what < 4 {
			time.AfterFunc(at, func() {
				old := s.store.copyOf(name)
				s.say("an operator copies the record of %s: %s, generation %d", name, old.State, old.Generation)
				taken.Store(&old)
			})
		}
		s.in(at+later, "a record is written back, or deleted", func() {
			s.awaitQuiet(underWay)
			old := *taken.Load()
			s.say("the record of %s is put back as %q, generation %d; it was %q, generation %d", name,
				old.State, old.Generation, s.store.record(name).State, s.store.record(name).Generation)
			s.note(func(l *ledger) { l.forgot = true })
			s.store.restore(name, old)
		})
	}
}

func (s *sim) loseKeys(name string, what int) {
	s.say("keys of %s are lost: flows %v, its lock %v", name, what != 6, what != 5)
	lock := name
	if what == 5 {
		lock = "none"
	} else {
		s.note(func(l *ledger) { l.locks = true })
	}
	s.store.loseKeys(lock, what != 6)
}

// awaitQuiet waits until nothing is on its way to Pleo. With underWay it is enough
// that its sender is whole, has its lock, and is left alone until it is
// done: that a record is written back while its sender crashes or is stopped, no
// protocol excludes (P9).
func (s *sim) awaitQuiet(underWay bool) {
	for {
		whole := underWay
		all := s.travelling()
		for _, r := range all {
			whole = whole && r.token != "" && r.p.isWhole()
		}
		if len(all) == 0 {
			return
		}
		if whole {
			s.say("while a refresh of %s is under way", all[0].p)
			s.truce(25 * time.Second)
			return
		}
		if !s.sleep(50 * time.Millisecond) {
			return
		}
	}
}

// isWhole reports whether a process runs, reaches the store, and has all the locks
// that it thinks it has.
func (p *process) isWhole() bool {
	p.mu.Lock()
	paused := time.Now().Before(p.until)
	p.mu.Unlock()
	p.sim.mu.Lock()
	var inside []string
	for name, is := range p.inside {
		if is {
			inside = append(inside, name)
		}
	}
	p.sim.mu.Unlock()
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	for _, name := range inside {
		l := p.store.server.locks[name]
		if !time.Now().Before(l.until) || l.token != p.store.tokens[name] {
			return false
		}
	}
	return !paused && !p.dead.Load() && !p.ending.Load() && !p.store.away && len(inside) > 0 && !time.Now().Before(p.store.hangsUntil)
}
