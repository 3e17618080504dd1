package pleoauth

import (
	"hash/fnv"
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
	// introspection is the record's verdict, for a store that has forgotten it.
	introspection Verdict
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
	// dead is set once Pleo has refused the token and said that it is dead.
	dead bool
}

// usable reports whether the token may be handed out.
func (v *view) usable(now time.Time) bool {
	return v.token != nil && !v.dead && now.Before(v.expires)
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
			subject:       snap.Subject,
			introspection: snap.Introspection,
			obtained:      snap.locally(snap.Obtained),
			for401At:      snap.locally(snap.For401At),
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

// mostSpread bounds over how long refreshes are spread that would be due together.
const mostSpread = time.Minute

// schedule sets when a token in use is refreshed: refresh_before its expiry or
// earlier, and never before half of its life is over.
//
// Tokens that were obtained together are due spread over a tenth of their life: each
// at a place of its own that all replicas find from its version, and each replica a
// little later than that, so that they do not meet at the lock.
func (s *Source) schedule(v *view) {
	life := v.pair.grant.ExpiresIn
	window := min(life/10, mostSpread)
	before := min(s.config().RefreshBefore+window, life/2)
	before -= time.Duration(float64(window)*0.9*placeOf(v.version)) + s.spread(window/10)
	if v.pair.grant.NoRefreshToken {
		before = 0 // there may be no next one: it is used to its end
	}
	least := v.pair.obtained.Add(minLife)
	v.refreshAt = later(v.expires.Add(-before), least)
	v.expires = later(v.expires, least)
}

// placeOf returns a number from 0 to 1 that is the same for a version everywhere.
func placeOf(version string) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(version))
	return float64(h.Sum32()) / (1 << 32)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
