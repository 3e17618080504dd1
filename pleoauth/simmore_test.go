package pleoauth_test

import (
	"context"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// moreFaults places faults of rarer kinds, beside those of plan.
func (s *sim) moreFaults() {
	if s.nuisance {
		return
	}
	for range s.rng.IntN(3) {
		s.faults++
		delay, what, length, p := s.moment(), s.rng.IntN(14), s.length(), s.someone()
		s.say("planned in %v: rare event %d (%v) at %s", delay, what, length, p)
		time.AfterFunc(delay, func() {
			s.awaitTruce()
			s.rare(p, what, length)
		})
	}
	for range s.rng.IntN(3) { // answers of the store that are lost after it has done what was asked
		s.faults++
		p, at, length := s.someone(), simSteps[s.rng.IntN(len(simSteps))], s.length()/8
		p.at(at, 1+s.rng.IntN(8), func() {
			s.say("%s gets no answer to %s", p, at)
			s.note(func(l *ledger) { l.locks = true })
			time.Sleep(length)
			p.unheard.Store(true)
		})
	}
}

func (s *sim) rare(p *process, what int, length time.Duration) {
	switch what {
	case 0:
		s.say("the store's clock is put %v back", length)
		s.store.setSkew(-length)
	case 1:
		s.say("the store's clock is put forward")
		s.store.setSkew(length * 100)
	case 2:
		s.say("a user comes back with a code that is no good")
		s.badCode(p)
	case 3:
		s.say("two users authorise at once")
		go func() { _ = s.authoriseAs(p, "default") }()
		_ = s.authoriseAs(s.first(), "default")
	case 4:
		if s.believes() {
			return
		}
		s.say("introspection is slow")
		s.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, DelayAfter: length / 8, Times: 4})
	case 5:
		s.say("notices come twice, and late")
		s.store.repeat("default", length)
	case 6:
		s.say("all calls of the API are refused")
		s.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
	case 7:
		s.say("tokens live for a moment")
		s.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Set: map[string]any{"expires_in": int(length) % 3}, Times: 2})
	case 8:
		s.say("the store is away for %v, and restarts without its last write", length)
		s.note(func(l *ledger) { l.locks, l.forgot = true, true })
		for _, p := range s.living() {
			s.cut(p, length)
		}
		time.AfterFunc(length/2, func() { s.store.failover(1) })
	case 9:
		s.say("a user authorises while the next refresh hangs")
		s.when(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayBefore: min(length/4, s.processing())}, func() {
			if int(length)%2 == 0 {
				s.say("and the store loses its locks")
				s.note(func(l *ledger) { l.locks = true })
				s.store.loseLocks()
			}
			_ = s.authoriseAs(p, "default")
		})
	case 10:
		s.say("two users authorise, and the first one's grant cannot be stored")
		s.when(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, DelayAfter: time.Second}, func() {
			s.cut(p, longest)
			_ = s.authoriseAs(s.first(), "default")
		})
		_ = s.authoriseAs(p, "default")
	case 11:
		s.say("the store's replicas confirm nothing for %v", length)
		s.store.setLagging(true)
		time.AfterFunc(length, func() { s.store.setLagging(false) })
	case 12:
		s.say("%s hears no notices for %v", p, length)
		p.store.setDeaf(true)
		time.AfterFunc(length, func() { p.store.setDeaf(false) })
	case 13:
		s.say("whoever has the next pair is cut off until it is asked for, and nobody hears it come back")
		s.when(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayAfter: time.Second}, s.holdBack)
	}
}

// holdBack cuts off every process but one, from which the others are asked what
// they hold: then they are back, and that one does not hear what they say.
func (s *sim) holdBack() {
	living := s.living()
	if len(living) == 0 {
		return
	}
	asker := living[len(living)-1]
	for _, p := range living {
		if p != asker {
			s.cut(p, longest)
		}
	}
	asker.store.setDeaf(true)
	s.store.whenAsked(func() {
		for _, p := range living {
			p.store.setAway(false)
		}
		time.AfterFunc(10*time.Second, func() { asker.store.setDeaf(false) })
	})
	time.AfterFunc(longest, func() { asker.store.setDeaf(false) })
}

// when has something happen as soon as a request meets a fault.
func (s *sim) when(f pleotest.Fault, then func()) {
	active := s.pleo.Fault(f)
	go func() {
		select {
		case <-active.Reached():
			then()
		case <-s.end:
		}
	}()
}

func (s *sim) badCode(p *process) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	begun, err := p.BeginAuthorisation(ctx, pleoauth.AuthorisationRequest{Connection: "default"})
	if err != nil {
		return
	}
	back, err := s.pleo.Approve(begun.URL, s.companyOf("default"))
	if err != nil {
		return
	}
	cb := callback(s.t, back, begun)
	cb.Code = "no such code"
	_, err = s.complete(p.replica, cb)
	s.say("not authorised: %v", err)
}

// repeat tells all replicas once more of a change that is long known, and of
// one that has not happened.
func (m *memServer) repeat(name string, later time.Duration) {
	for _, version := range []string{m.record(name).Version, "never"} {
		n := pleoauth.Notice{Kind: pleoauth.NoticeChanged, Connection: name, Version: version}
		time.AfterFunc(later, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.publish(n)
			m.publish(n)
		})
	}
}
