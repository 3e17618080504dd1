package pleotest

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// apiHandler asks for a token first, whatever the address, and routes then.
func (e *Emulator) apiHandler() http.Handler {
	routes := e.apiRoutes()
	return e.tracked(e.dated(e.faulty(API, func(w http.ResponseWriter, r *http.Request) {
		caller, failure := e.admit(r)
		if failure == nil {
			routes.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, caller)))
			return
		}
		e.mu.Lock()
		early := e.early
		e.mu.Unlock()
		switch {
		case !early:
			_, _ = io.Copy(io.Discard, r.Body) // a client that hangs up gets no answer either
		case r.ContentLength != 0:
			// Or else net/http reads some of the body before it answers.
			w.Header().Set("Connection", "close")
		}
		failure.write(w)
	})))
}

// caller is who an API call is made for.
type caller struct {
	company Company
	client  Client
	scopes  []string
	scope   string
}

type callerKey struct{}

func callerOf(r *http.Request) caller {
	c, _ := r.Context().Value(callerKey{}).(caller) // always there behind apiHandler
	return c
}

// apiError is an error of the API. The challenge is what WWW-Authenticate says
// (RFC 6750 section 3).
type apiError struct {
	status    int
	challenge string
	Code      string `json:"error"`
	Message   string `json:"message"`
}

func (err *apiError) write(w http.ResponseWriter) {
	if err.challenge != "" {
		w.Header().Set("WWW-Authenticate", err.challenge)
	}
	writeUncached(w, err.status, err)
}

// refused tells every dead token the same: which of expired, revoked and
// malformed it is can be asked by introspection (Pleo's documentation: errors).
func refused() *apiError {
	return &apiError{
		http.StatusUnauthorized, `Bearer error="invalid_token"`, "invalid_token",
		"The access token is expired, revoked or malformed.",
	}
}

// admit finds the live token of a call. It may only be in the Authorization
// header, once (Pleo's documentation: calling the APIs).
func (e *Emulator) admit(r *http.Request) (caller, *apiError) {
	misplaced := e.misplaced(r)
	e.mu.Lock()
	defer e.mu.Unlock()
	headers := r.Header.Values("Authorization")
	if misplaced {
		e.countLocked(func(c *Counters) { c.MisplacedTokens++ })
		if len(headers) > 0 {
			return caller{}, &apiError{
				http.StatusBadRequest, `Bearer error="invalid_request"`, "invalid_request",
				"A token belongs in the Authorization header, and nowhere else.",
			}
		}
	}
	switch len(headers) {
	case 0:
		e.countLocked(func(c *Counters) { c.TokenlessCalls++ })
		return caller{}, &apiError{http.StatusUnauthorized, "Bearer", "missing_token", "There is no access token."}
	case 1:
	default:
		return caller{}, &apiError{
			http.StatusBadRequest, `Bearer error="invalid_request"`, "invalid_request",
			"There is more than one Authorization header.",
		}
	}
	value := bearer(r)
	e.remember(value)
	t, ok := e.tokens[value]
	if !ok || t.Kind != AccessToken {
		return caller{}, refused()
	}
	if !t.liveAt(time.Now()) {
		e.countLocked(func(c *Counters) { c.DeadTokenCalls++ })
		return caller{}, refused()
	}
	company, _ := findCompany(t.family.Company)
	return caller{company, e.clients[t.family.ClientID], strings.Split(t.family.Scope, " "), t.family.Scope}, nil
}

// misplaced reports whether there is a token in a call's query or form. A form
// is put back as it was.
func (e *Emulator) misplaced(r *http.Request) bool {
	places := []url.Values{r.URL.Query()}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == formType {
		body := r.Body
		start, _ := io.ReadAll(io.LimitReader(body, maxForm)) // a token further on is not looked for
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(start), body), body}
		form, _ := url.ParseQuery(string(start))
		places = append(places, form)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, place := range places {
		if place.Has("access_token") {
			e.remember(place["access_token"]...)
			return true
		}
		for _, values := range place {
			if slices.ContainsFunc(values, func(v string) bool { return e.tokens[v] != nil }) {
				return true
			}
		}
	}
	return false
}

// needs lets a call pass whose token has one of the scopes; without any, every
// call.
func needs(next http.HandlerFunc, scopes ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		has := callerOf(r).scopes
		if len(scopes) > 0 && !slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(has, s) }) {
			(&apiError{
				http.StatusForbidden, `Bearer error="insufficient_scope", scope="` + scopes[0] + `"`,
				"insufficient_scope", "The access token lacks the scope " + scopes[0] + ".",
			}).write(w)
			return
		}
		next(w, r)
	}
}
