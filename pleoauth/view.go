package pleoauth

import (
	"strings"
	"time"
	"unique"
)

// minLife is how long a token counts as good once it has been obtained,
// whatever Pleo says: without it, tokens that live for no time would be
// refreshed at every call.
const minLife = time.Second

// pair is a grant and its place in the order of its connection's grants.
type pair struct {
	grant           Grant
	seq, generation int64
	lineage         string
	version         string
	subject         string
	// obtained is when it was asked for, on this process's clock.
	obtained time.Time
	// for401At is when a refusal was last the reason for a refresh that led to it,
	// if that was not long before, on this process's clock; zero: none was.
	for401At time.Time
}

// view is what this process knows of a connection: immutable, replaced whole.
type view struct {
	state           State
	reason          Reason
	seq, generation int64
	version         string

	// Of a connected one:
	token *Token
	pair  *pair // kept so that it can be restored if the store forgets it
	// on this process's clock
	expires   time.Time
	refreshAt time.Time

	// readAt is when the record was read, subscription the source's then.
	readAt       time.Time
	subscription uint64
	// run is the store's when the record was read.
	run string
	// marked is set while a mark stands on the record.
	marked bool
	// refused is set once Pleo has refused the token and said that it is dead.
	refused bool
}

// usable reports whether the token may be handed out.
func (v *view) usable(now time.Time) bool {
	return v.token != nil && !v.refused && now.Before(v.expires)
}

// ended returns the error of a connection without a grant.
func (v *view) ended(name string) error {
	if v.state == StateReauthorisationRequired {
		return &TokenError{Kind: ErrReauthorisationRequired, Connection: name, Reason: v.reason}
	}
	return &TokenError{Kind: ErrNotConnected, Connection: name}
}

// viewOf makes a view of a record and its opened grant. Times are taken over
// as remaining life, so that clocks of different machines are never compared.
func (s *Source) viewOf(snap Snapshot, g Grant, subscription uint64) *view {
	v := &view{
		state:      snap.State,
		reason:     snap.Reason,
		seq:        snap.Seq,
		generation: snap.Generation,
		version:    snap.Version,
	}
	if snap.State == StateConnected {
		g.ExpiresIn = snap.Expires.Sub(snap.Obtained)
		p := &pair{
			grant: g,
			seq:   snap.Seq, generation: snap.Generation, lineage: snap.Lineage, version: snap.Version,
			subject:  snap.Subject,
			obtained: snap.locally(snap.Obtained),
			for401At: snap.locally(snap.For401At),
		}
		v = s.viewOfPair(p)
		// The same bytes: a token is kept once for each connection in use.
		p.grant.AccessToken = strings.TrimPrefix(v.token.authorization, bearer)
	}
	v.marked = snap.Marked() != nil
	v.readAt, v.subscription = snap.ReadAt, subscription
	v.run = unique.Make(snap.Run).Value() // one text for all connections
	return v
}

// viewOfPair makes a view of a pair that this process holds.
func (s *Source) viewOfPair(p *pair) *view {
	v := &view{
		state: StateConnected,
		seq:   p.seq, generation: p.generation, version: p.version,
		token:   &Token{authorization: bearer + p.grant.AccessToken, version: p.version},
		pair:    p,
		expires: p.obtained.Add(p.grant.ExpiresIn),
	}
	s.schedule(v)
	return v
}

// schedule sets when a token in use is refreshed: refresh_before its expiry,
// never more than half of its life before, and a little spread, so that
// replicas that read the record together do not meet at the lock.
func (s *Source) schedule(v *view) {
	before := min(s.config().RefreshBefore, v.pair.grant.ExpiresIn/2)
	if v.pair.grant.NoRefreshToken {
		before = 0 // there may be no next one: it is used to its end
	}
	before -= s.spread(before / 10)
	least := v.pair.obtained.Add(minLife)
	v.refreshAt = later(v.expires.Add(-before), least)
	v.expires = later(v.expires, least)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
