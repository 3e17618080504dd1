package pleotest

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// meet returns the fault that happens to a request, or nil.
func (e *Emulator) meet(endpoint Endpoint, r *http.Request, form url.Values) *ActiveFault {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, active := range e.faults {
		f := &active.fault
		if active.removed || f.Times != Always && active.hits >= f.Times || !e.selects(f, endpoint, r, form) {
			continue
		}
		if active.seen++; active.seen <= f.Skip {
			continue
		}
		active.hits++
		if f.Hold == "" {
			closeOnce(active.reached)
		}
		e.countLocked(func(c *Counters) { c.Faults++ })
		return active
	}
	return nil
}

func (e *Emulator) selects(f *Fault, endpoint Endpoint, r *http.Request, form url.Values) bool {
	client, company, kind := e.about(endpoint, r, form)
	wanted, _ := findCompany(f.Company)
	return (f.Endpoint == "" || f.Endpoint == endpoint) &&
		(f.GrantType == "" || f.GrantType == form.Get("grant_type")) &&
		(f.ClientID == "" || f.ClientID == client) &&
		(f.Company == "" || wanted.URN() == company) &&
		(f.Kind == "" || f.Kind == kind) &&
		(f.Method == "" || f.Method == r.Method) &&
		(f.Path == "" || f.Path == r.URL.EscapedPath()) &&
		(f.Match == nil || f.Match(r))
}

// about tells which client and company a request is about, as far as it says.
func (e *Emulator) about(
	endpoint Endpoint, r *http.Request, form url.Values,
) (client, company string, kind TokenKind) {
	var value string
	switch endpoint {
	case Authorise:
		return r.URL.Query().Get("client_id"), r.URL.Query().Get("urn_pleo_params_oauth_subject"), ""
	case API:
		value = bearer(r)
	case Token, Introspect:
		client = form.Get("client_id")
		if id, _, ok := basicAuth(r.Header.Values("Authorization")); ok {
			client = id
		}
		value = form.Get("refresh_token") + form.Get("token")
		if c, ok := e.codes[form.Get("code")]; ok {
			of, _ := findCompany(c.Company)
			return client, of.URN(), ""
		}
	}
	if t, ok := e.tokens[value]; ok {
		return t.family.ClientID, t.family.Company, t.Kind
	}
	return client, "", ""
}

// bearer is the token in a request's Authorization header, however malformed
// the header is otherwise.
func bearer(r *http.Request) string {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return value
}

type faultKey struct{}

// faultOf is the fault that happens to a request, for the parts of it that
// only processing can make happen.
func faultOf(r *http.Request) *Fault {
	fault, _ := r.Context().Value(faultKey{}).(*Fault)
	return fault
}

func withFault(r *http.Request, fault *Fault) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), faultKey{}, fault))
}
