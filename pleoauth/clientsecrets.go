package pleoauth

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

// clientSecrets are the secrets of a confidential client: one, or two while the
// operator changes it. The one in use stays until Pleo refuses it.
type clientSecrets struct {
	read func() (secret, second string, err error)

	mu    sync.Mutex
	known []string
	inUse string // "" for a public client
}

func newClientSecrets(cfg Config) *clientSecrets {
	return &clientSecrets{read: cfg.ReadSecrets, known: secretsOf(cfg.ClientSecret, cfg.SecondClientSecret), inUse: cfg.ClientSecret}
}

func secretsOf(secrets ...string) []string {
	return slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
}

// now returns the secret in use.
func (s *clientSecrets) now() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inUse
}

// prefer goes on with a secret that has been in use, if it is still known.
func (s *clientSecrets) prefer(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.known, secret) {
		s.inUse = secret
	}
}

// another is told that Pleo refuses a secret. It reads the secrets again, since
// a file may have been changed, and reports whether there is another to go on
// with. The error says why they could not be read; those that are known stay.
func (s *clientSecrets) another(refused string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var failed error
	if s.read != nil {
		secret, second, err := s.read()
		read := secretsOf(secret, second)
		switch {
		case err != nil:
			failed = fmt.Errorf("client_secret could not be read again: %w", err)
		case len(read) > 0:
			s.known = read
		}
	}
	if s.inUse != refused && slices.Contains(s.known, s.inUse) {
		return true, failed // another request has found out before
	}
	next := s.known[(slices.Index(s.known, refused)+1)%len(s.known)]
	if next == refused {
		return false, failed
	}
	s.inUse = next
	return true, failed
}

// refusedSecret looks at what came of a request that was made with a secret. If
// that was refused as such, the next request is made with another one where
// there is one, and the error knows. (RFC 6749, section 5.2: invalid_client.)
func (c *Client) refusedSecret(secret string, err error) error {
	refusal := new(OAuthError)
	if secret == "" || !errors.As(err, &refusal) || refusal.Code != "invalid_client" {
		return err
	}
	other, failed := c.secrets.another(secret)
	refusal.otherSecret = other
	if failed != nil {
		refusal.Err = failed
	}
	return err
}

// hasOtherSecret reports whether a refused request may be followed by one with
// another secret.
func hasOtherSecret(err error) bool {
	refusal := new(OAuthError)
	return errors.As(err, &refusal) && refusal.otherSecret
}

// withOtherSecret goes on after a refresh that was refused for its secret, where
// there is another one. That the answer is here says that nothing is on its way
// any more, so the mark is over; it still stands, and the token is not sent again
// before Pleo has said, to the other secret, that it lives.
func (s *Source) withOtherSecret(c *connection, r refreshed, log *slog.Logger) error {
	log.Warn("Pleo refuses the client secret; Pleo is asked with another one whether the token lives", "result", "misconfigured", "error", r.err)
	_, _ = s.apply(c.name, r.marked, writeOver(r.mark.Nonce)) // if it fails, the mark ends by itself
	return nil
}

// unanswered says what callers get where Pleo was asked and gave no answer, and
// the reason that stands in the record.
func unanswered(err error) (kind error, reason string) { //nolint:staticcheck // kind is what it says, not what failed
	if errors.Is(err, ErrMisconfigured) {
		return ErrClientRejected, reasonClientRejected
	}
	return ErrRefreshUnsettled, reasonRefreshUnsettled
}
