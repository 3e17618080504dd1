package pleoauth

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
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
	// fewOthers is how many other connections are looked at, to see whether
	// introspection calls any refresh token of this client active.
	fewOthers = 3
	// silenceWait is how long the holder of a newer grant has to put it back before
	// a token that Pleo does not speak about is sent: a restart may bring it from a
	// disk.
	silenceWait = 10 * time.Minute
)

// tokenAnswer is Pleo's answer about a refresh token.
type tokenAnswer int

const (
	// noAnswer: Pleo could not be asked.
	noAnswer tokenAnswer = iota
	// tokenLives: it is active, or its access token is where only that can be asked.
	tokenLives
	// tokenDead: it is inactive, and that can be believed.
	tokenDead
	// tokenSilent: Pleo calls it inactive, and cannot be believed, or does not tell.
	tokenSilent
)

// asked is what came of asking about a refresh token.
type asked struct {
	tokenAnswer
	at   time.Time     // when the answer came
	seen Introspection // of the refresh token
	wait bool          // of tokenSilent: a newer grant may be put back
	err  error         // of noAnswer
}

// stale reports whether the answer is too old to send the token on it.
func (a asked) stale() bool { return time.Since(a.at) > answerGood }

// mostLimited is how often an attempt's questions are answered by a 429 before they
// count as not answered: an introspection that is limited more than the token
// endpoint, or for good, must not stop refreshes.
const mostLimited = 3

// introspect asks Pleo about a token. It waits while Pleo has this client wait, and
// asks again after a 429: a question has no effect.
func (a *attempt) introspect(token string, kind TokenKind) (Introspection, error) {
	for {
		if a.pace.Pause() > 0 && a.entered && !a.f.forced.Load() { // since this turn has come
			a.leave()
			if _, closing := a.enter(1); closing != nil {
				return Introspection{}, closing
			}
		}
		seen, err := a.Source.introspect(token, kind)
		switch {
		case a.stopping():
			return seen, err
		case errors.Is(err, errOldAnswer):
		case errors.Is(err, ErrRateLimited):
			if a.limited++; a.limited >= mostLimited {
				return seen, err
			}
			a.leave()
			if _, closing := a.enter(1); closing != nil {
				return seen, err
			}
		default:
			return seen, err
		}
	}
}

// heardGood is how long it shows that introspection knows refresh tokens that it has
// called one of this client active.
const heardGood = time.Hour

// heard is when introspection last called a refresh token of this client active, to
// this process. The record says when it did so to any process.
type heard struct{ at atomic.Pointer[time.Time] }

func (h *heard) note(now time.Time) { h.at.Store(&now) }

func (h *heard) lately() bool {
	at := h.at.Load()
	return at != nil && time.Since(*at) < heardGood
}

