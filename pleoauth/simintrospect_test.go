package pleoauth_test

import (
	"net/http"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// deafness is an introspection that cannot be believed, or does not answer.
type deafness struct {
	what   string
	faults []pleotest.Fault
	ends   bool // with the other faults
	lies   bool // it calls live tokens of both kinds inactive, which it had called active
}

// planIntrospection has introspection know no refresh tokens, or no tokens at all,
// or refuse to answer: always, or from some moment on.
func (s *sim) planIntrospection() {
	inactive := pleotest.Fault{Endpoint: pleotest.Introspect, Status: 200, Body: `{"active":false}`, Times: pleotest.Always}
	refresh, access := inactive, inactive
	refresh.Kind, access.Kind = pleotest.RefreshToken, pleotest.AccessToken
	refused := pleotest.Fault{Endpoint: pleotest.Introspect, Status: []int{401, 403, 404}[s.odds.IntN(3)], Body: "<html>", Times: pleotest.Always}
	limited := pleotest.Fault{Endpoint: pleotest.Introspect, Status: 429, Header: http.Header{"Retry-After": {"7"}}, Times: pleotest.Always}
	d := []deafness{
		{what: "knows no refresh tokens", faults: []pleotest.Fault{refresh}},
		{what: "knows no refresh tokens", faults: []pleotest.Fault{refresh}},
		{what: "knows no refresh tokens", faults: []pleotest.Fault{refresh}},
		{what: "knows no tokens", faults: []pleotest.Fault{refresh, access}, lies: true},
		{what: "refuses to answer", faults: []pleotest.Fault{refused}},
		{what: "is limited", faults: []pleotest.Fault{limited}, ends: true},
	}[s.odds.IntN(6)]
	begins := s.between(0, s.window)
	if s.deaf.fromStart = s.chance(2) && !d.ends; s.deaf.fromStart {
		begins = 0
	}
	d.ends = d.ends || !s.deaf.fromStart && s.chance(2)
	d.lies = d.lies && !s.deaf.fromStart
	s.deaf.deafness = d
	s.in(begins, "introspection cannot be believed", s.goDeaf)
}

func (s *sim) goDeaf() {
	s.say("introspection %s from now on", s.deaf.what)
	s.deaf.began = true
	for _, f := range s.deaf.faults {
		s.pleo.Fault(f)
	}
}
