package pleoauth

import (
	"errors"
	"fmt"
	"time"
)

// Outcomes of a request to the token endpoint other than success. Each error
// of [Client] and [TokenConn] wraps exactly one of them.
var (
	// ErrTerminal is returned when Pleo says that the grant or the code has
	// ended: invalid_grant, invalid_token or invalid_refresh_token. (Pleo's
	// documentation: token expiry or revocation.)
	ErrTerminal = errors.New("the grant has ended")
	// ErrMisconfigured is returned when Pleo refuses the client:
	// invalid_client or unauthorized_client. The operator's fault, not the
	// customer's: grants are kept.
	ErrMisconfigured = errors.New("the client id or secret was refused")
	// ErrRateLimited is returned on a 429. Whether the request was processed
	// is not certain, so the token is not sent again before Pleo was asked.
	ErrRateLimited = errors.New("too many requests")
	// ErrNotProcessed is returned when not one byte of the request has left
	// this process, so that Pleo cannot have processed it.
	ErrNotProcessed = errors.New("the request was not sent")
	// ErrAmbiguous is returned for everything else: the request may or may not
	// have been processed, and must not be sent again.
	ErrAmbiguous = errors.New("the request may have been processed")
)

// OAuthError is an error of the authorisation server, or of the way to it. It
// holds no token and nothing of the answer's body but a known error code.
type OAuthError struct {
	// Kind is one of the outcomes above.
	Kind error
	// Code is the OAuth error code (RFC 6749, section 5.2), if it is a known one.
	Code string
	// Status is the answer's HTTP status, 0 where there was no answer.
	Status int
	// RetryAfter is what the answer's Retry-After said, or 0.
	RetryAfter time.Duration
	// Err is the network's error, or why a refused secret could not be read
	// again, or nil.
	Err error

	// otherSecret is set where the secret was refused and another is known.
	otherSecret bool
}

// Error tells the outcome, the status and the code.
func (e *OAuthError) Error() string {
	text := e.Kind.Error()
	if e.Status != 0 {
		text += fmt.Sprintf(": status %d", e.Status)
	}
	if e.Code != "" {
		text += ": " + e.Code
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap makes [errors.Is] find both the outcome and the cause.
func (e *OAuthError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// terminalCodes end an authorisation; nothing else does. (Pleo's
// documentation: token expiry or revocation; the last was seen in production.)
var terminalCodes = map[string]bool{
	"invalid_grant":         true,
	"invalid_token":         true,
	"invalid_refresh_token": true,
}

// misconfiguredCodes are about the client.
var misconfiguredCodes = map[string]bool{
	"invalid_client":      true,
	"unauthorized_client": true,
}

// refusedCodes say that a request to the token endpoint was refused as it stood
// (RFC 6749, section 5.2).
var refusedCodes = map[string]bool{
	"invalid_request":        true,
	"invalid_client":         true,
	"invalid_grant":          true,
	"unauthorized_client":    true,
	"unsupported_grant_type": true,
	"invalid_scope":          true,
}

// otherCodes are repeated in errors because they help, and decide nothing.
var otherCodes = map[string]bool{
	"invalid_request":         true,
	"invalid_scope":           true,
	"unsupported_grant_type":  true,
	"server_error":            true,
	"temporarily_unavailable": true,
	"access_denied":           true,
}
