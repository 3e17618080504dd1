package pleoauth

import (
	"cmp"
	"time"
)

// State is what a record says of its connection.
type State string

// The states of a connection. A name that was never authorised has no record,
// and so the empty state.
const (
	StateConnected               State = "connected"
	StateReauthorisationRequired State = "reauthorisation_required"
	StateDisconnected            State = "disconnected"
)

// Reason says how a grant ended.
type Reason string

// The reasons of [StateReauthorisationRequired].
const (
	// ReasonRevokedOrExpired: Pleo said that the grant has ended.
	ReasonRevokedOrExpired Reason = "revoked_or_expired"
	// ReasonLostResponse: a refresh was processed and its answer was lost.
	ReasonLostResponse Reason = "lost_response"
)

// MarkKind says what a mark stands for.
type MarkKind string

// The kinds of mark.
const (
	// MarkRefresh: the refresh token is about to be sent.
	MarkRefresh MarkKind = "refresh"
	// MarkAuthorise: an authorisation code is about to be exchanged.
	MarkAuthorise MarkKind = "authorise"
	// MarkUnknown: somebody may be sending the token; nobody knows.
	MarkUnknown MarkKind = "unknown"
)

// Verdict says whether Pleo's introspection can be believed about a client's
// tokens. RFC 7662, section 2.2, lets a server answer that a token which it knows
// well is not active, and some answer so for every refresh token.
type Verdict string

// The verdicts. A record without one is older than verdicts, or has not had a fresh
// token since.
const (
	// VerdictPresumed: the grant is new, and its token has not shown otherwise yet.
	VerdictPresumed Verdict = "presumed"
	// VerdictDoubted: it was called inactive once, and is asked about again: a copy
	// behind the endpoint may lag.
	VerdictDoubted Verdict = "doubted"
	// VerdictUsable: introspection has called a refresh token of the connection
	// active.
	VerdictUsable Verdict = "usable"
	// VerdictAccessTokens: it calls fresh refresh tokens inactive, or does not
	// answer about them, and fresh access tokens active.
	VerdictAccessTokens Verdict = "access_tokens"
	// VerdictUnusable: it calls fresh tokens of both kinds inactive, or does not
	// answer about them.
	VerdictUnusable Verdict = "unusable"
)

// believed reports whether 'inactive' of a refresh token can be believed.
func (v Verdict) believed() bool { return v == VerdictPresumed || v == VerdictUsable }

// Mark is stored before a token that works once leaves the process. Whoever
// finds one that it did not write must not send that token until the mark is
// over and Pleo has said that the token lives.
type Mark struct {
	// Nonce is 128 random bits, new for each attempt.
	Nonce string `json:"nonce"`
	// Version is that of the record which the mark belongs to; a mark with
	// another version than its record's is no mark.
	Version string `json:"version"`
	// Kind says what is on its way.
	Kind MarkKind `json:"kind"`
	// Life is how long the mark stands, counted by each process on its own
	// monotonic clock from when it first saw the nonce.
	Life time.Duration `json:"life"`
	// EarlierRun is set on an unknown mark that stands for what the store may
	// have forgotten when it was restarted: whatever that was, it began before.
	EarlierRun bool `json:"earlier_run,omitempty"`
	// Seq is that of the authorisation that a mark of the kind authorise is for,
	// kept by the marks that replace it.
	Seq int64 `json:"seq,omitempty"`
	// Attempt counts from 1, for people.
	Attempt int `json:"attempt,omitempty"`
	// Replica and Time are for people; no decision reads them.
	Replica string    `json:"replica,omitempty"`
	Time    time.Time `json:"time,omitzero"`
}

// Record is what a store keeps for a connection. Its times are on the store's
// clock: compare them with [Snapshot.Clock] alone.
type Record struct {
	// Issuer and ClientID say whose grant this is. A record of another client
	// or another authorisation server is never touched.
	Issuer, ClientID string
	// Seq orders the authorisations of a name, Generation the grants stored
	// for it. Neither ever restarts.
	Seq, Generation int64
	// Lineage is 128 random bits for each authorisation.
	Lineage string
	// Version is 128 random bits, new at every change of grant or state. It
	// identifies; (Seq, Generation) orders.
	Version string
	State   State
	Reason  Reason
	// Sealed is the grant, encrypted for this connection.
	Sealed []byte
	// Subject is the company that authorised, such as
	// urn:pleo:company:<uuid>; opaque, compared whole.
	Subject string
	// Obtained is when the grant was asked for, Expires when its access token
	// ends.
	Obtained, Expires time.Time
	// Epoch is the run of the store in which the last mark was written.
	Epoch string
	Mark  *Mark
	// Attempts and NotBefore are the back-off, kept here so that it holds for
	// all replicas and outlives every flight.
	Attempts  int
	NotBefore time.Time
	// NotBeforeWait is how long that was from then on. Each process counts it
	// on its own clock, too: the store's may be put back, or be another
	// machine's after a failover.
	NotBeforeWait time.Duration
	// NotBeforeReason says what is waited for until NotBefore: one of the
	// error codes of this package, for callers that meet the wait.
	NotBeforeReason string
	// For401At is when a grant was last obtained because the one before it had been
	// refused, if that was not long before this one; or zero.
	For401At time.Time
	// Introspection is the verdict on Pleo's introspection.
	Introspection Verdict
	// HeardActive is when introspection last called a refresh token of the connection
	// active, as the last mark or verdict noted it; or zero.
	HeardActive time.Time
	// Due is when the sweep should look at the connection again: its position
	// in the index. Zero keeps it out of the index.
	Due time.Time
}

// Empty reports whether there is nothing to keep: such a record is removed.
func (r Record) Empty() bool { return r.State == "" && r.Mark == nil }

// Marked returns the mark that stands on the record, or nil.
func (r Record) Marked() *Mark {
	if r.Mark == nil || r.Mark.Version != r.Version {
		return nil
	}
	return r.Mark
}

// under returns the mark as it stands on a record of another version.
func (m Mark) under(version string) *Mark {
	m.Version = version
	return &m
}

// compareOrder orders grants by (seq, generation).
func compareOrder(aSeq, aGeneration, bSeq, bGeneration int64) int {
	return cmp.Or(cmp.Compare(aSeq, bSeq), cmp.Compare(aGeneration, bGeneration))
}

// Snapshot is a record as a store had it at one moment.
type Snapshot struct {
	Record
	// Revision identifies this content of the record: [Store.Swap] compares
	// it. Empty: there was no record.
	Revision string
	// Run identifies the run of the store's process, and is another one also
	// when another process has taken its place, or it has come back after that.
	// Another run than the record's epoch means that the store may have
	// forgotten something.
	Run string
	// Alone is set in the answer to a [Store.Swap] that was to wait for replicas,
	// where no replica is in step although the store has had some, or has a
	// Sentinel: this server may be on the losing side of a split network, and
	// another may have taken its place already.
	Alone bool
	// Now is the store's clock when it answered, ReadAt this process's.
	Now, ReadAt time.Time
}

// Clock returns what the store's clock says now, counted from when it was read.
func (s Snapshot) Clock() time.Time { return s.Now.Add(time.Since(s.ReadAt)) }

// locally returns a time of the store's clock that has passed on this process's
// clock; zero stays zero.
func (s Snapshot) locally(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return s.ReadAt.Add(min(t.Sub(s.Now), 0))
}

// Remaining returns how long it is until t, a time on the store's clock.
func (s Snapshot) Remaining(t time.Time) time.Duration { return t.Sub(s.Clock()) }
