package pleoauth_test

import (
	"time"

	"github.com/stretchr/testify/require"
)

// planOtherConsent has a company consent once more at Pleo, for a name that is not
// of this store: where that is the same authorisation, it ends the pair that the
// connection has, and the pair that it brings is another's.
func (s *sim) planOtherConsent() {
	for range 1 + s.odds.IntN(2) {
		s.in(s.between(0, s.window), "a consent of another name", func() {
			for s.turnOf(nil) && s.sleep(10*time.Millisecond) { // P8
			}
			s.endedAtPleo()
			granted, err := s.pleo.Issue("", s.companyOf("default"), "")
			require.NoError(s.t, err)
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

// endedAtPleo notes that something ends tokens at Pleo that no process can have
// heard of: what is on its way comes too late.
func (s *sim) endedAtPleo() {
	travelling := len(s.travelling())
	s.note(func(l *ledger) { l.endedAt, l.excused = time.Now(), l.excused+travelling })
}
