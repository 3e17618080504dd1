package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// Kind says what has happened to a connection.
type Kind string

// The kinds of event.
const (
	// Connected: a user has authorised the connection, for the first time or
	// again.
	Connected Kind = "connected"
	// ReauthorisationRequired: the grant has ended, and only a user can give
	// another one.
	ReauthorisationRequired Kind = "reauthorisation_required"
	// Recovered: a grant of which it was said that it has ended lives after all.
	Recovered Kind = "recovered"
)

// Kinds returns all kinds of event.
func Kinds() []Kind { return []Kind{Connected, ReauthorisationRequired, Recovered} }

// Event is what an application is told. It never holds a token.
type Event struct {
	// ID is the same whenever and by whichever replica the same change is told.
	ID string `json:"-"`
	// Kind is what has happened.
	Kind Kind `json:"type"`
	// Time is when the connection changed, by the store's clock.
	Time time.Time `json:"timestamp"`
	Data Data      `json:"data"`
}

// Data is what an event tells of its connection.
type Data struct {
	Connection string          `json:"connection"`
	State      pleoauth.State  `json:"state"`
	Reason     pleoauth.Reason `json:"reason,omitempty"`
	// Subject is the company, such as urn:pleo:company:<uuid>.
	Subject string `json:"subject,omitempty"`
	// AuthoriseURI is where a user authorises the connection, if it is known.
	AuthoriseURI string `json:"authorise_uri,omitempty"`
}

// payload returns the body of the event's message.
func (e Event) payload() ([]byte, error) { return json.Marshal(e) }

// eventID derives an id from what identifies a change, so that nobody has to
// keep one before it is sent.
func eventID(id pleoauth.Identity, kind Kind, connection string, what ...string) string {
	h := sha256.New()
	for _, part := range append([]string{id.Issuer, id.ClientID, string(kind), connection}, what...) {
		h.Write([]byte(part))
		h.Write([]byte{0}) // which is in none of the parts
	}
	return "msg_" + hex.EncodeToString(h.Sum(nil)[:16])
}
