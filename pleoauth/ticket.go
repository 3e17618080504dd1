package pleoauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// ErrInvalidTicket is returned when a ticket is unknown, expired or spent, or
// was made for something else than was asked for beside it. Nothing was started,
// or of two flows with one ticket the other was completed; nothing was exchanged.
var ErrInvalidTicket = errors.New("unknown, expired or used ticket")

const (
	// ticketLife is how long a flow may be started with a ticket.
	ticketLife = 15 * time.Minute
	// ticketParameter is what carries a ticket in a link.
	ticketParameter = "ticket"
)

// LinkRequest says what a link with a one-time ticket is for.
type LinkRequest struct {
	// Subject, if not empty, is the company that has to authorise, such as
	// urn:pleo:company:<uuid>.
	Subject string
	// ReturnTo is where the browser goes in the end. The caller has checked
	// it: this package hands it back as it is.
	ReturnTo string
}

// Link is a link with a one-time ticket: whoever has it may connect a company.
type Link struct {
	URL string
	// Life is how long a flow may be started with it.
	Life time.Duration
}

// ticket is what is kept, sealed, of a link.
type ticket struct {
	Connection string `json:"connection"`
	ReturnTo   string `json:"return_to,omitempty"`
	Subject    string `json:"subject,omitempty"`
}

// AuthoriseURL returns a link to authorise_uri with a ticket that
// BeginAuthorisation takes: 256 random bits, of which the store learns a hash,
// bound to the connection, the company and the target. Flows may be started with it for
// fifteen minutes. It is spent when one of them is completed and not before, so
// that neither a link preview nor a second click uses it up.
//
// The error wraps [ErrInvalidConnection], [ErrInvalidSubject], [ErrConfig] if
// there is no authorise_uri or no redirect_uri, or [ErrStoreUnavailable].
func (s *Source) AuthoriseURL(ctx context.Context, connection string, r LinkRequest) (Link, error) {
	if err := errors.Join(CheckConnection(connection), checkSubject(r.Subject)); err != nil {
		return Link{}, err
	}
	cfg := s.config()
	if cfg.AuthoriseURI == "" {
		return Link{}, fmt.Errorf("%w: authorise_uri is missing, which links lead to", ErrConfig)
	}
	if cfg.RedirectURI == "" {
		return Link{}, fmt.Errorf("%w: redirect_uri is missing", ErrConfig)
	}
	link, err := url.Parse(cfg.AuthoriseURI)
	if err != nil {
		return Link{}, fmt.Errorf("%w: authorise_uri: it is not a URL", ErrConfig)
	}
	secret := random256()
	plain, err := json.Marshal(ticket{Connection: connection, ReturnTo: r.ReturnTo, Subject: r.Subject})
	if err != nil {
		return Link{}, err
	}
	key := ticketKey(secret)
	ctx, cancel := context.WithTimeout(ctx, 2*s.times().command)
	defer cancel()
	// Two entries instead of a time in one: clocks of two machines are never
	// compared. The ticket outlives its mark by the life of a flow, so that one
	// which is started in the last moment can be completed.
	err = s.putFlow(ctx, key, s.keyring().seal(plain, s.ticketPurpose(key)), ticketLife+flowLife)
	if err == nil {
		err = s.putFlow(ctx, startKey(key), s.keyring().seal(nil, s.ticketPurpose(startKey(key))), ticketLife)
	}
	if err != nil {
		return Link{}, s.storeError(connection, err)
	}
	q := link.Query()
	q.Set("connection", connection) // for whoever guards authorise_uri by connection
	q.Set(ticketParameter, secret)
	link.RawQuery = q.Encode()
	return Link{URL: link.String(), Life: ticketLife}, nil
}

// withTicket fills a request in with what its ticket binds, and returns the key
// that the ticket is kept under. The ticket stays as it is.
func (s *Source) withTicket(ctx context.Context, r AuthorisationRequest) (AuthorisationRequest, string, error) {
	if !isRandom256(r.Ticket) {
		return r, "", ErrInvalidTicket // which the store need not be asked
	}
	key := ticketKey(r.Ticket)
	plain, err := s.ticketEntry(ctx, key)
	if err != nil {
		return r, "", err
	}
	if _, err := s.ticketEntry(ctx, startKey(key)); err != nil {
		return r, "", err
	}
	var t ticket
	if err := json.Unmarshal(plain, &t); err != nil {
		return r, "", fmt.Errorf("%w: it is of another format", ErrInvalidTicket)
	}
	// What stands beside the ticket must not change what it was made for.
	for _, p := range []struct{ asked, bound string }{
		{r.Connection, t.Connection}, {r.Subject, t.Subject}, {r.ReturnTo, t.ReturnTo},
	} {
		if p.asked != "" && p.asked != p.bound {
			return r, "", fmt.Errorf("%w: it was made for something else", ErrInvalidTicket)
		}
	}
	r.Connection, r.Subject, r.ReturnTo = t.Connection, t.Subject, t.ReturnTo
	return r, key, nil
}

// ticketEntry returns what is kept under a key of a ticket.
func (s *Source) ticketEntry(ctx context.Context, key string) ([]byte, error) {
	sealed, err := s.store.Flow(ctx, key)
	s.storeAnswered(StoreFlow, err)
	if err != nil {
		return nil, ticketError(err)
	}
	plain, err := s.keyring().open(sealed, s.ticketPurpose(key))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidTicket, err)
	}
	return plain, nil
}

// takeTicket spends a ticket and returns what is kept of it.
func (s *Source) takeTicket(key string) ([]byte, error) {
	ctx, cancel := s.command()
	defer cancel()
	sealed, err := s.store.TakeFlow(ctx, key)
	s.storeAnswered(StoreTakeFlow, err)
	if err != nil {
		return nil, ticketError(err)
	}
	return sealed, nil
}

func (s *Source) putFlow(ctx context.Context, key string, sealed []byte, life time.Duration) error {
	err := s.store.PutFlow(ctx, key, sealed, life)
	s.storeAnswered(StorePutFlow, err)
	return err
}

func ticketError(err error) error {
	if errors.Is(err, ErrNoFlow) {
		return ErrInvalidTicket
	}
	return storeFailed(err)
}

// ticketKey is what a ticket is stored under: whoever can read the store does
// not learn it. No state has such a key.
func ticketKey(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "ticket-" + hex.EncodeToString(sum[:])
}

// startKey is where it is marked that flows may be started with a ticket.
func startKey(ticketKey string) string { return ticketKey + "-start" }

func (s *Source) ticketPurpose(key string) string {
	return "ticket\x00" + s.config().AuthServer + "\x00" + s.config().ClientID + "\x00" + key
}
