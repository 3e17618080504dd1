package pleoauth

import (
	"fmt"
	"log/slog"
	"time"
)

const redacted = "[redacted]"

// Grant is what Pleo issued for one connection: a pair of opaque tokens and
// what is known of them. It never prints its tokens, whatever verb, logger or
// encoder it is given to.
type Grant struct {
	// AccessToken goes to the API in the Authorization header.
	AccessToken string
	// RefreshToken buys the next pair, once.
	RefreshToken string
	// ExpiresIn is how long the access token lives, counted from when the
	// request for it was sent.
	ExpiresIn time.Duration
	// Scope is what Pleo granted, as it spelled it; it is compared whole.
	Scope string
	// NoRefreshToken is set when Pleo's answer carried no refresh token: the
	// RefreshToken above is then the one that was spent, and whether it still
	// lives has to be asked before it may be sent again.
	NoRefreshToken bool
}

// String returns a fixed text.
func (Grant) String() string { return redacted }

// GoString returns a fixed text, for the verb %#v.
func (Grant) GoString() string { return "pleoauth.Grant{" + redacted + "}" }

// Format writes a fixed text, whatever the verb.
func (Grant) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns a fixed text, for log/slog.
func (Grant) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a fixed text, for encoders.
func (Grant) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Interface guards
var (
	_ fmt.Formatter  = Grant{}
	_ fmt.GoStringer = Grant{}
	_ fmt.Stringer   = Grant{}
	_ slog.LogValuer = Grant{}
)
