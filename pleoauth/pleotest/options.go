package pleotest

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Option changes what [NewServer], [StartServer] and [NewEmulator] make.
type Option func(*settings)

type settings struct {
	clients          []Client
	redirectURIs     []string
	accessTokenLife  time.Duration
	refreshTokenLife time.Duration
	codeLife         time.Duration
	consent          consent
	issuerParameter  bool
	sameFamily       bool
	earlyRefusal     bool
	rateLimit        RateLimit
	clockAhead       time.Duration
	introspection    Introspection
	stateFile        string
	logger           *slog.Logger
	authURL          string
	apiURL           string

	authAddress    string
	apiAddress     string
	controlAddress string
	tls            bool
	inMemory       bool
}

func newSettings(options []Option) (settings, error) {
	s := settings{
		accessTokenLife:  15 * time.Minute,
		refreshTokenLife: 60 * 24 * time.Hour,
		codeLife:         time.Minute,
		consent:          consent{Decision: Ask},
		logger:           slog.New(slog.DiscardHandler),
		authAddress:      "127.0.0.1:0",
		apiAddress:       "127.0.0.1:0",
		controlAddress:   "127.0.0.1:0",
	}
	for _, option := range options {
		option(&s)
	}
	if len(s.clients) == 0 {
		s.clients = []Client{DefaultClient()}
	}
	first := &s.clients[0]
	first.RedirectURIs = append(slices.Clip(first.RedirectURIs), s.redirectURIs...)
	if err := s.consent.check(); err != nil {
		return s, err
	}
	if err := errors.Join(s.rateLimit.check(), s.introspection.check()); err != nil {
		return s, err
	}
	for _, life := range []time.Duration{s.accessTokenLife, s.refreshTokenLife, s.codeLife} {
		if life < 0 {
			return s, fmt.Errorf("a token or code cannot live for %v", life)
		}
	}
	return s, nil
}

// WithClient registers a client. The first one given takes the place of
// [DefaultClient]; it is the one whose id and secret [Server] shows.
func WithClient(client Client) Option {
	return func(s *settings) { s.clients = append(s.clients, client) }
}

// WithRedirectURI adds redirect URIs to the first client.
func WithRedirectURI(uris ...string) Option {
	return func(s *settings) { s.redirectURIs = append(s.redirectURIs, uris...) }
}

// WithAccessTokenLife sets how long an access token lives, which expires_in says
// in whole seconds, rounded down. Default 15 minutes (Pleo's documentation:
// access tokens). [Emulator.SetAccessTokenLife] changes
// it later.
func WithAccessTokenLife(life time.Duration) Option {
	return func(s *settings) { s.accessTokenLife = life }
}

// WithRefreshTokenLife sets how long a refresh token lives. Default 60 days
// (Pleo's documentation: tokens overview).
func WithRefreshTokenLife(life time.Duration) Option {
	return func(s *settings) { s.refreshTokenLife = life }
}

// WithCodeLife sets how long an authorisation code lives. Default 60 seconds.
func WithCodeLife(life time.Duration) Option {
	return func(s *settings) { s.codeLife = life }
}

// WithConsent says who decides about authorisation requests, and for which
// company; see [Emulator.SetConsent]. Default: [Ask].
func WithConsent(decision Decision, company string) Option {
	return func(s *settings) { s.consent = consent{decision, company} }
}

// WithIssuerParameter makes the authorisation server send the parameter iss
// with every redirect (RFC 9207). Default: not.
func WithIssuerParameter() Option {
	return func(s *settings) { s.issuerParameter = true }
}

// WithSecondConsentReplacing makes a second consent of the same company to the
// same client the same authorisation: it kills the tokens of the first, and a
// replay of those kills its own. Pleo's documentation does not say which way
// it is. [Emulator.SetSecondConsentReplacing] changes it later. Default: two
// consents are independent.
func WithSecondConsentReplacing() Option {
	return func(s *settings) { s.sameFamily = true }
}

// WithEarlyRefusal makes the API refuse a dead token before it has read the
// request's body; see [Emulator.SetEarlyRefusal]. Default: after.
func WithEarlyRefusal() Option {
	return func(s *settings) { s.earlyRefusal = true }
}

// WithRateLimit limits the requests that the authorisation server takes a
// second. [Emulator.SetRateLimit] changes it later. Default: no limit.
func WithRateLimit(limit RateLimit) Option {
	return func(s *settings) { s.rateLimit = limit }
}

// WithClockAhead sets how far the clock that answers show is ahead of this
// machine's; negative for behind. They show it in the header Date, in a
// Retry-After that is a date ([HTTPDate]), and in iat and exp of introspection.
// Tokens and codes live as long as they do without. [Emulator.SetClockAhead]
// changes it later. Default 0.
func WithClockAhead(ahead time.Duration) Option {
	return func(s *settings) { s.clockAhead = ahead }
}

// WithIntrospection makes the introspection endpoint ignorant of tokens of some
// kind. [Emulator.SetIntrospection] changes it later. Default: it knows all.
func WithIntrospection(introspection Introspection) Option {
	return func(s *settings) { s.introspection = introspection }
}

// WithStateFile loads the state from a file, if the file is there, and saves it
// there after every change, before the change is answered.
func WithStateFile(path string) Option {
	return func(s *settings) { s.stateFile = path }
}

// WithLogger logs consents, exchanges, refreshes, replays and refusals, never
// a token or secret. Default: nothing is logged.
func WithLogger(logger *slog.Logger) Option {
	return func(s *settings) { s.logger = logger }
}

// WithURLs sets what the emulator calls itself in introspection (iss, aud) and
// in the parameter iss. Default: Pleo's production addresses, or those a
// [Server] listens on.
func WithURLs(auth, api string) Option {
	return func(s *settings) { s.authURL, s.apiURL = auth, api }
}

// WithAuthAddress sets where a [Server]'s authorisation server listens, as
// "host:port". Default "127.0.0.1:0", a free port.
func WithAuthAddress(address string) Option {
	return func(s *settings) { s.authAddress = address }
}

// WithAPIAddress is [WithAuthAddress] for the API server.
func WithAPIAddress(address string) Option {
	return func(s *settings) { s.apiAddress = address }
}

// WithControlAddress is [WithAuthAddress] for the control handler. It has no
// authentication.
func WithControlAddress(address string) Option {
	return func(s *settings) { s.controlAddress = address }
}

// WithTLS makes a [Server] serve its authorisation and API servers over TLS,
// with a certificate made for it; see [Server.CertPool]. Clients that offer
// HTTP/2 get it.
func WithTLS() Option {
	return func(s *settings) { s.tls = true }
}

// WithInMemory makes a [Server] listen in memory, where no socket is involved,
// which a testing/synctest bubble needs. Use [Server.HTTPClient] or
// [Server.DialContext] to reach it.
func WithInMemory() Option {
	return func(s *settings) { s.inMemory = true }
}
