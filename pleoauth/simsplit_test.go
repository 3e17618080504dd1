package pleoauth_test

import (
	"slices"
	"time"
)

// planSplit splits the store: some processes stay with the old master, which has
// lost its replicas, and the rest goes on with the one that was promoted in its
// place, perhaps without the last write. In the end what the old master has is
// thrown away.
func (s *sim) planSplit() {
	began, length := s.between(0, 20*time.Second), s.between(10*time.Second, s.window)
	stay := []*process{s.anyProcess()}
	if len(s.procs) > 2 && s.chance(3) {
		if other := s.anyProcess(); other != stay[0] {
			stay = append(stay, other)
		}
	}
	if s.chance(12) {
		stay = slices.Clone(s.procs)
	}
	writes := s.odds.IntN(3)
	s.in(began, "the network splits", func() {
		s.say("the network splits for %v: %v stay with the old master, the other side has lost %d writes", length, stay, writes)
		s.note(func(l *ledger) { l.locks, l.forgot = true, true })
		var stores []*memStore
		for _, p := range stay {
			if !p.dead.Load() {
				stores = append(stores, p.store)
			}
		}
		s.old = s.store.split(stores, writes)
		time.AfterFunc(length, s.endSplit)
	})
}

func (s *sim) endSplit() {
	s.mu.Lock()
	old := s.old
	s.old = nil
	s.mu.Unlock()
	if old == nil {
		return
	}
	s.say("the network is whole again, and what the old master has is thrown away")
	s.store.rejoin(old)
}

// server returns the one that a process's store is with.
func (p *process) server() *memServer {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	return p.store.server
}