// heardActiveLately reports whether introspection has lately called a refresh token of
// the record's connection active.
func (s Snapshot) heardActiveLately() bool {
	return !s.HeardActive.IsZero() && s.Remaining(s.HeardActive).Abs() < heardGood
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
		s.deaf.Store(false)
		s.heard.note(time.Now())
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
		case said.err == nil, silentStatus(said.err):
			return a.confirm(snap, g, settling, said)
		default:
			return said
		}
		// A server behind the endpoint may lag behind another: an access token whose
		// time is not over and that is dead shows it.
		if !a.c.accessLives(snap) || a.doubts >= maxDoubts {
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

// confirm goes on where Pleo calls the refresh token inactive, or does not tell. That
// alone ends no grant: a server may call every token inactive, always or for an hour.
//
// Within its access token's life that token is asked about, of introspection and of
// the API: where it lives, nothing was rotated. (One that came without a refresh token
// says nothing of the token before it.) Otherwise introspection has to call a refresh
// token of another connection active at the same time, where there is another.
func (a *attempt) confirm(snap Snapshot, g Grant, settling bool, said asked) asked {
	inactive, verdict := said.err == nil, a.verdictOn(a.c, snap)
	said.err = nil
	if a.c.accessLives(snap) && !g.NoRefreshToken {
		access, found := a.askAboutAccess(g)
		if found == VerdictUnusable && inactive && verdict == VerdictUsable {
			// Introspection calls both tokens inactive and the API takes the access token:
			// one of them lags behind, or introspection is out of order for all tokens.
			if _, active := a.othersLive(true); active {
				access = tokenDead
			}
		}
		switch {
		case access == tokenLives:
			a.rememberVerdict(a.c, snap.Lineage, found)
			a.noteVerdict(a.c, snap, found, false)
			said.tokenAnswer, said.at = tokenLives, time.Now() // it is the access token's answer that counts
			return said
		case access == tokenDead && inactive && verdict.believed() && (settling || a.heard.lately() || snap.heardActiveLately()):
			said.tokenAnswer = tokenDead
			return said
		case access == tokenDead, access == tokenSilent && verdict != VerdictUnusable:
			said.wait = true // with the refresh token, or alone
		}
	}
	said.tokenAnswer, said.wait = tokenSilent, said.wait || settling
	if !inactive || !verdict.believed() && verdict != "" {
		return said
	}
	others, active := a.othersLive(verdict == VerdictUsable)
	switch {
	case active, others == 0 && verdict.believed() && (a.heard.lately() || snap.heardActiveLately()):
		said.tokenAnswer = tokenDead
	default:
		said.wait = true // introspection may answer wrongly just now
	}
	return said
}

// accessLives reports whether the time of a record's access token is not over: by this
// process's own clock where it knows the token, for the store's may be put forward.
func (c *connection) accessLives(snap Snapshot) bool {
	if v := c.view.Load(); v != nil && v.version == snap.Version {
		return time.Until(v.expires) > time.Second
	}
	return snap.Remaining(snap.Expires) > time.Second
}

// askAboutAccess asks whether an access token lives whose time is not over. The
// verdict is what a living one says of introspection. It is dead only where the API
// refuses it as well; where introspection calls it inactive and the API does not
// answer, the answer is [tokenSilent].
func (s *Source) askAboutAccess(g Grant) (tokenAnswer, Verdict) {
	access, err := s.introspect(g.AccessToken, AccessTokenKind)
	if err == nil && access.Active {
		return tokenLives, VerdictAccessTokens
	}
	ctx, cancel := context.WithTimeout(context.Background(), introspectionTimeout)
	defer cancel()
	subject, errAPI := s.oauth().APISubject(ctx, g.AccessToken)
	refusal := new(OAuthError)
	switch {
	case errAPI == nil && subject != "":
		return tokenLives, VerdictUnusable
	case errors.As(errAPI, &refusal) && refusal.Status == http.StatusUnauthorized:
		return tokenDead, ""
	case err == nil:
		return tokenSilent, ""
	}
	return noAnswer, ""
}

// othersLive asks Pleo about refresh tokens of other connections, and returns how many
// should be active and whether one is. proved says that introspection has called a
// refresh token of the attempt's own connection active before.
func (a *attempt) othersLive(proved bool) (others int, active bool) {
	if others, ok := a.others.known(); ok {
		return others.number, others.active
	}
	defer func() { a.others.note(others, active) }()
	asked := 0
	for _, name := range a.otherNames() {
		snap, err := a.read(name)
		if err != nil || snap.State != StateConnected {
			continue
		}
		g, err := a.openGrant(name, snap.Sealed)
		if err != nil {
			continue
		}
		if seen, err := a.introspect(g.RefreshToken, RefreshTokenKind); err == nil && seen.Active {
			return others + 1, true
		}
		if snap.Marked() == nil || !proved { // else its token may have been spent, and that it is inactive shows nothing
			others++
		}
		if asked++; asked == fewOthers {
			break
		}
	}
	return others, false
}

// othersGood is how long what other connections have shown is not asked for again: in
// an hour in which introspection answers wrongly every refresh would ask for it.
const othersGood = 15 * time.Second

// others is what introspection has lately said of other connections.
type others struct {
	mu     sync.Mutex
	number int
	active bool
	at     time.Time
}

// known returns what is known, if that is not too old.
func (o *others) known() (known struct {
	number int
	active bool
}, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known.number, known.active = o.number, o.active
	return known, !o.at.IsZero() && time.Since(o.at) < othersGood && (o.number > 0 || o.active)
}

func (o *others) note(number int, active bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.number, o.active, o.at = number, active, time.Now()
}

// otherNames returns names of other connections: those that this process uses first,
// then some from the store.
func (a *attempt) otherNames() []string {
	var names []string
	a.conns.each(func(c *connection) {
		if v := c.view.Load(); c != a.c && len(names) < fewOthers && v != nil && v.pair != nil && !v.dead {
			names = append(names, c.name)
		}
	})
	slices.Sort(names)
	ctx, cancel := a.command()
	defer cancel()
	stored, _, err := a.store.List(ctx, "", 4*fewOthers)
	a.storeAnswered(StoreList, err)
	for _, name := range stored {
		if name != a.c.name && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
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

// judgement is what this process has found out about introspection, with tokens of one
// authorisation.
type judgement struct {
	lineage string
	verdict Verdict
	at      time.Time
}

// verdictOn returns the verdict on introspection: the record's, or what this process
// has found out, where the store has forgotten it or has not been told yet.
//
// Nothing is presumed of a server that has called another connection's fresh token
// inactive.
func (s *Source) verdictOn(c *connection, snap Snapshot) Verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := snap.Introspection
	if (v == "" || v == VerdictPresumed) && c.judged.lineage == snap.Lineage {
		v = cmp.Or(c.judged.verdict, v)
	}
	// A failover may have lost the verdict, so that the record has an older one: this
	// process's own holds until a refresh token of the connection was called active later.
	if own := c.judged; own.lineage == snap.Lineage && own.verdict != "" && !own.verdict.believed() && v.believed() &&
		(snap.HeardActive.IsZero() || !snap.locally(snap.HeardActive).After(own.at)) {
		return own.verdict
	}
	if v == VerdictPresumed && s.deaf.Load() {
		return VerdictDoubted
	}
	return v
}

// rememberVerdict notes what this process has found out about introspection, or has read.
func (s *Source) rememberVerdict(c *connection, lineage string, v Verdict) {
	if v == VerdictAccessTokens || v == VerdictUnusable {
		s.deaf.Store(true)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.judged = judgement{lineage, v, time.Now()}
}

// noteVerdict keeps a verdict with the record, and says in the log what follows.
func (s *Source) noteVerdict(c *connection, snap Snapshot, v Verdict, justNow bool) {
	if snap.hasVerdict(v, justNow) {
		return
	}
	began, subscription := time.Now(), s.subscription.Load()
	after, err := s.apply(c.name, snap, writeVerdict(snap.Version, v, justNow))
	if err != nil {
		return
	}
	log := s.logger().With("connection", c.name, "generation", snap.Generation, "duration", time.Since(began), "result", string(v))
	switch {
	case v == VerdictDoubted:
		log.Debug("introspection calls a fresh refresh token inactive; it is asked again")
	case v != VerdictUsable:
		log.Error("introspection cannot be believed: it calls refresh tokens inactive that were just issued; a refresh whose answer is lost may cost the authorisation")
	case !snap.Introspection.believed() && snap.Introspection != "":
		log.Info("introspection can be believed again")
	}
	_, _ = s.adopt(c, after, subscription)
	s.tellReread(c)
}

// hasVerdict reports whether the record has a verdict, and, where a token was called
// active just now, that it lately was.
func (s Snapshot) hasVerdict(v Verdict, justNow bool) bool {
	return s.Introspection == v && !(justNow && v == VerdictUsable && !s.heardActiveLately())
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
// records without a verdict. The channel is closed once Pleo has been asked, and has
// answered in most cases for good.
func (s *Source) judgeIntrospection(c *connection, p *pair) (asked <-chan struct{}) {
	first := make(chan struct{})
	once := sync.OnceFunc(func() { close(first) })
	if !s.goWork(func() {
		defer once()
		turn := s.pace.Turn(p.obtained.Add(p.grant.ExpiresIn))
		var doubted bool
		for _, wait := range canaryWaits {
			s.pause(wait, nil)
			if s.stopping() || c.left(p.version) || !turn.Enter(1, s.stop) {
				return // another token shows it
			}
			verdict, told := s.fresh(p.grant)
			turn.Leave()
			switch {
			case verdict == VerdictUsable:
				s.judged(c, p, verdict)
				return
			case !told: // Pleo could not be asked, or the pair has died since
			case wait == canaryWaits[len(canaryWaits)-1] && doubted:
				s.judged(c, p, verdict)
			default:
				doubted = true
				s.judged(c, p, VerdictDoubted)
			}
			once()
		}
	}) {
		once()
	}
	return first
}

// fresh asks about the tokens of a pair that was just obtained, and reports false if
// that shows nothing of introspection. The API's word counts more: a pair that it
// refuses has died since, by another consent perhaps.
func (s *Source) fresh(g Grant) (Verdict, bool) {
	refresh, err := s.introspect(g.RefreshToken, RefreshTokenKind)
	if err == nil && refresh.Active {
		return VerdictUsable, true
	}
	if err != nil && !silentStatus(err) {
		return "", false
	}
	switch access, verdict := s.askAboutAccess(g); access {
	case tokenLives:
		return verdict, true
	case tokenDead:
		return "", false
	}
	return VerdictUnusable, true
}

// judged keeps what a fresh token has shown.
func (s *Source) judged(c *connection, p *pair, v Verdict) {
	s.rememberVerdict(c, p.lineage, v)
	if snap, err := s.read(c.name); err == nil && snap.Version == p.version {
		s.noteVerdict(c, snap, v, true)
	}
}

// silence is since when Pleo has not spoken about the token of a version, under a mark
// or none. It begins again with the mark under which the token is sent.
type silence struct {
	version, nonce string
	since          time.Time
}

// silentFor returns for how long this process has known that Pleo does not speak
// about the token of the given version, under the mark with the given nonce, or "".
func (c *connection) silentFor(version, nonce string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silence.version != version || c.silence.nonce != nonce {
		c.silence = silence{version, nonce, time.Now()}
	}
	return time.Since(c.silence.since)
}
