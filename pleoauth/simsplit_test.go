package pleoauth_test

import (
	"slices"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
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
	writes, mute := s.odds.IntN(3), s.chance(3)
	if s.slowly {
		began, length = began/2, dropsReplicas+s.between(5*time.Second, 30*time.Second)
		s.planSlowEnd(began, stay)
	}
	s.in(began, "the network splits", func() {
		s.say("the network splits for %v: %v stay with the old master, the other side has lost %d writes", length, stay, writes)
		s.note(func(l *ledger) { l.locks, l.forgot = true, true })
		var stores []*memStore
		for _, p := range stay {
			if !p.dead.Load() {
				stores = append(stores, p.store)
			}
		}
		if mute {
			s.say("and Pleo's introspection is out of their reach")
		}
		s.mu.Lock()
		s.mute = mute
		s.mu.Unlock()
		old := s.store.split(stores, writes)
		s.mu.Lock()
		s.old = old
		s.mu.Unlock()
		time.AfterFunc(length, s.endSplit)
	})
}

func (s *sim) endSplit() {
	s.mu.Lock()
	old := s.old
	s.old, s.mute = nil, false
	s.mu.Unlock()
	if old == nil {
		return
	}
	s.say("the network is whole again, and what the old master has is thrown away")
	s.store.rejoin(old)
}

// planSlowEnd has a refresh be slow on its way to Pleo, and the split end meanwhile:
// its sender finds a store that knows nothing of it.
func (s *sim) planSlowEnd(began time.Duration, stay []*process) {
	slow := pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken}
	if delay := s.between(s.processing()/2, s.processing()); s.chance(3) {
		slow.DelayBefore = delay
	} else {
		slow.Status, slow.Process, slow.ProcessAfter = 502, pleotest.ProcessedLater, delay
	}
	s.in(began+s.between(time.Second, dropsReplicas/2), "a user on the other side", func() {
		for _, p := range s.living() {
			if !slices.Contains(stay, p) {
				s.badCode(p) // after which the other side's record is of its own run
				return
			}
		}
	})
	s.in(began+dropsReplicas+time.Second, "a refresh is slow, and the split ends", func() {
		s.when(slow, func() {
			if all := s.travelling(); len(all) > 0 && all[len(all)-1].server.alone() {
				s.say("a refresh of %s is slow on its way to Pleo", all[len(all)-1].p)
				s.endSplit()
			}
		})
	})
}

// isIdle reports whether a process has no calls: those on the promoted server's side
// have none where a refresh from the other side is to meet what they have.
func (s *sim) isIdle(p *process) bool {
	s.mu.Lock()
	split := s.slowly && s.old != nil
	s.mu.Unlock()
	return split && p.server().cutOff.IsZero()
}

// isMute reports whether a process cannot ask Pleo about tokens.
func (s *sim) isMute(p *process) bool {
	s.mu.Lock()
	mute := s.mute
	s.mu.Unlock()
	return mute && !p.server().cutOff.IsZero()
}

// server returns the one that a process's store is with.
func (p *process) server() *memServer {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	return p.store.server
}
