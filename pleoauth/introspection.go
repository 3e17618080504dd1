package pleoauth

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// Before a refresh token is spent Pleo is asked whether it lives. Nothing else can
// tell that an operator has written an old record back, or that the consent of
// another name, or the other side of a split network, has rotated it: within its
// access token's life nothing speaks against a dead grant.

const (
	// answerGood is how long after Pleo said 'active' the token may be sent.
	answerGood = 2 * time.Second
	// doubtWait is how long to wait where Pleo's answers do not fit together.
	doubtWait = 5 * time.Second
	maxDoubts = 3
	// evidenceGood is how long it shows that introspection knows refresh tokens
	// that it has called one of this client active.
	evidenceGood = time.Hour
	// silenceWait is how long the holder of a newer grant has to put it back before
	// a token that Pleo does not speak about is sent: a restart may bring it from a
	// disk.
	silenceWait = 10 * time.Minute
)

// answer of Pleo's about a refresh token.
type tokenAnswer int

const (
	// noAnswer: Pleo could not be asked.
	noAnswer tokenAnswer = iota
	// tokenLives: it is active, or its access token is where only that can be asked.
	tokenLives
	// tokenDead: it is inactive, and that can be believed.
	tokenDead
	// tokenSilent: Pleo calls it inactive, and cannot be believed: see [Verdict].
	tokenSilent
)

// asked is what came of asking about a refresh token.
type asked struct {
	tokenAnswer
	at   time.Time     // when the answer came
	seen Introspection // of the refresh token
	err  error         // of noAnswer
}

// stale reports whether the answer is too old to send the token on it.
func (a asked) stale() bool { return time.Since(a.at) > answerGood }

// evidence is when introspection last called a refresh token of this client active.
type evidence struct{ at atomic.Pointer[time.Time] }

func (e *evidence) note(now time.Time) { e.at.Store(&now) }

func (e *evidence) holds() bool {
	at := e.at.Load()
	return at != nil && time.Since(*at) < evidenceGood
}

// introspect asks Pleo about a token. It waits while Pleo has this client wait, and
// asks again after a 429: a question has no effect.
func (a *attempt) introspect(token string, kind TokenKind) (Introspection, error) {
	for {
		seen, err := a.Source.introspect(token, kind)
		switch {
		case a.stopping():
			return seen, err
		case errors.Is(err, errOldAnswer):
		case errors.Is(err, ErrRateLimited):
			a.leave()
			if _, closing := a.enter(1); closing != nil {
				return seen, err
			}
		default:
			return seen, err
		}
	}
}

// oldAnswer is after how long an answer says nothing of what is now: the process was
// stopped while it came, for a question takes introspectionTimeout at most.
const oldAnswer = introspectionTimeout + time.Second

var errOldAnswer = errors.New("introspection: the process was stopped while the answer came")

// introspect asks Pleo about a token once, and notes what its answer shows.
func (s *Source) introspect(token string, kind TokenKind) (Introspection, error) {
	ctx, cancel := context.WithTimeout(context.Background(), introspectionTimeout)
	defer cancel()
	sent := time.Now()
	seen, err := s.oauth().Introspect(ctx, token, kind)
	s.paced(sent, err)
	if now := time.Now(); now.Sub(sent) > oldAnswer || now.Round(0).Sub(sent.Round(0)) > oldAnswer {
		return seen, errOldAnswer
	}
	if err == nil && seen.Active && kind == RefreshTokenKind {
		s.evidence.note(time.Now())
	}
	return seen, err
}

// ask asks Pleo about the record's refresh token. settling says that a mark stood:
// something may have been sent.
func (a *attempt) ask(snap Snapshot, g Grant, settling bool) asked {
	for {
		var said asked
		said.seen, said.err = a.introspect(g.RefreshToken, RefreshTokenKind)
		said.at = time.Now()
		switch {
		case said.err == nil && said.seen.Active:
			said.tokenAnswer = tokenLives
			if !settling {
				return said
			}
		case said.err == nil, !a.c.verdictOn(snap).believed() && silentStatus(said.err):
			said.err = nil
			return a.askAboutAccess(snap, g, settling, said)
		default:
			return said
		}
		// A server behind the endpoint may lag behind another: an access token whose
		// time is not over and that is dead shows it.
		if snap.Remaining(snap.Expires) < time.Second || a.doubts >= maxDoubts {
			return said
		}
		access, err := a.introspect(g.AccessToken, AccessTokenKind)
		if err != nil {
			return asked{at: said.at, err: err}
		}
		if access.Active {
			return said
		}
		a.doubts++
		a.rest(doubtWait, nil)
	}
}

