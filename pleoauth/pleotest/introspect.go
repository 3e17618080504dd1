package pleotest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Introspection is what the introspection endpoint does not know. Pleo's
// documentation has it know both kinds of token; the zero value does.
type Introspection struct {
	// Unknown are kinds of token that the endpoint does not know: [RefreshToken],
	// [AccessToken] or both. A token that the emulator never issued is of the kind
	// that token_type_hint says.
	Unknown []TokenKind `json:"unknown"`
	// Status answers for a token of such a kind, with the error
	// unsupported_token_type: 401, 403 or 404, for instance. The client's own
	// authentication is checked before. Default: 200 and {"active":false}.
	Status int `json:"status,omitempty"`
}

func (i Introspection) check() error {
	for _, kind := range i.Unknown {
		if kind != AccessToken && kind != RefreshToken {
			return fmt.Errorf("introspection: no kind of token %q", kind)
		}
	}
	switch {
	case i.Status != 0 && (i.Status < 400 || i.Status > 599):
		return fmt.Errorf("introspection: %d is no status of an error", i.Status)
	case i.Status != 0 && len(i.Unknown) == 0:
		return errors.New("introspection: a status needs a kind of token that is unknown")
	}
	return nil
}

// SetIntrospection says what the introspection endpoint does not know from now
// on.
func (e *Emulator) SetIntrospection(introspection Introspection) error {
	if err := introspection.check(); err != nil {
		return err
	}
	introspection.Unknown = slices.Clone(introspection.Unknown)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ignorant = introspection
	return nil
}

// active is what is said about a live token (Pleo's documentation: token
// introspection; RFC 7662 section 2.2).
type active struct {
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
	t, ok := e.tokens[form.Get("token")]
	kind := TokenKind(form.Get("token_type_hint"))
	if ok {
		kind = t.Kind
	}
	if slices.Contains(e.ignorant.Unknown, kind) {
		if e.ignorant.Status != 0 {
			return nil, &oauthError{e.ignorant.Status, "unsupported_token_type", "tokens of this kind cannot be looked at"}
		}
		return inactive{}, nil
	}
	at := time.Now()
	if fault := faultOf(r); fault != nil {
		at = at.Add(-fault.Lag)
	}
	if !ok || t.family.ClientID != client.ID || !t.liveAt(at) {
		return inactive{}, nil
	}
	return active{
		Active: true, Subject: "urn:pleo:user:" + t.family.User, Expires: t.Expires.Add(e.ahead).Unix(), Issued: t.Issued.Add(e.ahead).Unix(),
		ClientID: client.ID, Audience: e.settings.apiURL, Issuer: e.settings.authURL, ID: t.ID,
		Company: t.family.Company,
	}, nil
}
