package pleoauth_test

import (
	"time"
)

// planHang has the store answer nothing for a while, to one process or to all:
// commands hang until they are given up, or longer, and are carried out late.
func (s *sim) planHang() {
	length, stubborn, all, p := s.between(time.Second, 30*time.Second), s.chance(3), s.chance(2), s.anyProcess()
	s.in(s.between(0, s.window), "the store hangs", func() {
		s.say("the store hangs for %v (all: %v, or %s), and commands do not end with their context: %v", length, all, p, stubborn)
		s.note(func(l *ledger) { l.locks = true })
		if !all {
			p.store.hangs(length, stubborn)
			return
		}
		for _, p := range s.living() {
			p.store.hangs(length, stubborn)
		}
	})
}

// planReadOnly has the store refuse to write, in a way that proves that nothing was
// written.
func (s *sim) planReadOnly() {
	length := s.between(time.Second, 30*time.Second)
	s.in(s.between(0, s.window), "the store is read-only", func() {
		s.say("the store refuses to write for %v", length)
		s.note(func(l *ledger) { l.locks = true })
		s.store.refuseWrites(length)
	})
}
