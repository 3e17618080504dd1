package pleoauth

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
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
	// cut is how the transport ended before the body's end, or nil.
	cut error
}

// grant reads the answer. spent is the refresh token that was sent, or "".
//
// It reads what it needs and tolerates the rest: an answer that cannot be read
// costs the customer's authorisation, a strange expires_in does not have to, nor
// a body whose end did not come once both tokens are there.
func (a answer) grant(spent string) (Grant, error) {
	body := readObject(a.body)
	code := knownCode(body.text("error"))
	access, refresh := body.token("access_token"), body.token("refresh_token")
	failed := func(kind, err error) (Grant, error) {
		return Grant{}, &OAuthError{Kind: kind, Code: code, Status: a.status, RetryAfter: a.retryAfter, Err: err}
	}
	switch {
	case a.status == http.StatusTooManyRequests:
		return failed(ErrRateLimited, nil)
	case a.status >= 400 && a.status < 500 && terminalCodes[code]:
		return failed(ErrTerminal, nil)
	case a.status >= 400 && a.status < 500 && misconfiguredCodes[code]:
		return failed(ErrMisconfigured, nil)
	case a.status < 200 || a.status > 299:
		return failed(ErrAmbiguous, nil)
	case (a.cut != nil || !body.whole) && (access == "" || refresh == ""): // what is missing may have been the rest of the pair
		return failed(ErrAmbiguous, cmp.Or(a.cut, errUnreadable))
	case !validToken(access):
		return failed(ErrAmbiguous, errors.New("the answer has no access token"))
	}
	g := Grant{
		AccessToken:  access,
		RefreshToken: refresh,
		ExpiresIn:    lifeOf(body.members["expires_in"]),
		Scope:        body.text("scope"),
	}
	if g.RefreshToken == "" || g.RefreshToken == spent {
		g.RefreshToken, g.NoRefreshToken = spent, true
	}
	return g, nil
}

// knownCode lets an error code through if it is one that this package knows: the
// text comes from outside and may repeat secrets.
func knownCode(code string) string {
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

// maxRetryAfter bounds what a Retry-After is believed: a person should not find
// customers waiting for longer because of one header.
const maxRetryAfter = time.Hour

// retryAfter reads the header (RFC 9110, section 10.2.3), in either form. A date is
// a time on the other server's clock, so it is read against that server's own
// Date (RFC 9110, section 6.6.1), and against this process's clock only if the
// answer has none.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
