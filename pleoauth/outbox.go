package pleoauth

import (
	"context"
	"errors"
	"time"
)

// ErrClaimLost is returned when a claim on a change has lapsed, and another has
// it by now or has finished it.
var ErrClaimLost = errors.New("claim is lost")

// Outbox may be implemented by a store that notes, in the step that swaps a
// record, that a connection has changed its state: what others are to be told of
// is then known however soon the process ends that made the change. A change is
// looked at by whoever claims it, and stays noted until it is finished.
//
// A connection that changes again before it was looked at is noted once. All
// times that are compared are the store's clock.
type Outbox interface {
	// NoteChanges has this store's swaps note changes, as [ChangesState] tells
	// them, from now on. noted is called after each and must not block. nil:
	// swaps note nothing any more, as before the first call.
	NoteChanges(noted func())

	// ClaimChanges claims up to limit connections whose change is to be looked
	// at now and is claimed by nobody, each for lease. A claim that lapses may
	// be claimed again.
	ClaimChanges(ctx context.Context, limit int, lease time.Duration) ([]Change, error)

	// KeepChange keeps told with the connection, and the claim for lease from
	// now. It returns [ErrClaimLost] if the claim is another's.
	KeepChange(ctx context.Context, c Change, told []byte, lease time.Duration) error

	// FinishChange keeps told with the connection and ends the claim. The change
	// is looked at again after a time, or at once if there was another one since
	// the claim; with 0 not before the next one, and then nothing is left of it
	// if told is empty. It returns [ErrClaimLost] if the claim is another's.
	FinishChange(ctx context.Context, c Change, told []byte, again time.Duration) error
}

// Change is a connection that has changed its state, claimed.
type Change struct {
	Connection string
	// Claim identifies the claim, Seen the last change before it.
	Claim, Seen string
	// At is when that change was made, by the store's clock, and Age how long
	// before the claim.
	At  time.Time
	Age time.Duration
	// Told is what was last kept with the connection.
	Told []byte
}

// ChangesState reports whether a swap of old for next is a change that an
// [Outbox] notes: of the state, or to another authorisation.
func ChangesState(old, next Record) bool { return old.State != next.State || old.Seq != next.Seq }
