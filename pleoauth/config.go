package pleoauth

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// The two servers of Pleo's environments.
const (
	ProductionAuthServer = "https://auth.pleo.io"
	ProductionAPIServer  = "https://external.pleo.io"
	StagingAuthServer    = "https://auth.staging.pleo.io"
	StagingAPIServer     = "https://external.staging.pleo.io"
)

// Defaults of [Config].
const (
	DefaultRefreshBefore  = 60 * time.Second
	DefaultRefreshTimeout = 10 * time.Second
	DefaultKeepAlive      = 30 * 24 * time.Hour
)

// ErrConfig is returned when a [Config] cannot work. The text names the field
// in the spelling of the Caddyfile and of JSON.
var ErrConfig = errors.New("configuration")

// Config says which client of which servers a [Source] acts for.
type Config struct {
	// AuthServer is the base URL of the authorisation server.
	// Default: https://auth.pleo.io.
	AuthServer string
	// Issuer is what the authorisation server calls itself in the parameter iss of
	// callbacks (RFC 9207), where that is not its base URL. Default: AuthServer.
	Issuer string
	// APIServer is the base URL of the API. Default: https://external.pleo.io.
	APIServer string
	// ClientID is the OAuth client's id. Required.
	ClientID string
	// ClientSecret authenticates a confidential client. Empty: a public client.
	ClientSecret string
	// SecondClientSecret is tried once Pleo has refused ClientSecret, and the
	// other way round: for the time in which the secret is being changed.
	SecondClientSecret string
	// ReadSecrets returns the two as they are now. It is called when Pleo has
	// refused the secret in use, so that a file that was changed is read again.
	// Default: nil; they do not change.
	ReadSecrets func() (secret, second string, err error)
	// Scopes are asked for when a connection is authorised.
	Scopes []string
	// RedirectURI is where Pleo sends the browser back, character for
	// character as it is registered. Needed to authorise, not to refresh.
	RedirectURI string
	// AuthoriseURI is the public URL under which BeginAuthorisation is served.
	// Needed for links with a ticket.
	AuthoriseURI string
	// RefreshBefore is how long before its expiry a token in use is refreshed.
	// It is never more than half of the token's life. Default: 60s.
	RefreshBefore time.Duration
	// RefreshTimeout bounds callers that wait for a refresh, and the sending of
	// a refresh token; an answer is read for as long as it takes. Default: 10s.
	RefreshTimeout time.Duration
	// KeepAlive is the age at which an unused grant is refreshed, so that its
	// refresh token does not expire. Default: 30 days.
	KeepAlive time.Duration
	// AllowSubjectChange lets a connection be authorised again for another
	// company than before.
	AllowSubjectChange bool
}

// WithDefaults returns the configuration with every empty field that has a
// default filled in, and without slashes at the end of its servers.
func (c Config) WithDefaults() Config {
	if c.AuthServer == "" {
		c.AuthServer = ProductionAuthServer
	}
	if c.APIServer == "" {
		c.APIServer = ProductionAPIServer
	}
	c.AuthServer = strings.TrimRight(c.AuthServer, "/")
	c.APIServer = strings.TrimRight(c.APIServer, "/")
	if c.RefreshBefore == 0 {
		c.RefreshBefore = DefaultRefreshBefore
	}
	if c.RefreshTimeout == 0 {
		c.RefreshTimeout = DefaultRefreshTimeout
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = DefaultKeepAlive
	}
	return c
}

