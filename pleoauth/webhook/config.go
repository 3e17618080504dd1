package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// The defaults of a [Config].
const (
	DefaultAfter   = time.Minute
	DefaultTimeout = 10 * time.Second
)

// ErrConfig is returned when a [Config] cannot work. Its text names the option,
// and never a value: a URL may hold a secret, too.
var ErrConfig = errors.New("webhook configuration")

const (
	secretPrefix   = "whsec_"
	leastSecret    = 24 // bytes, as Standard Webhooks say
	greatestSecret = 64
	greatestTime   = 24 * time.Hour
)

// Config says who is told, and how.
type Config struct {
	// URL is where messages are posted: HTTPS, or HTTP to loopback. Empty:
	// nothing is posted.
	URL string
	// Secrets sign each message: whsec_ and base64 of 24 to 64 bytes. While one is
	// being replaced there are two. At least one is required with a URL.
	Secrets []string
	// After is how long a connection must have needed a new authorisation before
	// that is told. Default: a minute.
	After time.Duration
	// Timeout bounds one attempt to post a message. Default: 10 s.
	Timeout time.Duration
	// AuthoriseURI returns the link at which a user authorises a connection, or
	// "". Default: no event has one.
	AuthoriseURI func(connection string) string
	// Emit is given each event that is told, in the replica that tells it, before
	// it is posted for the first time. It should return soon. Default: nobody.
	Emit func(Event)
	// Logger gets a line for each attempt. Default: [slog.Default].
	Logger *slog.Logger
	// Transport sends requests. Default: one with connections of its own, over
	// the proxy that HTTPS_PROXY names, if any.
	Transport http.RoundTripper
}

// Validate returns an error that wraps [ErrConfig] if the configuration cannot
// work. What is not set is not judged.
func (c Config) Validate() error {
	if err := CheckURL(c.URL); err != nil && c.URL != "" {
		return err
	}
	switch {
	case c.URL != "" && len(c.Secrets) == 0:
		return fmt.Errorf("%w: secret is missing: the receiver could not tell who sends", ErrConfig)
	case c.URL == "" && len(c.Secrets) > 0:
		return fmt.Errorf("%w: there is a secret, but no URL to post to", ErrConfig)
	}
	for _, secret := range c.Secrets {
		if err := CheckSecret(secret); err != nil {
			return err
		}
	}
	if err := checkTime("after", c.After); err != nil {
		return err
	}
	return checkTime("timeout", c.Timeout)
}

func checkTime(option string, d time.Duration) error {
	if d < 0 || d > greatestTime {
		return fmt.Errorf("%w: %s: %v is not between 0 and %v", ErrConfig, option, d, greatestTime)
	}
	return nil
}

// CheckURL returns an error that wraps [ErrConfig] if nothing may be posted there.
func CheckURL(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Hostname() == "":
		return fmt.Errorf("%w: the URL is not one such as https://app.example.com/pleo-events", ErrConfig)
	case u.User != nil || u.Fragment != "":
		return fmt.Errorf("%w: the URL must have no user and no fragment", ErrConfig)
	case u.Scheme == "https", u.Scheme == "http" && pleoauth.IsLoopbackHost(u.Hostname()):
		return nil
	}
	return fmt.Errorf("%w: the URL must be HTTPS; plain HTTP is allowed to loopback only", ErrConfig)
}

// CheckSecret returns an error that wraps [ErrConfig] if a value is no signing
// secret.
func CheckSecret(value string) error {
	digits, ok := strings.CutPrefix(value, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(digits)
	if !ok || err != nil || len(key) < leastSecret || len(key) > greatestSecret {
		return fmt.Errorf("%w: secret is not %s and base64 of %d to %d bytes", ErrConfig, secretPrefix, leastSecret, greatestSecret)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.After == 0 {
		c.After = DefaultAfter
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.AuthoriseURI == nil {
		c.AuthoriseURI = func(string) string { return "" }
	}
	return c
}

// lease is how long a change is claimed: longer than an attempt takes.
func (c Config) lease() time.Duration { return c.Timeout + max(2*time.Second, c.Timeout/2) }

// longestPoll bounds [Config.poll].
var longestPoll = 15 * time.Second

// poll is how often changes are looked for that other processes have left.
func (c Config) poll() time.Duration { return min(longestPoll, max(time.Second, c.After/4)) }
