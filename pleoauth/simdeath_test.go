package pleoauth_test

import (
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// planEarlyDeath has tokens die at Pleo before their time, of one kind or the
// other.
func (s *sim) planEarlyDeath() {
	company, what := s.companyOf("default"), s.odds.IntN(5)
	s.in(s.between(0, s.window), "tokens die early", func() {
		switch what {
		case 0, 1:
			s.say("the access token of default is over before its time")
			s.pleo.Expire(pleotest.Target{Company: company, Kind: pleotest.AccessToken})
		case 2:
			s.say("the next access token is dead on arrival")
			s.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, AccessDeadOnArrival: true})
		case 3:
			s.revoke(pleotest.Target{Company: company, Kind: pleotest.RefreshToken})
		case 4:
			s.when(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Company: company, RefreshDeadOnArrival: true}, func() {
				s.say("the next refresh token is dead on arrival")
				s.noteRevoked(company)
			})
		}
	})
}

// revoke ends tokens of a company at Pleo, as a user does there.
func (s *sim) revoke(target pleotest.Target) {
	s.say("the grant is revoked at Pleo %s", target.Kind)
	s.noteRevoked(target.Company)
	s.endAtPleo(func() { s.pleo.Revoke(target) })
}

func (s *sim) noteRevoked(company string) {
	s.note(func(l *ledger) { l.outside = "" })
	for _, name := range s.names {
		if s.companyOf(name) == company {
			s.userOf(name, func(u *acts) { u.revoked, u.count = true, u.count+1 })
		}
	}
}

// planSleep has the machine sleep: all processes stop at once, for longer than a
// mark lives.
func (s *sim) planSleep() {
	length := s.between(15*time.Second, 100*time.Second)
	s.in(s.between(0, s.window/2), "all processes are stopped", func() {
		for _, p := range s.living() {
			p.pause(length)
		}
	})
}