// Validate returns an error that wraps [ErrConfig] and names the field if the
// configuration, defaults filled in, cannot work.
func (c Config) Validate() error {
	c = c.WithDefaults()
	if c.ClientID == "" {
		return fmt.Errorf("%w: client_id is missing", ErrConfig)
	}
	if c.SecondClientSecret != "" && c.ClientSecret == "" {
		return fmt.Errorf("%w: second_client_secret is given without client_secret", ErrConfig)
	}
	for _, server := range []struct{ name, value string }{{"auth_server", c.AuthServer}, {"api_server", c.APIServer}} {
		if err := checkServer(server.value); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrConfig, server.name, err)
		}
	}
	if c.Issuer != "" {
		if err := checkIssuer(c.Issuer); err != nil {
			return fmt.Errorf("%w: issuer: %w", ErrConfig, err)
		}
	}
	if c.RedirectURI != "" {
		if err := checkRedirectURI(c.RedirectURI); err != nil {
			return fmt.Errorf("%w: redirect_uri: %w", ErrConfig, err)
		}
	}
	if c.AuthoriseURI != "" {
		if err := checkAuthoriseURI(c.AuthoriseURI); err != nil {
			return fmt.Errorf("%w: authorise_uri: %w", ErrConfig, err)
		}
	}
	for _, scope := range c.Scopes {
		if !validScope(scope) {
			return fmt.Errorf("%w: scopes: %q is not a scope (such as users:read)", ErrConfig, scope)
		}
	}
	for _, d := range []struct {
		name     string
		value    time.Duration
		min, max time.Duration
	}{
		{"refresh_before", c.RefreshBefore, time.Second, 24 * time.Hour},
		{"refresh_timeout", c.RefreshTimeout, time.Second, 5 * time.Minute},
		{"keep_alive", c.KeepAlive, time.Hour, 59 * 24 * time.Hour},
	} {
		if d.value < d.min || d.value > d.max {
			return fmt.Errorf("%w: %s: %v is not between %v and %v", ErrConfig, d.name, d.value, d.min, d.max)
		}
	}
	return nil
}

// Warnings returns what works, but not as well as it should.
func (c Config) Warnings() []string {
	c = c.WithDefaults()
	var warnings []string
	if least := c.timing().mark + 2*c.RefreshTimeout; c.RefreshBefore < least {
		warnings = append(warnings, fmt.Sprintf("refresh_before is %v: below %v, calls may have to wait while a refresh whose answer was lost is settled", c.RefreshBefore, least))
	}
	return warnings
}

func checkServer(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("%q is not a URL such as https://auth.pleo.io", value)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "":
		return fmt.Errorf("%q must have a scheme and a host only", u.Redacted())
	case u.Scheme == "https", u.Scheme == "http" && IsLoopbackHost(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%q is plain HTTP, which is allowed to loopback only", value)
	}
	return fmt.Errorf("%q has no scheme that can be used: https (or http to loopback)", value)
}

func checkRedirectURI(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("%q is not a URL such as https://integration.example.com/pleo/callback", value)
	case u.Fragment != "" || u.User != nil:
		return fmt.Errorf("%q must have no fragment and no user (RFC 6749, section 3.1.2)", u.Redacted())
	case u.Scheme == "https", u.Scheme == "http" && IsLoopbackHost(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%q must be HTTPS, but for localhost", value)
}

func checkAuthoriseURI(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is not a URL such as https://integration.example.com/pleo/authorise", value)
	}
	return nil
}

// validScope is RFC 6749, section 3.3: printable ASCII but space, " and \.
func validScope(s string) bool {
	for i := range len(s) {
		if b := s[i]; b <= ' ' || b == '"' || b == '\\' || b >= 0x7f {
			return false
		}
	}
	return s != ""
}

// IsLoopbackHost reports whether host, without a port, is localhost, a name
// under it, or a loopback address.
func IsLoopbackHost(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// timing are the protocol's durations, all derived from the refresh timeout.
type timing struct {
	// send is how long after its mark was asked for a token may leave.
	send time.Duration
	// mark is how long a mark stands.
	mark time.Duration
	// lock is the life of the connection's lock, renewed at a third of it.
	lock time.Duration
	// command bounds one exchange with the store.
	command time.Duration
	// replicas bounds the wait for the store's replicas to confirm a write.
	replicas time.Duration
	// gate bounds how long calls wait for a refresh that was announced.
	gate time.Duration
}

// markBeyond is how much longer than the refresh timeout a mark stands.
const markBeyond = 5 * time.Second

// sendWithin is how long after a mark was asked for its token may leave: the mark
// says it, for the configuration may be another one by then.
func sendWithin(m Mark) time.Duration { return (m.Life - markBeyond) / 2 }

func (c Config) timing() timing {
	t := c.RefreshTimeout
	lock := max(t, 5*time.Second)
	return timing{
		send:     t / 2,
		mark:     t + markBeyond,
		lock:     lock,
		command:  lock / 6,
		replicas: t / 4,
		gate:     min(t, 2*time.Second),
	}
}

// checkIssuer returns an error if text cannot be an issuer identifier (RFC 8414,
// section 2).
func checkIssuer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("it is no URL of scheme, host and perhaps a path, such as https://auth.example.com/tenant")
	}
	return nil
}