// askAboutAccess goes on where the refresh token was called inactive. An access token
// within its life that is active contradicts that: then nothing was rotated. Only one
// that came without a refresh token says nothing of the token before it.
func (a *attempt) askAboutAccess(snap Snapshot, g Grant, settling bool, said asked) asked {
	verdict := a.c.verdictOn(snap)
	known := a.evidence.holds() || !snap.IntrospectedAt.IsZero() && snap.Remaining(snap.IntrospectedAt) > -evidenceGood
	if within := snap.Remaining(snap.Expires) > time.Second; within && verdict != VerdictUnusable && !g.NoRefreshToken {
		access, err := a.introspect(g.AccessToken, AccessTokenKind)
		switch {
		case err != nil && !silentStatus(err):
			return asked{at: said.at, err: err}
		case err == nil && access.Active:
			a.noteVerdict(a.c, snap, VerdictAccessTokens)
			said.tokenAnswer = tokenLives
			return said
		case err == nil && verdict == VerdictAccessTokens:
			said.tokenAnswer = tokenDead
			return said
		}
	}
	said.tokenAnswer = tokenSilent
	if known && (verdict.believed() || verdict == "") || settling && verdict.believed() {
		said.tokenAnswer = tokenDead
	}
	return said
}

// silentStatus reports whether a server does not tell about a token: it has no
// introspection, or not for this client.
func silentStatus(err error) bool {
	refusal := new(OAuthError)
	if !errors.As(err, &refusal) || errors.Is(err, ErrMisconfigured) {
		return false
	}
	switch refusal.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	}
	return false
}

// verdictOn returns the verdict on introspection: the record's, or where the store has
// forgotten it this process's own.
func (c *connection) verdictOn(snap Snapshot) Verdict {
	if v := c.view.Load(); snap.Introspection == "" && v != nil && v.pair != nil && v.seq == snap.Seq {
		return v.pair.introspection
	}
	return snap.Introspection
}

// noteVerdict keeps a verdict with the record, and says in the log what follows.
func (s *Source) noteVerdict(c *connection, snap Snapshot, v Verdict) {
	if snap.Introspection == v {
		return
	}
	subscription := s.subscription.Load()
	after, err := s.apply(c.name, snap, writeVerdict(snap.Version, v))
	if err != nil {
		return
	}
	log := s.logger().With("connection", c.name, "generation", snap.Generation, "result", string(v))
	switch {
	case v != VerdictUsable:
		log.Error("introspection cannot be believed: it calls refresh tokens inactive that were just issued; a refresh whose answer is lost may cost the authorisation")
	case !snap.Introspection.believed() && snap.Introspection != "":
		log.Info("introspection can be believed again")
	}
	_, _ = s.adopt(c, after, subscription)
	s.tellReread(c)
}

// tellReread has the other replicas read a record again whose version has not
// changed.
func (s *Source) tellReread(c *connection) {
	s.tell(Notice{Kind: NoticeChanged, Connection: c.name})
}

// canaryWaits are the waits before the fresh refresh token is asked about: a copy
// behind the endpoint may lag.
var canaryWaits = []time.Duration{0, 5 * time.Second, 30 * time.Second}

// judgeIntrospection asks about the tokens of a pair that was just obtained, to find
// out what introspection is worth. It is called once for each authorisation, and for
// records without a verdict.
func (s *Source) judgeIntrospection(c *connection, p *pair) {
	s.goWork(func() {
		verdict := Verdict("")
		for _, wait := range canaryWaits {
			s.pause(wait, nil)
			if s.stopping() || c.left(p.version) {
				return // another token shows it
			}
			turn := s.pace.Turn(p.obtained.Add(p.grant.ExpiresIn))
			if !turn.Enter(1, s.stop) {
				return
			}
			seen, err := s.introspect(p.grant.RefreshToken, RefreshTokenKind)
			turn.Leave()
			if err == nil && seen.Active {
				verdict = VerdictUsable
				break
			}
			if err == nil || silentStatus(err) {
				verdict = VerdictAccessTokens
			}
		}
		if verdict == "" {
			return // Pleo could not be asked: the next fresh token shows it
		}
		if verdict == VerdictAccessTokens {
			turn := s.pace.Turn(p.obtained.Add(p.grant.ExpiresIn))
			if !turn.Enter(1, s.stop) {
				return
			}
			seen, err := s.introspect(p.grant.AccessToken, AccessTokenKind)
			turn.Leave()
			if err != nil || !seen.Active {
				verdict = VerdictUnusable
			}
		}
		if snap, err := s.read(c.name); err == nil && snap.Version == p.version {
			s.noteVerdict(c, snap, verdict)
		}
	})
}

// silence is since when Pleo has not spoken about the token of a version, and that
// token was not sent.
type silence struct {
	version string
	since   time.Time
}

// silentFor returns for how long this process has known that Pleo does not speak
// about the token of the given version.
func (c *connection) silentFor(version string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silence.version != version {
		c.silence = silence{version, time.Now()}
	}
	return time.Since(c.silence.since)
}

// endSilence begins the count again: the token is sent.
func (c *connection) endSilence() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silence = silence{}
}
