package pleoauth

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	introspectionTimeout = 5 * time.Second

	// subjectParameter and subjectClaim are Pleo's own. (Pleo's documentation:
	// directing users; token introspection.)
	subjectParameter = "urn_pleo_params_oauth_subject"
	subjectClaim     = "urn:pleo:params:oauth:subject_urn"
)

// DialFunc opens a network connection, as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Client speaks OAuth with Pleo: one HTTP request a call, no retries. It knows
// nothing of stores, locks and marks; [Source] does, and is what nearly every
// program wants.
type Client struct {
	cfg     Config
	secrets *clientSecrets
	dial    DialFunc
	rootCAs *x509.CertPool
	pooled  *http.Client
}

// NewClient returns a client for cfg, whose empty fields get their defaults.
// dial and roots may be nil: the system's. It returns an error that wraps
// [ErrConfig] if cfg cannot work, and does no network.
func NewClient(cfg Config, dial DialFunc, roots *x509.CertPool) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg.WithDefaults(), secrets: newClientSecrets(cfg), dial: dial, rootCAs: roots}
	if dial == nil {
		// A request that the network has not taken by then is dropped by the
		// kernel: it must not arrive when its mark is over. Without keep-alive
		// probes an answer that is long in coming survives a short outage.
		c.dial = (&net.Dialer{Control: dropUnacknowledged(c.cfg.timing().send), KeepAlive: -1}).DialContext
	}
	c.pooled = &http.Client{
		Transport:     c.newTransport(func(conn net.Conn) net.Conn { return conn }),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// oauth2Config fixes the style of client authentication: client_secret_basic
// for a confidential client, client_id in the form for a public one. (Pleo's
// documentation: client configuration.)
func (c *Client) oauth2Config(secret string) *oauth2.Config {
	style := oauth2.AuthStyleInHeader
	if secret == "" {
		style = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{
		ClientID:     c.cfg.ClientID,
		ClientSecret: secret,
		RedirectURL:  c.cfg.RedirectURI,
		Scopes:       c.cfg.Scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL:   c.cfg.AuthServer + "/oauth/authorize",
			TokenURL:  c.tokenURL(),
			AuthStyle: style,
		},
	}
}

func (c *Client) tokenURL() string { return c.cfg.AuthServer + "/oauth/token" }

// AuthorisationURL returns the address to send a browser to: an authorisation
// request with PKCE, S256 (RFC 7636, section 4.3). subject may be empty.
func (c *Client) AuthorisationURL(state, verifier, subject string) string {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	if subject != "" {
		options = append(options, oauth2.SetAuthURLParam(subjectParameter, subject))
	}
	return c.oauth2Config("").AuthCodeURL(state, options...)
}

// Refresh dials and sends the refresh token, once; it must leave within
// timeout. Errors are of type [*OAuthError].
func (c *Client) Refresh(ctx context.Context, refreshToken string, timeout time.Duration) (Grant, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return Grant{}, err
	}
	return conn.Refresh(refreshToken, time.Now().Add(timeout))
}

// Exchange dials and sends the authorisation code, once; it must leave within
// timeout. Errors are of type [*OAuthError].
func (c *Client) Exchange(ctx context.Context, code, verifier string, timeout time.Duration) (Grant, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return Grant{}, err
	}
	return conn.Exchange(code, verifier, time.Now().Add(timeout))
}

// TokenKind is a token type hint of RFC 7662, section 2.1.
type TokenKind string

// The kinds of token.
const (
	AccessTokenKind  TokenKind = "access_token"
	RefreshTokenKind TokenKind = "refresh_token"
)

// Introspection is what Pleo says of a token.
type Introspection struct {
	Active  bool
	Subject string
}

// Introspect asks Pleo whether a token lives (RFC 7662). It takes 5 seconds at
// most. Only a 200 with a JSON boolean in "active" is an answer; anything else
// is an error, which says neither yes nor no. Where Pleo refuses the secret, it
// asks once more with each other one: a question has no effect.
func (c *Client) Introspect(ctx context.Context, token string, kind TokenKind) (Introspection, error) {
	ctx, cancel := context.WithTimeout(ctx, introspectionTimeout)
	defer cancel()
	tried := map[string]bool{}
	for {
		secret := c.secrets.now()
		tried[secret] = true
		seen, err := c.introspect(ctx, token, kind, secret)
		err = c.refusedSecret(secret, err)
		if !hasOtherSecret(err) || tried[c.secrets.now()] {
			return seen, err
		}
	}
}

func (c *Client) introspect(ctx context.Context, token string, kind TokenKind, secret string) (Introspection, error) {
	form := url.Values{"token": {token}, "token_type_hint": {string(kind)}}
	if secret == "" {
		form.Set("client_id", c.cfg.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.tokenURL()+"/introspect", strings.NewReader(form.Encode()))
	if err != nil {
		return Introspection{}, fmt.Errorf("introspection: %w", err)
	}
	req.GetBody = nil
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		req.SetBasicAuth(url.QueryEscape(c.cfg.ClientID), url.QueryEscape(secret))
	}
	answer, err := c.ask(req)
	if err != nil {
		return Introspection{}, fmt.Errorf("introspection: %w", err)
	}
	var active *bool
	if json.Unmarshal(answer.members["active"], &active) != nil || active == nil {
		return Introspection{}, fmt.Errorf("introspection: the answer does not say whether the token is active")
	}
	return Introspection{Active: *active, Subject: answer.text(subjectClaim)}, nil
}

// APISubject asks the API whose token it is: GET /v1/introspect. (Pleo's
// documentation: API reference, external clients.)
func (c *Client) APISubject(ctx context.Context, accessToken string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.APIServer+"/v1/introspect", nil)
	if err != nil {
		return "", fmt.Errorf("asking the API for the subject: %w", err)
	}
	req.Header.Set("Authorization", bearer+accessToken)
	answer, err := c.ask(req)
	if err != nil {
		return "", fmt.Errorf("asking the API for the subject: %w", err)
	}
	return readObject(answer.members["data"]).text("subjecturn"), nil
}

// ask sends one question that has no effect, and reads a 200 with JSON.
func (c *Client) ask(req *http.Request) (object, error) {
	req.Header.Set("Accept-Encoding", "identity")
	ctx, cancel := context.WithTimeout(req.Context(), introspectionTimeout)
	defer cancel()
	resp, err := c.pooled.Do(req.WithContext(ctx))
	if err != nil {
		return object{}, withoutURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readBody(resp.Body)
	answer := readObject(body)
	if err != nil && !answer.whole {
		return object{}, unquoted(err)
	}
	if resp.StatusCode != http.StatusOK {
		kind, code := ErrAmbiguous, knownCode(answer.text("error"))
		switch {
		case resp.StatusCode == http.StatusTooManyRequests:
			kind = ErrRateLimited
		case misconfiguredCodes[code]:
			kind = ErrMisconfigured
		}
		return object{}, &OAuthError{Kind: kind, Code: code, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	}
	if !answer.whole {
		return object{}, errUnreadable
	}
	return answer, nil
}
