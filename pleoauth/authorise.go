package pleoauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Errors of an authorisation.
var (
	// ErrInvalidSubject is returned when a subject is not a URN.
	ErrInvalidSubject = errors.New("invalid subject")
	// ErrUnknownFlow is returned when the state is unknown, expired or used,
	// or the callback makes no sense. Nothing was exchanged.
	ErrUnknownFlow = errors.New("unknown, expired or used state")
	// ErrOtherBrowser is returned when the browser that comes back is not the
	// one that started. Nothing was exchanged.
	ErrOtherBrowser = errors.New("another browser started this authorisation")
	// ErrOtherIssuer is returned when the parameter iss of a callback (RFC 9207) is not
	// that of the configured authorisation server. [ErrUnknownFlow] comes with it.
	ErrOtherIssuer = errors.New("another authorisation server answered")
	// ErrDenied is returned when the user or Pleo denied the authorisation.
	ErrDenied = errors.New("the authorisation was denied")
	// ErrExchangeFailed is returned when Pleo did not exchange the code.
	ErrExchangeFailed = errors.New("the authorisation code could not be exchanged")
	// ErrOtherSubject is returned when another company authorised than the
	// connection had before, or than was asked for. Nothing was stored.
	ErrOtherSubject = errors.New("another company authorised than expected")
	// ErrAuthorisationPending is returned when an earlier request about the
	// connection may still be on its way to Pleo, and a code that is exchanged
	// now could cost the new grant. Nothing was exchanged and the flow is still
	// there: the same callback works after [Completed.RetryAfter].
	ErrAuthorisationPending = errors.New("an earlier request about this connection is not settled yet")
	// ErrSuperseded is returned when the connection was disconnected, or a later
	// authorisation of it was stored, while the code was being exchanged. The
	// later act stands, and the new grant is not stored.
	ErrSuperseded = errors.New("the connection was disconnected or authorised later")
	// ErrSubjectUnknown is returned when the connection has a grant of which it
	// is not known whose it is, and Pleo cannot be asked now: another company
	// could take the connection over. Nothing was exchanged.
	ErrSubjectUnknown = errors.New("whose company the connection belongs to is not known and could not be asked")
)

const (
	// flowLife is how long a user has to come back from Pleo.
	flowLife = 10 * time.Minute
	// maxSubject bounds a subject, in bytes.
	maxSubject = 256
)

// AuthorisationRequest asks for an authorisation.
type AuthorisationRequest struct {
	// Connection is the connection to authorise.
	Connection string
	// ReturnTo is where the browser goes in the end. The caller has checked
	// it: this package hands it back as it is.
	ReturnTo string
	// Subject, if not empty, is the company that has to authorise, such as
	// urn:pleo:company:<uuid>.
	Subject string
	// Ticket, if not empty, is that of a link of [Source.AuthoriseURL]. It says
	// what the other fields are, which have to be the same or empty.
	Ticket string
}

// Authorisation is an authorisation that has begun.
type Authorisation struct {
	// URL is where to send the browser.
	URL string
	// FlowID tells this flow from the browser's others. It is no secret.
	FlowID string
	// Binding is the secret that ties the flow to the browser: a cookie's
	// value. Only the browser that brings it back can complete the flow.
	Binding string
	// Life is how long all of this is good.
	Life time.Duration
}

// flow is what is kept, sealed, between the two halves of an authorisation.
type flow struct {
	Connection string `json:"connection"`
	ReturnTo   string `json:"return_to,omitempty"`
	Subject    string `json:"subject,omitempty"`
	Verifier   string `json:"verifier"`
	Binding    []byte `json:"binding"` // SHA-256
	// Ticket is the key of the ticket that has started it, or "".
	Ticket string `json:"ticket,omitempty"`
}

// encode keeps what is stored as short as it is: escaped for HTML, some
// characters would take six times as much.
func (f flow) encode() ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(f)
	return text.Bytes(), err
}

// BeginAuthorisation starts an authorisation of a connection: it keeps a flow
// for ten minutes under the hash of a fresh state, and returns where to send
// the browser. The error wraps [ErrInvalidTicket], [ErrInvalidConnection],
// [ErrInvalidSubject], [ErrConfig] if there is no redirect_uri, [ErrTooManyFlows], or
// [ErrStoreUnavailable].
func (s *Source) BeginAuthorisation(ctx context.Context, r AuthorisationRequest) (Authorisation, error) {
	var ticketed string
	if r.Ticket != "" {
		ticketCtx, cancel := context.WithTimeout(ctx, 2*s.times().command)
		defer cancel()
		var err error
		if r, ticketed, err = s.withTicket(ticketCtx, r); err != nil {
			return Authorisation{}, err
		}
	}
	if err := CheckConnection(r.Connection); err != nil {
		return Authorisation{}, err
	}
	if err := checkSubject(r.Subject); err != nil {
		return Authorisation{}, err
	}
	if s.config().RedirectURI == "" {
		return Authorisation{}, fmt.Errorf("%w: redirect_uri is missing", ErrConfig)
	}
	if !s.starts.begin(time.Now()) {
		return Authorisation{}, ErrTooManyFlows
	}
	state, verifier, binding := random256(), random256(), random256()
	bound := sha256.Sum256([]byte(binding))
	plain, err := flow{
		Connection: r.Connection, ReturnTo: r.ReturnTo, Subject: r.Subject, Verifier: verifier, Binding: bound[:],
		Ticket: ticketed,
	}.encode()
	if err != nil {
		return Authorisation{}, err
	}
	key := flowKey(state)
	ctx, cancel := context.WithTimeout(ctx, s.times().command)
	defer cancel()
	if err := s.putFlow(ctx, key, s.keyring().seal(plain, s.flowPurpose(key)), flowLife); err != nil {
		return Authorisation{}, s.storeError(r.Connection, err)
	}
	return Authorisation{
		URL:     s.oauth().AuthorisationURL(state, verifier, r.Subject),
		FlowID:  FlowID(state),
		Binding: binding,
		Life:    flowLife,
	}, nil
}

// FlowID returns the id of the flow with the given state: part of a hash of
// it, which tells nothing of the state and is not the key that the flow is
// stored under.
func FlowID(state string) string {
	sum := sha256.Sum256([]byte("flow id\x00" + state))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// flowKey is what a flow is stored under: whoever can read the store does not
// learn a state.
func flowKey(state string) string {
	sum := sha256.Sum256([]byte(state))
	return hex.EncodeToString(sum[:])
}

func (s *Source) flowPurpose(key string) string {
	return "flow\x00" + s.config().AuthServer + "\x00" + s.config().ClientID + "\x00" + key
}

func checkSubject(subject string) error {
	if subject == "" {
		return nil
	}
	if len(subject) > maxSubject || !strings.HasPrefix(subject, "urn:") || !validToken(subject) {
		return fmt.Errorf("%w: it is not of the form urn:pleo:company:<uuid>", ErrInvalidSubject)
	}
	if _, err := url.Parse(subject); err != nil {
		return fmt.Errorf("%w: it is not of the form urn:pleo:company:<uuid>", ErrInvalidSubject)
	}
	return nil
}
