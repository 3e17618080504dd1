package pleotest

import (
	"fmt"
	"strings"
	"time"
)

// TokenKind tells the two kinds of token apart, spelled as on the wire.
type TokenKind string

// AccessToken is the kind of token that API calls carry.
const AccessToken TokenKind = "access_token"

// The wire's words that are, or also are, grant types.
const (
	// RefreshToken is a grant type, and the other [TokenKind].
	RefreshToken = "refresh_token"
	// AuthorizationCode is the other grant type.
	AuthorizationCode = "authorization_code"
)

// death says why a token died before its time.
type death string

const (
	deathSpent    death = "spent"    // a refresh token that bought the next pair
	deathRotated  death = "rotated"  // the access token beside it
	deathReplay   death = "replay"   // killed by a replay in its family
	deathRevoked  death = "revoked"  // revoked on demand
	deathExpired  death = "expired"  // expired on demand
	deathReplaced death = "replaced" // by a second consent
	deathAtBirth  death = "at birth" // dead on arrival, by a fault
)

// token is an access or refresh token. It is kept after its death, so that its
// use can be recognised.
type token struct {
	Value   string    `json:"value"`
	Kind    TokenKind `json:"kind"`
	ID      string    `json:"jti"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Died    time.Time `json:"died,omitzero"`
	Death   death     `json:"death,omitempty"`

	family *family
}

// liveAt reports whether the token lived at a moment, which may be in the past.
func (t *token) liveAt(at time.Time) bool {
	return !at.Before(t.Issued) && at.Before(t.Expires) && (t.Died.IsZero() || at.Before(t.Died))
}

func (t *token) kill(why death, now time.Time) {
	if t.liveAt(now) {
		t.Died, t.Death = now, why
	}
}

// family is one authorisation: every token that came of one consent.
type family struct {
	ID         string    `json:"id"`
	ClientID   string    `json:"client_id"`
	Company    string    `json:"company"` // URN
	Scope      string    `json:"scope"`
	User       string    `json:"user"`
	Authorised time.Time `json:"authorised"`
	Generation int       `json:"generation"`
	Tokens     []*token  `json:"tokens"`
}

// latest is the pair that was issued last: no other can be alive, since every
// way to a new pair kills the old one.
func (f *family) latest() []*token { return f.Tokens[max(0, len(f.Tokens)-2):] }

// kill ends the live tokens of a kind, or of both kinds where kind is empty.
func (f *family) kill(kind TokenKind, why death, now time.Time) (killed int) {
	for _, t := range f.latest() {
		if (kind == "" || t.Kind == kind) && t.liveAt(now) {
			t.kill(why, now)
			killed++
		}
	}
	return killed
}

func (f *family) live(kind TokenKind, now time.Time) *token {
	for _, t := range f.latest() {
		if t.Kind == kind && t.liveAt(now) {
			return t
		}
	}
	return nil
}

// maxTokens bounds what a family remembers: 5,000 pairs, which at one refresh
// a minute is three and a half days.
const maxTokens = 10_000

// pair is what the token endpoint answers with.
type pair struct {
	access, refresh *token
}

// issue gives the family its next pair. It does not kill the previous one.
func (e *Emulator) issue(f *family, fault *Fault) pair {
	now := time.Now()
	f.Generation++
	p := pair{
		access:  e.mint(f, AccessToken, now, e.life),
		refresh: e.mint(f, RefreshToken, now, e.settings.refreshTokenLife),
	}
	if fault != nil && fault.AccessDeadOnArrival {
		p.access.kill(deathAtBirth, now)
	}
	if fault != nil && fault.RefreshDeadOnArrival {
		p.refresh.kill(deathAtBirth, now)
	}
	for len(f.Tokens) > maxTokens {
		delete(e.tokens, f.Tokens[0].Value)
		f.Tokens = f.Tokens[1:]
	}
	return p
}

// mint makes a token: a prefix, a core that looks the same in every encoding,
// and a tail of characters that do not, so that clients which forget to encode
// are found out. An access token is a b64token (RFC 6750 section 2.1); a refresh
// token may hold any visible character (RFC 6749 appendix A.17).
func (e *Emulator) mint(f *family, kind TokenKind, now time.Time, life time.Duration) *token {
	value := "pat~" + e.secretCore() + "+/.=="
	if kind == RefreshToken {
		value = "prt:" + e.secretCore() + "+&%2B/~="
	}
	t := &token{
		Value: value, Kind: kind, ID: newUUID(), Issued: now, Expires: now.Add(life), family: f,
	}
	f.Tokens = append(f.Tokens, t)
	e.tokens[value] = t
	e.remember(value)
	return t
}

// authorise begins a family, or finds the one that a second consent renews.
func (e *Emulator) authorise(clientID string, company Company, scope string) *family {
	now := time.Now()
	if e.oneFamily {
		var latest *family
		for _, f := range e.families {
			if f.ClientID == clientID && f.Company == company.URN() &&
				(latest == nil || f.Authorised.After(latest.Authorised)) {
				latest = f
			}
		}
		if latest != nil {
			latest.kill("", deathReplaced, now)
			latest.Scope, latest.Authorised = scope, now
			return latest
		}
	}
	f := &family{
		ID: newUUID(), ClientID: clientID, Company: company.URN(), Scope: scope,
		User: company.employees()[0].ID, Authorised: now,
	}
	e.families[f.ID] = f
	return f
}

// Authorisation is what one consent has come to.
type Authorisation struct {
	// ID names the authorisation in [Target].
	ID string `json:"id"`
	// ClientID is the client that it was given to.
	ClientID string `json:"client_id"`
	// Company is the URN of the company that gave it.
	Company string `json:"company"`
	// Scope is what was granted, separated by spaces.
	Scope string `json:"scope"`
	// Generation counts the pairs that were issued.
	Generation int `json:"generation"`
	// AccessToken and RefreshToken are the live ones, each empty if there is
	// none. The control handler leaves them out.
	AccessToken  string `json:"-"`
	RefreshToken string `json:"-"`
	// Connected reports whether the refresh token lives.
	Connected bool `json:"connected"`
}

func (f *family) authorisation() Authorisation {
	now := time.Now()
	a := Authorisation{
		ID: f.ID, ClientID: f.ClientID, Company: f.Company, Scope: f.Scope, Generation: f.Generation,
	}
	if t := f.live(AccessToken, now); t != nil {
		a.AccessToken = t.Value
	}
	if t := f.live(RefreshToken, now); t != nil {
		a.RefreshToken, a.Connected = t.Value, true
	}
	return a
}

// Issue gives a client a pair of tokens without the user and the code: for
// tests that are about the API. An empty client is the first one registered by
// an option, an empty company the first one, an empty scope all that the
// client may have.
func (e *Emulator) Issue(clientID, company, scope string) (Authorisation, error) {
	if clientID == "" {
		clientID = e.settings.clients[0].ID
	}
	if company == "" {
		company = companies[0].ID
	}
	c, ok := findCompany(company)
	if !ok {
		return Authorisation{}, fmt.Errorf("no company %q", company)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	client, ok := e.clients[clientID]
	if !ok {
		return Authorisation{}, fmt.Errorf("no client %q", clientID)
	}
	if scope == "" {
		scope = strings.Join(client.Scopes, " ")
	}
	f := e.authorise(client.ID, c, scope)
	e.issue(f, nil)
	e.save()
	return f.authorisation(), nil
}
