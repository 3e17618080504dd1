package pleoauth_test

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// planOtherConsent has a company consent once more at Pleo, for a name that is not
// of this store: where that is the same authorisation, it ends the pair that the
// connection has, and the pair that it brings is another's.
func (s *sim) planOtherConsent() {
	for range 1 + s.odds.IntN(2) {
		s.in(s.between(0, s.window), "a consent of another name", func() {
			for s.turnOf(nil) && s.sleep(10*time.Millisecond) { // P8
			}
			var granted pleotest.Authorisation
			s.endAtPleo(func() {
				var err error
				granted, err = s.pleo.Issue("", s.companyOf("default"), "")
				require.NoError(s.t, err)
			})
			s.say("the company consents once more, for a name elsewhere, which has the pair now")
			s.note(func(l *ledger) { l.outside, l.otherConsents = granted.RefreshToken, l.otherConsents+1 })
		})
	}
}

// planTwoNames has users authorise two names of this store for one company, in
// turn: at Pleo they are one authorisation, and each consent ends the pair of the
// other name.
func (s *sim) planTwoNames() {
	at := s.between(0, s.window/3)
	for range 1 + s.odds.IntN(3) {
		name := s.names[1-s.odds.IntN(5)/4]
		p := s.anyProcess()
		s.in(at, "a consent for "+name, func() { _ = s.authoriseAs(p, name) })
		at += s.between(time.Second, s.window/3)
	}
}

// endAtPleo does something that ends tokens at Pleo, of which no process can have
// heard: a request that is on its way with one of them comes too late.
func (s *sim) endAtPleo(act func()) {
	travelling, ended := s.travelling(), s.liveTokens()
	act()
	live := s.liveTokens()
	ended = slices.DeleteFunc(ended, func(token string) bool { return slices.Contains(live, token) })
	s.note(func(l *ledger) {
		for _, token := range ended {
			l.endedAt[token] = time.Now()
		}
		for _, r := range travelling {
			if slices.Contains(ended, r.token) {
				s.excuse(r.token)
			}
		}
	})
}

// excuse notes that a dead refresh token may come to Pleo, which ends the authorisation
// of its company. s.mu is held.
func (s *sim) excuse(token string) {
	s.ledger.excused++
	company := ""
	if name := s.ledger.stored[token]; name != "" {
		company = s.companyOf(name)
	}
	s.ledger.excusedOf[company] = true
}

// mayHaveEnded reports whether a dead token of a connection's company may have come to Pleo.
func (l *ledger) mayHaveEnded(company string) bool { return l.excusedOf[company] || l.excusedOf[""] }
