package pleoauth_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// ledger is what judgements have to know of a schedule: what happened to it,
// and where each pair that Pleo issued went.
type ledger struct {
	users  map[string]*acts // by connection
	forgot bool             // the store may have lost writes
	locks  bool             // or locks, or a process may have been too late to renew one

	received map[string]*process // by refresh token: who has read the whole answer
	died     map[string]bool     // went with a process that had neither stored nor spilled it
	spilled  map[string]bool     // was on the disk of a process that was killed
	stored   map[string]string   // by refresh token: the connection that it was stored for
	families map[string]string   // the authorisations of connections that no user acts on

	// outside is the refresh token that another name's consent brought, until a
	// consent or a revocation of the schedule ends it.
	outside       string
	otherConsents int
	accessOf      map[string]string // the access token that came with a refresh token
	// contradicted are refresh tokens that Pleo has called inactive while their access
	// tokens lived: they died alone (N3).
	contradicted map[string]bool
	// endedAt is when a refresh token died at Pleo, of which no process can have heard.
	endedAt map[string]time.Time
	// lied has the live refresh tokens that Pleo has called inactive when nothing
	// contradicted it.
	lied map[string]bool
	// excused counts requests with a refresh token that is dead, or is once they
	// have arrived, where no protocol excludes that. excusedOf has their companies, ""
	// where that is not known.
	excused   int
	excusedOf map[string]bool
}

// acts are what users have done to a connection since it was first authorised.
type acts struct {
	revoked                           bool // since the last consent
	disconnected, perhapsDisconnected bool
	count                             int // revocations and disconnects
	consents, underWay, failures      int
	failed                            bool // a consent, after which none was as good as the last
}

func (l *ledger) init() {
	l.users, l.families, l.stored = map[string]*acts{}, map[string]string{}, map[string]string{}
	l.lied, l.endedAt, l.excusedOf = map[string]bool{}, map[string]time.Time{}, map[string]bool{}
	l.spilled = map[string]bool{}
	l.received, l.died, l.accessOf = map[string]*process{}, map[string]bool{}, map[string]string{}
	l.contradicted = map[string]bool{}
}

// userOf changes what users have done to a connection.
func (s *sim) userOf(name string, change func(*acts)) {
	s.note(func(l *ledger) {
		if l.users[name] == nil {
			l.users[name] = &acts{}
		}
		change(l.users[name])
	})
}

// broken notes the first violation of an invariant.
func (s *sim) broken(format string, args ...any) {
	s.mu.Lock()
	first := s.bad == ""
	if first {
		s.bad = fmt.Sprintf(format, args...)
	}
	s.mu.Unlock()
	if first {
		s.say("VIOLATION %s", s.bad)
	}
}

func (s *sim) isBroken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bad != ""
}

// replayed: I1.
func (s *sim) replayed() bool {
	c := s.pleo.Counters()
	s.mu.Lock()
	excused := s.ledger.excused
	s.mu.Unlock()
	switch {
	case c.Replays+c.DeadRefreshes <= excused:
	case c.Replays > 0:
		s.broken("I1: a refresh token was spent twice")
	default:
		s.broken("I1: a dead refresh token was spent")
	}
	if c.CodeReplays > 0 {
		s.broken("I1: a code was spent twice")
	}
	return s.isBroken()
}

// swapped judges every write to the store: I2.
func (s *sim) swapped(name string, before, after pleoauth.Record) {
	if m := after.Mark; m != nil && m.Kind == pleoauth.MarkAuthorise && (before.Mark == nil || before.Mark.Nonce != m.Nonce) && s.theme != splitStore && s.store.jumped[name] {
		s.broken("N5: an exchange went before a refresh that waited for the lock")
	}
	if token := s.refreshToken(name, after); token != "" {
		s.note(func(l *ledger) { l.stored[token] = name })
	}
	if s.replayed() || before.State == "" {
		return
	}
	if after.Empty() && before.State == pleoauth.StateConnected {
		s.broken("I2: a grant's record was removed")
	}
	if after.Empty() {
		return
	}
	if cmp.Or(cmp.Compare(after.Seq, before.Seq), cmp.Compare(after.Generation, before.Generation)) < 0 {
		s.broken("I2: an older grant was written over a newer one")
	}
	if before.State != pleoauth.StateConnected || after.State == pleoauth.StateDisconnected || after.Seq != before.Seq {
		return
	}
	was := s.refreshToken(name, before)
	if s.theme == introspection && s.deaf.began.Load() && after.State != pleoauth.StateConnected {
		s.noteLie(was) // its access token may have ended since Pleo was asked
		if !s.deaf.fromStart && !before.Expires.After(time.Now().Add(s.store.skew)) {
			s.note(func(l *ledger) { l.lied[was] = true }) // as far as its expires_in said, no access token could contradict it
		}
	}
	if s.liedAbout(was) {
		return
	}
	if (after.State != pleoauth.StateConnected || s.refreshToken(name, after) != was) && s.isLive(was) {
		s.broken("I2: a live grant was overwritten or wiped")
	}
}

