package pleotest

import (
	"net/http"
	"net/url"
	"time"
)

// introspection is what is said about a live token (Pleo's documentation: token
// introspection; RFC 7662 section 2.2).
type introspection struct {
	Active   bool   `json:"active"`
	Subject  string `json:"sub"`
	Expires  int64  `json:"exp"`
	Issued   int64  `json:"iat"`
	ClientID string `json:"client_id"`
	Audience string `json:"aud"`
	Issuer   string `json:"iss"`
	ID       string `json:"jti"`
	Company  string `json:"urn:pleo:params:oauth:subject_urn"`
}

// inactive says nothing but that.
type inactive struct {
	Active bool `json:"active"`
}

func (e *Emulator) serveIntrospect(w http.ResponseWriter, r *http.Request) {
	form, failure := readForm(r)
	if failure != nil {
		failure.write(w)
		return
	}
	e.mu.Lock()
	answer, failure := e.introspect(r, form)
	e.mu.Unlock()
	if failure != nil {
		failure.write(w)
		return
	}
	writeUncached(w, http.StatusOK, answer)
}

// introspect looks at a token. That is no use of it: a dead refresh token does
// its authorisation no harm here. The hint is only a hint: a token of the other
// kind is found all the same.
func (e *Emulator) introspect(r *http.Request, form url.Values) (any, *oauthError) {
	e.rememberForm(form)
	client, failure := e.authenticate(r, form)
	if failure != nil {
		return nil, failure
	}
	if !form.Has("token") {
		return nil, badRequest("invalid_request", "token is missing")
	}
	switch TokenKind(form.Get("token_type_hint")) {
	case "", AccessToken, RefreshToken:
	default:
		return nil, badRequest("invalid_request", "token_type_hint must be access_token or refresh_token")
	}
	at := time.Now()
	if fault := faultOf(r); fault != nil {
		at = at.Add(-fault.Lag)
	}
	t, ok := e.tokens[form.Get("token")]
	if !ok || t.family.ClientID != client.ID || !t.liveAt(at) {
		return inactive{}, nil
	}
	return introspection{
		Active: true, Subject: "urn:pleo:user:" + t.family.User, Expires: t.Expires.Unix(), Issued: t.Issued.Unix(),
		ClientID: client.ID, Audience: e.settings.apiURL, Issuer: e.settings.authURL, ID: t.ID,
		Company: t.family.Company,
	}, nil
}
