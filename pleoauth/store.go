package pleoauth

import (
	"context"
	"errors"
	"time"
)

// Errors that stores return. Any other error of a store means that it could
// not be asked, or that its answer was lost.
var (
	// ErrConflict is returned when a record is no longer the one that a swap
	// expected, or when the store has been restarted or has failed over since.
	ErrConflict = errors.New("record has changed")
	// ErrLocked is returned when another holder has the connection's lock.
	ErrLocked = errors.New("connection is locked")
	// ErrLockLost is returned when a lock has lapsed or is another's by now.
	ErrLockLost = errors.New("lock is lost")
	// ErrNotReplicated is returned when the change was made, but too few of the
	// store's replicas have confirmed it in time. If the store fails over to
	// one of the others, the change is lost.
	ErrNotReplicated = errors.New("replicas have not confirmed the change")
	// ErrNotWritten is returned when a swap failed in a way that proves that
	// nothing was changed: it never left this process, or the store refused to
	// write at all, as a Redis that is a replica or cannot write to its disk.
	ErrNotWritten = errors.New("nothing was written")
	// ErrNoFlow is returned when there is no flow: it was never started, has
	// been used, or has expired.
	ErrNoFlow = errors.New("no such flow")
	// ErrInvalidCursor is returned when a cursor is not one that List gave.
	ErrInvalidCursor = errors.New("invalid cursor")
	// ErrRecordUnreadable is returned when a stored record is not of a format
	// that this version understands.
	ErrRecordUnreadable = errors.New("record is unreadable")
)

// Store keeps the records of all connections of one client at one
// authorisation server, for every replica. Implementations are safe for
// concurrent use, and pass the suite in package storetest.
//
// A store knows nothing of the protocol: it compares and swaps whole records,
// so that the rules stand in one place and hold for every store alike.
type Store interface {
	// Read returns the record as the authoritative copy has it, never a
	// replica's. A name without a record gives a snapshot with an empty
	// Revision, and no error.
	Read(ctx context.Context, name string) (Snapshot, error)

	// Swap replaces the record of old by next in one atomic step: only if it
	// still has old's revision, the store is still in old's run, and
	// o.Lock, if given, is still held. In the same step it moves the
	// connection in the index to next.Due and publishes o.Notice. An empty
	// next removes the record. It returns the new snapshot. [ErrConflict] and
	// [ErrLockLost] say that nothing was changed; [ErrNotReplicated] that the
	// change was made, and comes with the new snapshot; [ErrNotWritten] that
	// nothing was changed although the store failed; any other error that the
	// change may or may not have been made.
	Swap(ctx context.Context, name string, old Snapshot, next Record, o SwapOptions) (Snapshot, error)

	// Lock takes the connection's lock, without waiting. It returns [ErrLocked]
	// if another holder has it, or if o.Yield is set and another caller is next.
	Lock(ctx context.Context, name string, o LockOptions) (Lock, error)

	// Listen names the one function that gets the notices of watched
	// connections, in order. It is called once, before any Watch; the function
	// must not block.
	Listen(receive func(Notice))
	// Watch subscribes to the notices of a connection and returns once the
	// subscription is confirmed, so that a Read that follows misses nothing,
	// unless [NoticeLost] came in between: then watch and read again. Watching
	// what is watched confirms it anew if the subscription had broken.
	Watch(ctx context.Context, name string) error
	// Unwatch ends a subscription.
	Unwatch(name string)
	// Publish tells all who watch the connection, on every replica.
	Publish(ctx context.Context, n Notice) error

	// PutFlow keeps the (sealed) data of a flow under id for life.
	PutFlow(ctx context.Context, id string, data []byte, life time.Duration) error
	// Flow returns a flow's data and leaves it there, or [ErrNoFlow].
	Flow(ctx context.Context, id string) ([]byte, error)
	// TakeFlow returns a flow's data and removes it, in one atomic step: of
	// several callers one gets it, the others get [ErrNoFlow].
	TakeFlow(ctx context.Context, id string) ([]byte, error)

	// List returns up to limit names whose record has a state, in a stable
	// order, after the cursor of the page before ("" for the first), and the
	// cursor of the next page ("" after the last), or [ErrInvalidCursor].
	List(ctx context.Context, cursor string, limit int) (names []string, next string, err error)

	// Due returns up to limit names whose Due has passed by the store's clock.
	// Where there are more, callers that ask at the same time should get
	// different ones.
	Due(ctx context.Context, limit int) (names []string, err error)

	// Ping returns nil if the store can be reached.
	Ping(ctx context.Context) error
	// Close lets go of connections and ends subscriptions.
	Close() error
}

// SingleServer may be implemented by a store behind which there is one server
// process at one address, and no other can take its place: then a refused
// connection means that the process is gone. Of a store that does not implement
// it, that is not assumed.
type SingleServer interface {
	SingleServer() bool
}

// SwapOptions are what goes with a swap.
type SwapOptions struct {
	// Lock, if not nil, must still be held for the swap to happen.
	Lock Lock
	// Notice is published in the same step if its Kind is not empty.
	Notice Notice
	// ReplicaWait is how long at the most the swap waits for the store's
	// replicas to confirm it; 0: it does not wait. How many have to is the
	// store's affair, and a store without replicas never waits.
	ReplicaWait time.Duration
}

// LockOptions say how a lock is taken.
type LockOptions struct {
	// Life is how long the lock stands unless it is renewed.
	Life time.Duration
	// Next, if not 0, makes the caller next in line for that long where
	// another holder has the lock: until then, or until a caller with Next has
	// obtained the lock, no caller with Yield gets it. A refresh sets it.
	Next time.Duration
	// Yield leaves the lock to callers that are next in line. The exchange of an
	// authorisation code sets it: every browser that can open the authorise route can
	// bring exchanges about, and they must not starve a refresh.
	Yield bool
}

// Lock is a held lock. It saves work; marks and conditions give safety.
type Lock interface {
	// Renew extends the lock to life from now, or returns [ErrLockLost].
	Renew(ctx context.Context, life time.Duration) error
	// Release gives the lock back if it is still this holder's. It works
	// although the context that the lock was taken with has ended.
	Release(ctx context.Context) error
}

// NoticeKind says what a notice tells.
type NoticeKind string

// The kinds of notice.
const (
	// NoticeChanged: the record has another version now.
	NoticeChanged NoticeKind = "changed"
	// NoticeGate: a refresh is about to kill the current token.
	NoticeGate NoticeKind = "gate"
	// NoticeLifted: the refresh that a gate announced is over.
	NoticeLifted NoticeKind = "lifted"
	// NoticeWhoHas: whoever holds a newer grant should restore it.
	NoticeWhoHas NoticeKind = "who_has"
	// NoticeLost: notices may have been missed. Made by the store itself when
	// its subscription broke; Connection is empty, and so all are meant.
	NoticeLost NoticeKind = "lost"
)

// Notice is a message to all replicas that watch a connection. It never
// carries a token: receivers read the record.
type Notice struct {
	Kind       NoticeKind    `json:"kind"`
	Connection string        `json:"connection,omitempty"`
	Version    string        `json:"version,omitempty"`
	Nonce      string        `json:"nonce,omitempty"`
	Life       time.Duration `json:"life,omitempty"`
}

// Identity says whose records a store keeps. Stores of different identities
// may share one server: their keys differ.
type Identity struct {
	// Issuer is the authorisation server's base URL.
	Issuer string
	// ClientID is the OAuth client's id.
	ClientID string
}
