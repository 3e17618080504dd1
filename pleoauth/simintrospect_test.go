package pleoauth_test

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// deafness is an introspection that cannot be believed, or does not answer.
type deafness struct {
	what   string
	faults []pleotest.Fault
	ends   bool // with the other faults
	// refuses: it does not answer.
	refuses bool
}

// chooseDeafness has introspection know no refresh tokens, or no tokens at all, or
// refuse to answer: always, before the first authorisation, or from some moment on.
func (s *sim) chooseDeafness() {
	inactive := pleotest.Fault{Endpoint: pleotest.Introspect, Status: 200, Body: `{"active":false}`, Times: pleotest.Always}
	refresh, access := inactive, inactive
	refresh.Kind, access.Kind = pleotest.RefreshToken, pleotest.AccessToken
	refused := pleotest.Fault{Endpoint: pleotest.Introspect, Status: []int{401, 403, 404}[s.odds.IntN(3)], Body: "<html>", Times: pleotest.Always}
	limited := pleotest.Fault{Endpoint: pleotest.Introspect, Status: 429, Header: http.Header{"Retry-After": {"7"}}, Times: pleotest.Always}
	d := []deafness{
		{what: "knows no refresh tokens", faults: []pleotest.Fault{refresh}},
		{what: "knows no refresh tokens", faults: []pleotest.Fault{refresh}},
		{what: "knows no refresh tokens", faults: []pleotest.Fault{refresh}},
		{what: "knows no tokens", faults: []pleotest.Fault{refresh, access}},
		{what: "refuses to answer", faults: []pleotest.Fault{refused}, refuses: true},
		{what: "is limited", faults: []pleotest.Fault{limited}, ends: true},
	}[s.odds.IntN(6)]
	s.deaf.begins = s.between(0, s.window)
	s.deaf.fromStart = s.chance(2) && !d.ends
	// A server that refuses to answer from some moment on, for ever, leaves what is
	// ambiguous ambiguous: there is nothing that could be judged.
	d.ends = d.ends || !s.deaf.fromStart && (d.refuses || s.chance(2))
	s.deaf.deafness = d
	if s.deaf.fromStart {
		s.goDeaf()
	}
}

func (s *sim) planIntrospection() {
	s.planAPI()
	if !s.deaf.fromStart {
		s.in(s.deaf.begins, "introspection cannot be believed", s.goDeaf)
	}
}

// planAPI has the API, which is asked where introspection cannot be believed, answer
// nothing about tokens for a while, in some schedules.
func (s *sim) planAPI() {
	api := rand.New(rand.NewPCG(s.seed, 11))
	status := []int{503, 403, 429}[api.IntN(3)]
	if begins, lasts := time.Duration(api.Int64N(int64(s.window))), time.Duration(api.Int64N(int64(s.window))); api.IntN(3) == 0 {
		s.in(begins, "the API does not say whose a token is", func() {
			away := s.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/introspect", Status: status, Times: pleotest.Always})
			s.sleep(lasts)
			away.Remove()
		})
	}
}

// noteLie is called when Pleo has called a refresh token inactive. That of a grant
// which lives, by a server that has answered rightly before, cannot be told from
// the truth where its access token is over, or is called inactive as well.
func (s *sim) noteLie(token string) {
	if s.deaf.fromStart {
		return
	}
	for _, a := range s.pleo.Authorisations(pleotest.Target{}) {
		if a.RefreshToken == token && (a.AccessToken == "" || len(s.deaf.faults) > 1) {
			s.note(func(l *ledger) { l.lied[token] = true })
			s.say("Pleo lies about a refresh token, and nothing contradicts it")
		}
	}
}

func (s *sim) liedAbout(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.lied[token]
}

func (s *sim) goDeaf() {
	s.say("introspection %s from now on", s.deaf.what)
	s.deaf.began.Store(true)
	for _, f := range s.deaf.faults {
		s.pleo.Fault(f)
	}
}
