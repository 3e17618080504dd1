package webhook

import (
	"cmp"
	"encoding/json"
	"strconv"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// newsFor is how long an authorisation of which nothing is known here is still
// worth a message. One that is older was told, and the store has forgotten.
const newsFor = 24 * time.Hour

// told is what the store keeps with a connection: what was said of it so far.
type told struct {
	// Seq is that of the last authorisation of which nothing is left to be said.
	Seq int64 `json:"seq,omitempty"`
	// Done is the id of the last message that was taken or given up.
	Done string `json:"done,omitempty"`
	// Open is the id of a reauthorisation_required that the receiver has, or may
	// have, and that nothing has followed; OpenEvent is the same for Emit.
	Open      string `json:"open,omitempty"`
	OpenEvent string `json:"open_event,omitempty"`
	// Emitted is the id of the last event that was given to Emit.
	Emitted string `json:"emitted,omitempty"`
	// Trying is the message that is being sent, or nil.
	Trying *trying `json:"trying,omitempty"`
}

// trying is a message that the receiver has not taken so far.
type trying struct {
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Attempts counts those that were begun.
	Attempts int `json:"attempts"`
	// Maybe is set once the receiver may have it, although it has not said so.
	Maybe bool `json:"maybe,omitempty"`
}

// parseTold reads what the store has. What cannot be read counts as nothing.
func parseTold(text []byte) told {
	var t told
	if json.Unmarshal(text, &t) != nil {
		return told{}
	}
	return t
}

// text is what the store keeps: nothing, if there is nothing to be kept.
func (t told) text() []byte {
	if t == (told{}) {
		return nil
	}
	text, _ := json.Marshal(t) // of strings, numbers and booleans: never fails
	return text
}

// verdict says what is to be told of a connection now.
type verdict struct {
	// wait is how long the state has yet to last; nothing is told until then.
	wait time.Duration
	// event is what is to be told, or nil; post whether it is to be posted, emit
	// whether it is to be emitted.
	event      *Event
	post, emit bool
	// told is what is known afterwards if there is no event.
	told told
}

// decide compares the state of a connection, which it has had since the change,
// with what was told of it. posting says that there is a receiver.
func decide(id pleoauth.Identity, snap pleoauth.Snapshot, c pleoauth.Change, t told, after time.Duration, posting bool) verdict {
	event := func(kind Kind, what ...string) *Event {
		return &Event{ID: eventID(id, kind, c.Connection, what...), Kind: kind, Time: c.At, Data: Data{
			Connection: c.Connection, State: snap.State, Reason: snap.Reason, Subject: snap.Subject,
		}}
	}
	nothing := verdict{told: t}
	nothing.told.Trying = nil
	switch snap.State {
	case pleoauth.StateReauthorisationRequired:
		e := event(ReauthorisationRequired, snap.Version)
		switch {
		case t.Done == e.ID:
			return nothing
		case c.Age < after:
			return verdict{wait: after - c.Age, told: t}
		}
		return verdict{event: e, post: posting, emit: t.Emitted != e.ID}
	case pleoauth.StateConnected:
		if snap.Seq > t.Seq {
			e := event(Connected, strconv.FormatInt(snap.Seq, 10), snap.Lineage)
			if t.Seq == 0 && !t.tries(e.ID) && authorisedBefore(snap, newsFor) {
				nothing.told.Seq = snap.Seq
				return nothing
			}
			return verdict{event: e, post: posting, emit: t.Emitted != e.ID}
		}
		open, opened := cmp.Or(t.perhaps(), t.Open), t.OpenEvent
		if open == "" && opened == "" {
			return nothing
		}
		e := event(Recovered, cmp.Or(open, opened))
		return verdict{event: e, post: posting && open != "", emit: opened != "" && t.Emitted != e.ID}
	case pleoauth.StateDisconnected:
		// Whoever disconnects knows.
		return verdict{told: told{Seq: snap.Seq}}
	}
	return verdict{} // the connection is forgotten, and so is this
}

// perhaps returns the id of a reauthorisation_required that the receiver may
// have although it has not said so, or "".
func (t told) perhaps() string {
	if t.Trying == nil || t.Trying.Kind != ReauthorisationRequired || !t.Trying.Maybe {
		return ""
	}
	return t.Trying.ID
}

func (t told) tries(id string) bool { return t.Trying != nil && t.Trying.ID == id }

// authorisedBefore reports whether a connection was authorised longer ago than d:
// seq is the time of an authorisation in Unix milliseconds, unless it had to be
// later than another one's.
func authorisedBefore(snap pleoauth.Snapshot, d time.Duration) bool {
	return snap.Clock().Sub(time.UnixMilli(snap.Seq)) > d
}

// emitted notes that an event was given to Emit.
func (t told) emitted(e *Event) told {
	t.Emitted = e.ID
	t.OpenEvent = ""
	if e.Kind == ReauthorisationRequired {
		t.OpenEvent = e.ID
	}
	return t
}

// begun notes that a message is about to be sent: from now on the receiver may
// have it, whatever becomes of this process.
func (t told) begun(e *Event, seq int64) (next told, before trying) {
	if t.tries(e.ID) {
		before = *t.Trying
	}
	before.ID, before.Kind = e.ID, e.Kind
	now := before
	now.Attempts++
	now.Maybe = true
	if e.Kind == ReauthorisationRequired {
		t.Seq = max(t.Seq, seq) // nothing is to be said of its authorisation any more
	}
	if last := t.perhaps(); last != "" && last != e.ID {
		t.Open = last
	}
	t.Trying = &now
	return t, before
}

// over notes that nothing more is to be done for an event: that it was taken, or
// that it may have been, or neither.
func (t told) over(e *Event, seq int64, taken bool) told {
	t.Seq = max(t.Seq, seq)
	t.Done = e.ID
	t.Trying = nil
	switch {
	case e.Kind != ReauthorisationRequired:
		t.Open, t.OpenEvent = "", ""
	case taken:
		t.Open = e.ID
	}
	return t
}
