package pleotest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Client is an integration that is registered at Pleo (Pleo's documentation:
// client configuration).
type Client struct {
	// ID is the client id.
	ID string `json:"id"`
	// Secret is the client secret; empty for a public client.
	Secret string `json:"secret,omitempty"`
	// Name is what the consent page calls the client. Default: the id.
	Name string `json:"name"`
	// RedirectURIs are compared character for character. HTTPS but for the
	// host localhost, no wildcards, no fragment.
	RedirectURIs []string `json:"redirect_uris"`
	// Scopes the client may ask for, such as "users:read". Default: all that
	// [DefaultClient] has.
	Scopes []string `json:"scopes"`
}

// Public reports whether the client has no secret.
func (c Client) Public() bool { return c.Secret == "" }

// The id and secret of [DefaultClient].
const (
	// DefaultClientID is the client id that [DefaultClient] has.
	DefaultClientID = "acme-expenses"
	// DefaultClientSecret holds characters that differ once they are
	// form-encoded, so a client that forgets to encode them (RFC 6749 section
	// 2.3.1) is refused.
	DefaultClientSecret = "kZ3nq8WvT5+x/Y=:0~%41Rm7" //nolint:gosec // it opens nothing but the emulator
	// DefaultRedirectURI is the one redirect URI of [DefaultClient].
	DefaultRedirectURI = "http://localhost:8080/pleo/callback"
)

// DefaultClient is the confidential client that an emulator knows where none
// is given: [DefaultClientID], [DefaultClientSecret], [DefaultRedirectURI],
// and every scope of the emulated API.
func DefaultClient() Client {
	return Client{
		ID:           DefaultClientID,
		Secret:       DefaultClientSecret,
		Name:         "Acme Expenses",
		RedirectURIs: []string{DefaultRedirectURI},
		Scopes:       allScopes(),
	}
}

func allScopes() []string {
	return []string{
		"companies:read", "export:read", "export:write", "export-items:read", "export-jobs:read",
		"export-jobs:write", "receipts:read", "receipts:write", "tags:read", "tax-codes:read",
		"users:read", "users:write",
	}
}

// AddClient registers a client, or changes the one with the same id: its
// secret, for instance. Tokens stay as they are.
func (e *Emulator) AddClient(client Client) error {
	if err := client.complete(); err != nil {
		return fmt.Errorf("client %q: %w", client.ID, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients[client.ID] = client
	e.rememberSecret(client)
	e.save()
	return nil
}

var scopeSyntax = regexp.MustCompile(`^[a-z][a-z0-9-]*:[a-z][a-z0-9-]*$`)

// complete fills in defaults and refuses what Pleo does not register.
func (c *Client) complete() error {
	if c.ID == "" {
		return errors.New("the id is missing")
	}
	if c.Name == "" {
		c.Name = c.ID
	}
	if c.Scopes == nil {
		c.Scopes = allScopes()
	}
	c.Scopes, c.RedirectURIs = slices.Clone(c.Scopes), slices.Clone(c.RedirectURIs)
	for _, scope := range c.Scopes {
		if !scopeSyntax.MatchString(scope) {
			return fmt.Errorf("scope %q is not resource:permission", scope)
		}
	}
	for _, uri := range c.RedirectURIs {
		if err := checkRedirectURI(uri); err != nil {
			return err
		}
	}
	return nil
}

// checkRedirectURI applies the rules that Pleo registers redirect URIs by
// (Pleo's documentation: client configuration).
func checkRedirectURI(uri string) error {
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return fmt.Errorf("redirect URI: %w", err)
	case u.Host == "" || u.Opaque != "":
		return fmt.Errorf("redirect URI %q is not an absolute URL", uri)
	case strings.Contains(uri, "#"):
		return fmt.Errorf("redirect URI %q has a fragment", uri)
	case strings.Contains(uri, "*"):
		return fmt.Errorf("redirect URI %q has a wildcard", uri)
	case u.Scheme == "https", u.Scheme == "http" && u.Hostname() == "localhost":
		return nil
	}
	return fmt.Errorf("redirect URI %q is neither https nor on the host localhost", uri)
}

// rememberSecret lists a client's secret in every form that it can leak in.
func (e *Emulator) rememberSecret(c Client) {
	if c.Public() {
		return
	}
	e.remember(c.Secret)
	e.remember(base64.StdEncoding.EncodeToString([]byte(basicPair(c))))
}

// basicPair is what a confidential client puts into its Authorization header,
// before base64 (RFC 6749 section 2.3.1).
func basicPair(c Client) string {
	return url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret)
}
