package pleoauth

import (
	"errors"
	"fmt"
	"time"
)

// Errors of [Source.Token] and [Source.Refused]. They come wrapped in a
// [TokenError], which says how long to wait and why.
var (
	// ErrNotConnected is returned when the connection has no grant: it was
	// never authorised, or has been disconnected.
	ErrNotConnected = errors.New("not connected")
	// ErrReauthorisationRequired is returned when the connection's grant has
	// ended and a user has to authorise again.
	ErrReauthorisationRequired = errors.New("reauthorisation required")
	// ErrClientRejected is returned when Pleo refuses the client id or secret.
	// Grants are kept.
	ErrClientRejected = errors.New("client rejected")
	// ErrRefreshFailed is returned when a refresh is needed, did not work, and
	// will be tried again.
	ErrRefreshFailed = errors.New("refresh failed")
	// ErrRefreshUnsettled is returned when a refresh may or may not have been
	// processed and Pleo has not said yet which.
	ErrRefreshUnsettled = errors.New("refresh unsettled")
	// ErrStoreUnavailable is returned when the store cannot be reached and
	// memory does not suffice.
	ErrStoreUnavailable = errors.New("store unavailable")
	// ErrForeignRecord is returned when the store's record of the connection
	// belongs to another client or authorisation server. It is not touched.
	ErrForeignRecord = errors.New("record belongs to another client or authorisation server")
	// ErrTokenAlive is returned by [Source.Refused] when Pleo says that the
	// refused token is good: the refusal is about the call.
	ErrTokenAlive = errors.New("the refused token is alive")
)

// TokenError says why there is no token for a call.
type TokenError struct {
	// Kind is one of the errors above.
	Kind error
	// Connection is the connection that was asked for.
	Connection string
	// Reason says how the grant ended, for [ErrReauthorisationRequired].
	Reason Reason
	// RetryAfter is when it is worth asking again; zero where it is not.
	RetryAfter time.Duration
	// Err is what lay behind it, or nil. It holds no secret.
	Err error
}

// Error names the connection, what happened, and what lay behind it.
func (e *TokenError) Error() string {
	text := fmt.Sprintf("connection %q: %v", e.Connection, e.Kind)
	if e.Reason != "" {
		text += fmt.Sprintf(" (%s)", e.Reason)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap makes [errors.Is] find both the kind and the cause.
func (e *TokenError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
