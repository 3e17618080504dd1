package pleotest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"regexp"
	"time"
)

// code is an authorisation code. It is kept after its use, to recognise a
// second one.
type code struct {
	Value       string    `json:"value"`
	ClientID    string    `json:"client_id"`
	RedirectURI string    `json:"redirect_uri"`
	Scope       string    `json:"scope"`
	Challenge   string    `json:"challenge"`
	Company     string    `json:"company"`
	Expires     time.Time `json:"expires"`
	Used        bool      `json:"used"`
	// Family is what the first use began.
	Family string `json:"family,omitempty"`
}

// codeMemory is how long after its end a code's second use is recognised.
const codeMemory = time.Hour

func (e *Emulator) issueCode(a authorisation, company Company) *code {
	now := time.Now()
	for value, old := range e.codes {
		if now.After(old.Expires.Add(codeMemory)) {
			delete(e.codes, value)
		}
	}
	c := &code{
		Value: "pac/" + e.secretCore() + "+=", ClientID: a.client.ID, RedirectURI: a.redirectURI, Scope: a.scope,
		Challenge: a.challenge, Company: company.ID, Expires: now.Add(e.settings.codeLife),
	}
	e.codes[c.Value] = c
	e.remember(c.Value)
	return c
}

// redeem spends a code, once: an attempt that fails its checks spends it too.
// A second use kills what the first one issued (RFC 6749 section 4.1.2).
func (e *Emulator) redeem(client Client, form url.Values) (*family, *oauthError) {
	c, ok := e.codes[form.Get("code")]
	if !ok || c.ClientID != client.ID {
		return nil, badRequest("invalid_grant", "no such code")
	}
	now := time.Now()
	if c.Used {
		e.countLocked(func(c *Counters) { c.CodeReplays++ })
		if f, ok := e.families[c.Family]; ok {
			f.kill("", deathReplay, now)
		}
		return nil, badRequest("invalid_grant", "the code was used already")
	}
	c.Used = true
	switch {
	case !now.Before(c.Expires):
		return nil, badRequest("invalid_grant", "the code has expired")
	case form.Get("redirect_uri") != c.RedirectURI:
		return nil, badRequest("invalid_grant", "the redirect URI is not that of the authorisation request")
	case !verified(c.Challenge, form.Get("code_verifier")):
		return nil, badRequest("invalid_grant", "the code verifier does not match")
	}
	company, _ := findCompany(c.Company)
	f := e.authorise(client.ID, company, c.Scope)
	c.Family = f.ID
	return f, nil
}

var verifierSyntax = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// verified compares a code verifier with its challenge (RFC 7636 section 4.6).
func verified(challenge, verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	encoded := base64.RawURLEncoding.EncodeToString(sum[:])
	return verifierSyntax.MatchString(verifier) &&
		subtle.ConstantTimeCompare([]byte(encoded), []byte(challenge)) == 1
}
