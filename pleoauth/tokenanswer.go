package pleoauth

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 1 << 20
	// fallbackLife is assumed where an answer has no readable expires_in
	// (RFC 6749, section 5.1, lets it be absent).
	fallbackLife = 5 * time.Minute
	// maxLife bounds what an expires_in is believed.
	maxLife = 24 * time.Hour
)

// answer is what came back from the token endpoint.
type answer struct {
	status     int
	retryAfter time.Duration
	body       []byte
}

// grant reads the answer. spent is the refresh token that was sent, or "".
//
// It reads what it needs and tolerates the rest: an answer that cannot be read
// costs the customer's authorisation, a strange expires_in does not have to.
func (a answer) grant(spent string) (Grant, error) {
	var body struct {
		AccessToken  string          `json:"access_token"`
		RefreshToken string          `json:"refresh_token"`
		ExpiresIn    json.RawMessage `json:"expires_in"`
		Scope        json.RawMessage `json:"scope"`
		Error        json.RawMessage `json:"error"`
	}
	unreadable := json.Unmarshal(a.body, &body) != nil
	code := knownCode(body.Error)
	switch {
	case a.status == http.StatusTooManyRequests:
		return Grant{}, &OAuthError{Kind: ErrRateLimited, Code: code, Status: a.status, RetryAfter: a.retryAfter}
	case a.status >= 400 && a.status < 500 && terminalCodes[code]:
		return Grant{}, &OAuthError{Kind: ErrTerminal, Code: code, Status: a.status}
	case a.status >= 400 && a.status < 500 && misconfiguredCodes[code]:
		return Grant{}, &OAuthError{Kind: ErrMisconfigured, Code: code, Status: a.status, RetryAfter: a.retryAfter}
	case a.status < 200 || a.status > 299:
		return Grant{}, &OAuthError{Kind: ErrAmbiguous, Code: code, Status: a.status, RetryAfter: a.retryAfter}
	case unreadable:
		return Grant{}, &OAuthError{Kind: ErrAmbiguous, Status: a.status, Err: errors.New("the answer is unreadable")}
	case !validToken(body.AccessToken):
		return Grant{}, &OAuthError{Kind: ErrAmbiguous, Code: code, Status: a.status, Err: errors.New("the answer has no access token")}
	}
	g := Grant{
		AccessToken:  body.AccessToken,
		RefreshToken: body.RefreshToken,
		ExpiresIn:    lifeOf(body.ExpiresIn),
	}
	_ = json.Unmarshal(body.Scope, &g.Scope)
	if g.RefreshToken == "" || g.RefreshToken == spent {
		g.RefreshToken, g.NoRefreshToken = spent, true
	}
	return g, nil
}

func knownCode(raw json.RawMessage) string {
	var code string
	if json.Unmarshal(raw, &code) != nil {
		return ""
	}
	if terminalCodes[code] || misconfiguredCodes[code] || otherCodes[code] {
		return code
	}
	return ""
}

// validToken keeps out what a header cannot carry (RFC 6750, section 2.1).
func validToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// lifeOf reads expires_in: a number, or a number in a string.
func lifeOf(raw json.RawMessage) time.Duration {
	text := strings.Trim(string(raw), `" `)
	seconds, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) && math.IsInf(seconds, 1) {
		return maxLife
	}
	if err != nil || math.IsNaN(seconds) {
		return fallbackLife
	}
	return time.Duration(min(max(seconds, 0), maxLife.Seconds()) * float64(time.Second))
}

// maxRetryAfter bounds what a Retry-After is believed.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header (RFC 9110, section 10.2.3), in either form.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(time.Until(at), 0), maxRetryAfter)
	}
	return 0
}