// refreshToken returns the one in a record, "" if it has none.
func (s *sim) refreshToken(name string, r pleoauth.Record) string {
	if r.State != pleoauth.StateConnected {
		return ""
	}
	g, err := pleoauth.OpenGrant(s.opener, s.cfg, name, r.Sealed)
	if err != nil {
		return ""
	}
	return g.RefreshToken
}

func (s *sim) isLive(refreshToken string) bool { return slices.Contains(s.liveTokens(), refreshToken) }

// liveTokens returns the refresh tokens that live.
func (s *sim) liveTokens() (live []string) {
	for _, a := range s.pleo.Authorisations(pleotest.Target{}) {
		if a.Connected {
			live = append(live, a.RefreshToken)
		}
	}
	return live
}

// diedAlone reports whether a refresh token is dead whose access token lives: that
// contradicts Pleo's word on it (N3), and nothing was rotated that sending it could
// end.
func (s *sim) diedAlone(refreshToken string) bool {
	s.mu.Lock()
	access := s.ledger.accessOf[refreshToken]
	s.mu.Unlock()
	return slices.ContainsFunc(s.pleo.Authorisations(pleotest.Target{}), func(a pleotest.Authorisation) bool {
		return access != "" && a.AccessToken == access
	})
}

// judgeToken: no connection ever gets another's token.
func (s *sim) judgeToken(name string, token *pleoauth.Token) {
	if len(s.names) == 1 {
		return
	}
	for _, other := range s.names {
		if s.companyOf(other) == s.companyOf(name) {
			continue
		}
		for _, a := range s.pleo.Authorisations(pleotest.Target{Company: s.companyOf(other)}) {
			if a.AccessToken != "" && token.Authorization() == "Bearer "+a.AccessToken {
				s.broken("a call for %s got the token of %s", name, other)
			}
		}
	}
}

// judge: I2, I3 and I4, once faults have ended and everything had its time.
func (s *sim) judge() simOutcome {
	c := s.pleo.Counters()
	lost := 0
	if !s.replayed() {
		for _, name := range s.names {
			record := s.store.record(name)
			s.say("the record of %s says %s %s, generation %d", name, record.State, record.Reason, record.Generation)
			for _, p := range s.living() {
				s.judgeProcess(p, name, record)
			}
			lost += s.judgeEnd(name, record)
		}
	}
	for _, p := range s.living() {
		if unsaved := p.Health(context.Background()).Unsaved; unsaved != 0 {
			s.broken("I3: %s still holds %d pairs", p, unsaved)
		}
	}
	lives := int(time.Since(s.began) / s.life) // over a hundred in the longest schedules
	if limit := (100 + lives) * len(s.names); c.RefreshRequests > limit || c.Introspections > limit {
		s.broken("I4: %d refresh tokens sent, %d introspections", c.RefreshRequests, c.Introspections)
	}
	s.mu.Lock()
	outside, excused, ended := s.ledger.outside, s.ledger.excused, s.ledger.mayHaveEnded(s.companyOf("default"))
	s.mu.Unlock()
	if outside != "" && !s.isLive(outside) && !ended {
		s.broken("I1: the grant that another name has was ended")
	}
	return simOutcome{Refreshes: c.Refreshes, Replays: max(0, c.Replays-excused), Faults: s.faults, Lost: lost, violation: s.bad}
}

