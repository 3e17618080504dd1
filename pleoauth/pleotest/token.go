package pleotest

import (
	"net/http"
	"net/url"
	"time"
)

// tokenAnswer is a success of the token endpoint (RFC 6749 section 5.1).
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int    `json:"expires_in"`
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope"`
}

// serveToken is the token endpoint. A request is processed whole under one
// lock: of two refreshes with the same token exactly one succeeds.
func (e *Emulator) serveToken(w http.ResponseWriter, r *http.Request) {
	form, failure := readForm(r)
	if failure != nil {
		failure.write(w)
		return
	}
	e.mu.Lock()
	answer, failure := e.grant(r, form)
	e.save()
	e.mu.Unlock()
	if failure != nil {
		failure.write(w)
		return
	}
	writeUncached(w, http.StatusOK, answer)
}

func (e *Emulator) grant(r *http.Request, form url.Values) (*tokenAnswer, *oauthError) {
	e.rememberForm(form)
	client, failure := e.authenticate(r, form)
	if failure != nil {
		return nil, failure
	}
	var f *family
	switch form.Get("grant_type") {
	case AuthorizationCode:
		for _, name := range []string{"code", "redirect_uri", "code_verifier"} {
			if form.Get(name) == "" {
				return nil, badRequest("invalid_request", name+" is missing")
			}
		}
		f, failure = e.redeem(client, form)
	case RefreshToken:
		if form.Get("refresh_token") == "" {
			return nil, badRequest("invalid_request", "refresh_token is missing")
		}
		f, failure = e.spend(client, form)
	case "":
		failure = badRequest("invalid_request", "grant_type is missing")
	default:
		failure = badRequest("unsupported_grant_type", "grant_type must be authorization_code or refresh_token")
	}
	if failure != nil {
		return nil, failure
	}
	p := e.issue(f, faultOf(r))
	if form.Get("grant_type") == AuthorizationCode {
		e.countLocked(func(c *Counters) { c.Exchanges++ })
		e.log.Info("code exchanged", "client", client.ID, "authorisation", f.ID)
	} else {
		e.countLocked(func(c *Counters) { c.Refreshes++ })
		e.log.Info("refreshed", "client", client.ID, "authorisation", f.ID, "generation", f.Generation)
	}
	return &tokenAnswer{
		AccessToken: p.access.Value, RefreshToken: p.refresh.Value, TokenType: "Bearer", Scope: f.Scope,
		ExpiresIn: int(p.access.Expires.Sub(p.access.Issued) / time.Second),
	}, nil
}

// spend takes a refresh token and kills the whole pair that it belongs to
// (Pleo's documentation: centralised token refresh). The use of a dead one
// kills every live refresh token of its authorisation (Pleo's documentation:
// tokens overview).
func (e *Emulator) spend(client Client, form url.Values) (*family, *oauthError) {
	t, ok := e.tokens[form.Get("refresh_token")]
	if !ok || t.Kind != RefreshToken || t.family.ClientID != client.ID {
		return nil, badRequest("invalid_grant", "no such refresh token")
	}
	now, f := time.Now(), t.family
	switch {
	case t.Death == deathSpent:
		f.kill("", deathReplay, now)
		e.countLocked(func(c *Counters) { c.Replays++ })
		e.log.Warn("a spent refresh token came again", "client", client.ID, "authorisation", f.ID)
		return nil, badRequest("invalid_grant", "the refresh token was used already; its authorisation has ended")
	case !t.liveAt(now):
		f.kill(RefreshToken, deathReplay, now)
		e.countLocked(func(c *Counters) { c.DeadRefreshes++ })
		e.log.Warn("a dead refresh token came", "client", client.ID, "authorisation", f.ID)
		return nil, badRequest("invalid_grant", "the refresh token is expired or revoked")
	case form.Get("scope") != "" && form.Get("scope") != f.Scope:
		return nil, badRequest("invalid_scope", "a refresh cannot change the scope")
	}
	t.kill(deathSpent, now)
	f.kill("", deathRotated, now)
	return f, nil
}

// rememberForm lists what a form brought, whether or not it is any good.
func (e *Emulator) rememberForm(form url.Values) {
	for _, name := range []string{"code", "code_verifier", "refresh_token", "token", "client_secret"} {
		e.remember(form.Get(name))
	}
}
