package pleoauth_test

import (
	"bytes"
	"encoding/json"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// sent is a request that works once, on its way to Pleo.
type sent struct {
	p      *process
	token  string     // the refresh token; "" of an exchange
	server *memServer // that has the mark which it went under
	at     time.Time
	over   bool // Pleo has answered it: nothing is on its way any more
}

// question is what a process has asked about a refresh token.
type question struct {
	at       time.Time
	since    time.Time // it was first asked about
	answered bool
	active   bool
	told     time.Time     // Pleo's word left
	onItsWay time.Duration // and was read so much later
}

// turn is the time between Pleo's word that a token lives and Pleo's work on what
// is sent on that word, or an exchange's way to Pleo.
type turn struct {
	p      *process
	token  string
	server *memServer
	sent   bool // it is a request's way to Pleo, not Pleo's word
	until  time.Time
}

const (
	// wordHolds is how long after Pleo's word a token may be sent: two seconds, and
	// what the schedule's latencies add.
	wordHolds = 2*time.Second + 50*time.Millisecond
	// waitsForWord is how long a process waits for it at least.
	waitsForWord = 4500 * time.Millisecond
	// silenceWait is how long a token is not sent that Pleo does not speak about: ten
	// minutes, less what two processes may count differently.
	silenceWait = 9 * time.Minute
	// quickly is how long Pleo works on a request at the most where requests about
	// one authorisation know nothing of each other.
	quickly = 400 * time.Millisecond
)

// leaves is called when a request to the token endpoint leaves a process.
func (s *sim) leaves(p *process, form url.Values) *sent {
	r := &sent{p: p, token: form.Get("refresh_token"), server: p.server()}
	if r.token == "" {
		s.awaitTurn(r)
	} else {
		p.keepsPace()
	}
	r.at = time.Now()
	if r.token != "" && !s.isLive(r.token) {
		s.judgeDeadToken(p, r.token)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.token == "" {
		s.ledger.outside = "" // a consent of the schedule's ends it
	}
	if s.apart() {
		// P7: both sides of a split, where one could not ask or wait for its turn.
		if r.token == "" || s.silent(p, r.token) {
			if k := slices.IndexFunc(s.sent, func(o *sent) bool {
				return (o.token == r.token || r.token == "") && o.p != p && o.server != r.server && s.mayTravel(o)
			}); k >= 0 {
				s.excuse(s.sent[k].token)
			}
		}
		s.openTurn(r, true, s.processing()+time.Second)
	}
	s.sent = append(s.sent, r)
	return r
}

// arrived notes that Pleo has answered a request for good.
func (s *sim) arrived(r *sent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.over = true
	if s.apart() {
		s.openTurn(r, true, 0)
	}
}

// mayTravel reports whether Pleo may still come to work on a request. s.mu is held.
func (s *sim) mayTravel(r *sent) bool {
	return !r.over && time.Since(r.at) < s.processing()+time.Second
}

// travelling returns the requests that Pleo may still come to work on.
func (s *sim) travelling() (all []*sent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.sent {
		if s.mayTravel(r) {
			all = append(all, r)
		}
	}
	return all
}

// asksAbout is called when a process asks Pleo about a refresh token.
func (s *sim) asksAbout(p *process, token string) {
	r := &sent{p: p, token: token, server: p.server()}
	s.awaitTurn(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &question{at: time.Now(), since: time.Now()}
	if before := p.questions[token]; before != nil {
		q.since = before.since
	}
	p.questions[token] = q
	if s.apart() {
		s.openTurn(r, false, wordHolds+time.Second)
	}
}

// heard is called when a process has read the answer, if it still waits for it.
func (s *sim) heard(p *process, token string, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := p.questions[token]; q != nil && time.Since(q.at) < waitsForWord {
		q.answered, q.active, q.onItsWay = true, active, time.Since(q.told)
	}
}

// toldOf is called when the answer has come, before the process can have read it.
func (s *sim) toldOf(p *process, token string, active bool) {
	if !active && s.theme == introspection {
		s.noteLie(token)
	}
	if !active && s.diedAlone(token) {
		s.note(func(l *ledger) { l.contradicted[token] = true })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := p.questions[token]; q != nil {
		q.told = time.Now()
	}
	if s.apart() {
		length := wordHolds
		if !active {
			length = 0
		}
		s.openTurn(&sent{p: p, token: token, server: p.server()}, false, length)
	}
}

// openTurn is called with s.mu held.
func (s *sim) openTurn(r *sent, way bool, length time.Duration) {
	s.turns = slices.DeleteFunc(s.turns, func(t turn) bool {
		return t.token == r.token && t.server == r.server && t.sent == way || !time.Now().Before(t.until)
	})
	if length > 0 {
		s.turns = append(s.turns, turn{r.p, r.token, r.server, way, time.Now().Add(length)})
	}
}

// awaitTurn has a request wait while another is between Pleo's word and Pleo's
// work, and cannot know of it: P7 and P8, which no protocol excludes. On one side
// and under one name lock and mark have to do, and what a process has sent itself it
// has to know. An exchange waits for so long only that it still leaves in its time.
func (s *sim) awaitTurn(r *sent) {
	for began := time.Now(); s.apart() && s.turnOf(r) && (r.token != "" || time.Since(began) < wordHolds+time.Second); {
		if !s.sleep(10 * time.Millisecond) {
			return
		}
	}
	if r.token != "" || !s.apart() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.turns { // it ends a token that Pleo has just called active
		if s.isBefore(t, r) {
			s.ledger.endedAt[t.token] = time.Now()
		}
	}
}

// turnOf reports whether another request has its turn; of any, if r is nil.
func (s *sim) turnOf(r *sent) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.turns, func(t turn) bool { return s.isBefore(t, r) })
}

// isBefore reports whether a turn is another's than a request's, which may be nil.
func (s *sim) isBefore(t turn, r *sent) bool {
	return time.Now().Before(t.until) && (r == nil || t.token != r.token || t.server != r.server && t.p != r.p)
}

// silent reports whether a process has asked about a token in vain, or could not
// even reach Pleo in time: then it may go on where nothing speaks against the token
// (N1), as the old master of a split store does that knows to be alone (N2). s.mu is
// held.
func (s *sim) silent(p *process, token string) bool {
	if p.server().alone() {
		return false
	}
	q := p.questions[token]
	return time.Since(p.vain) < 2*waitsForWord || q != nil && !q.answered && time.Since(q.at) < 2*longest
}

// judgeDeadToken: I1. A refresh token that is dead already must not be sent: it
// would cost another name's grant, or one that a process holds.
func (s *sim) judgeDeadToken(p *process, token string) {
	held := s.heldLive(p, token)
	s.mu.Lock()
	q := p.questions[token]
	alone := s.ledger.contradicted[token]
	// N3: after ten minutes in which no process and no disk had a newer grant.
	// Where introspection cannot be believed, not even then if that process is stopped,
	// cut off or down (P11).
	alone = alone || (!held || s.theme == introspection) && q != nil && time.Since(q.since) > silenceWait
	endedAt := s.ledger.endedAt[token]
	silent, ended := s.silent(p, token), time.Since(endedAt) < wordHolds
	// Pleo's word may have been on its way for as long as a question takes.
	ended = ended || q != nil && q.active && endedAt.After(q.at) && time.Since(q.at) < 5*time.Second+wordHolds
	// A turn lasts from when Pleo spoke: under another name or on another side an
	// exchange may end the token before a process has read a word that was late.
	ended = ended || q != nil && q.active && s.apart() && time.Since(q.told) < q.onItsWay+wordHolds && q.onItsWay > quickly
	// Where introspection cannot be believed a token that no process has sent yet goes at
	// once; one that may have been spent is waited for.
	first := !slices.ContainsFunc(s.sent, func(o *sent) bool { return o.token == token })
	excused := silent || ended || alone || s.theme == introspection && !held && first
	if excused {
		s.excuse(token)
	}
	s.mu.Unlock()
	switch {
	case excused:
		s.say("%s sends a dead refresh token (Pleo was silent: %v; ended just now: %v)", p, silent, ended)
	case q == nil:
		s.broken("I1: %s sends a dead refresh token, and has not asked about it", p)
	case !q.answered || !q.active:
		s.broken("I1: %s sends a refresh token that Pleo has called inactive", p)
	default:
		s.broken("I1: %s sends a dead refresh token, %v after it asked about it", p, time.Since(q.at))
	}
}

// heldLive reports whether a live pair is stored, or with a process that runs, or
// on a disk. A pair that a user has disconnected, or that was refused because it is
// another company's, lives at Pleo, and no process has it.
func (s *sim) heldLive(asking *process, dead string) bool {
	s.mu.Lock()
	of := s.ledger.stored[dead]
	s.mu.Unlock()
	for _, token := range s.liveTokens() {
		s.mu.Lock()
		stored := s.ledger.stored[token]
		s.mu.Unlock()
		if of != "" && stored != "" && s.companyOf(stored) != s.companyOf(of) {
			continue // of another authorisation
		}
		for _, name := range s.names {
			if s.refreshToken(name, s.store.record(name)) == token {
				return true
			}
		}
		s.mu.Lock()
		spilled, procs := s.ledger.spilled[token], slices.Clone(s.procs)
		s.mu.Unlock()
		if spilled || slices.ContainsFunc(procs, func(other *process) bool {
			return other != asking && !other.dead.Load() && pleoauth.HasInMemory(other.Source, token)
		}) {
			return true
		}
	}
	return false
}

// answerOf takes an answer apart, once it is there as a whole.
func answerOf(answer []byte) (status int, body []byte, whole bool) {
	head, body, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !ok || len(head) < len("HTTP/1.1 200") {
		return 0, nil, false
	}
	status, _ = strconv.Atoi(string(head[len("HTTP/1.1 "):][:3]))
	return status, body, strconv.Itoa(len(body)) == headerOf(head, "Content-Length")
}

func headerOf(head []byte, wanted string) string {
	for line := range strings.Lines(string(head)) {
		if name, value, ok := strings.Cut(line, ":"); ok && textproto.CanonicalMIMEHeaderKey(name) == wanted {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// delivered notes the pair of an answer that has come whole.
func (s *sim) delivered(p *process, body []byte) {
	var grant struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(body, &grant) == nil && grant.RefreshToken != "" {
		s.note(func(l *ledger) {
			l.received[grant.RefreshToken], l.accessOf[grant.RefreshToken] = p, grant.AccessToken
		})
	}
}