// judgeEnd says whether a grant was lost, and sees that it was lost with a
// process or with an answer, where nobody can help it.
func (s *sim) judgeEnd(name string, record pleoauth.Record) (lost int) {
	s.mu.Lock()
	l, u := s.ledger, acts{}
	if l.users[name] != nil {
		u = *l.users[name]
	}
	s.mu.Unlock()
	switch record.State {
	case pleoauth.StateDisconnected:
		if !u.disconnected && !u.perhapsDisconnected && u.consents == 0 {
			s.broken("I2: disconnected by nobody")
		}
		return 0
	case pleoauth.StateConnected:
		if u.disconnected && !l.forgot && u.consents == 0 {
			s.broken("I2: a disconnect was undone")
		}
		return 0
	case pleoauth.StateReauthorisationRequired:
	}
	if u.revoked || u.disconnected || u.perhapsDisconnected || u.failed || s.hasEnded(name, record, l, u) {
		return 0
	}
	if u.consents > 0 && (l.forgot || len(l.died) > 0) {
		return 0 // protocol's section on what nobody can exclude: a consent and another fault
	}
	live := false
	for _, a := range s.pleo.Authorisations(pleotest.Target{Company: s.companyOf(name), Authorisation: l.families[name]}) {
		if !a.Connected || s.theme == twoNames && l.stored[a.RefreshToken] != name && l.stored[a.RefreshToken] != "" {
			continue
		}
		live = true
		p := l.received[a.RefreshToken]
		switch {
		case u.consents > 0: // the schedule cannot tell of which authorisation it is
		case p == nil: // the answer was lost
		case !p.dead.Load():
			s.broken("I2: %s has the live pair, and the record says %q", p, record.State)
		case !l.died[a.RefreshToken] && !l.forgot:
			s.broken("I2: the live pair was stored or on %s's disk, and the record says %q", p, record.State)
		}
	}
	switch {
	case !live:
		s.broken("I2: the grant is dead, and nobody revoked it")
	case record.State == "" && !l.forgot:
		s.broken("I2: the record is gone")
	case record.State != "" && record.Reason != pleoauth.ReasonLostResponse && s.theme == plain && !l.forgot:
		s.broken("I2: the pair was lost, and the reason is %q", record.Reason)
	}
	return 1
}

// hasEnded reports whether a connection has ended as its theme would have it.
func (s *sim) hasEnded(name string, record pleoauth.Record, l ledger, u acts) bool {
	switch {
	case l.mayHaveEnded(s.companyOf(name)): // Pleo has ended the authorisation, and no protocol excludes it
		return true
	case len(l.lied) > 0: // Pleo has called a live grant dead, and no access token could tell
		return true
	case record.State == "" && slices.Contains([]string{"fresh", "twin"}, name): // perhaps never authorised
		return u.consents == 0 || u.failures > 0
	case l.otherConsents > 0 && name == "default": // the pair is another's
		return true
	case s.theme == twoNames: // the other name's consent was the last
		other := s.names[1-slices.Index(s.names, name)]
		return l.users[other] != nil && l.users[other].consents > 0
	}
	return false
}

func (s *sim) judgeProcess(p *process, name string, record pleoauth.Record) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	token, err := p.Token(ctx, name)
	if err == nil && !s.lives(token) { // refreshed at this moment: as a call would
		token, err = p.Refused(ctx, name, token)
	}
	if s.theme == strangeHand && s.knowsBetter(name, record, err) {
		return
	}
	switch record.State {
	case pleoauth.StateConnected:
		if err != nil {
			s.broken("I3: %s does not serve a connected connection: %v", p, err)
		} else if !s.lives(token) {
			s.broken("I3: %s serves a dead token", p)
		}
	case pleoauth.StateReauthorisationRequired:
		// A replica that missed the notice uses a token to its end if Pleo still
		// takes it, as after an answer that had no refresh token.
		if !errors.Is(err, pleoauth.ErrReauthorisationRequired) && (err != nil || !s.lives(token)) {
			s.broken("I3: %s does not learn that it ended: %v", p, err)
		}
	default:
		if !errors.Is(err, pleoauth.ErrNotConnected) {
			s.broken("I3: %s does not know that there is no grant: %v", p, err)
		}
	}
}

// knowsBetter reports whether a process rightly goes on saying that a connection has
// ended, or was disconnected, although a strange hand has put another record there:
// one whose grant is dead, or that undoes what a user has done.
func (s *sim) knowsBetter(name string, record pleoauth.Record, err error) bool {
	if !errors.Is(err, pleoauth.ErrReauthorisationRequired) && !errors.Is(err, pleoauth.ErrNotConnected) {
		return false
	}
	var disconnected bool
	s.userOf(name, func(u *acts) { disconnected = u.disconnected || u.perhapsDisconnected })
	return disconnected || !s.isLive(s.refreshToken(name, record))
}

// locked sees that no two living processes are at the same connection at once,
// unless something has happened to the lock: it saves work, and has to.
func (s *sim) locked(p *process, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.procs {
		if other != p && !other.dead.Load() && other.inside[name] && !s.ledger.locks && s.bad == "" {
			s.bad = fmt.Sprintf("the lock: %s and %s are at it at once", other, p)
		}
	}
	p.inside[name] = true
}

func (s *sim) unlocked(p *process, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.inside[name] = false
}
