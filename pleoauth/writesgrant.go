package pleoauth

import (
	"time"
)

// stored is a pair in the form in which it goes into a record.
type stored struct {
	*pair
	sealed []byte
	// due is when the sweep looks at it, from when it was obtained.
	due time.Duration
	// unknown is put on the record with the grant, or is nil.
	unknown *Mark
	// own is the nonce of the mark under which the grant was obtained, or "".
	own string
	// over reports whether a mark is over for this process; nil: none is.
	over func(Mark) bool
}

func (p stored) into(s Snapshot) Record {
	r := s.Record
	obtained := s.Clock().Add(-time.Since(p.obtained))
	r.Seq, r.Generation, r.Lineage, r.Version = p.seq, p.generation, p.lineage, p.version
	r.State, r.Reason = StateConnected, ""
	r.Sealed = p.sealed
	if p.subject != "" || s.Lineage != p.lineage { // found out since, by another replica
		r.Subject = p.subject
	}
	if s.State == "" {
		r.Introspection = p.introspection // the store has forgotten it
	}
	r.Obtained, r.Expires = obtained, obtained.Add(p.grant.ExpiresIn)
	r.Attempts, r.NotBefore, r.NotBeforeWait, r.NotBeforeReason = 0, time.Time{}, 0, ""
	r.For401At = time.Time{}
	if !p.for401At.IsZero() {
		r.For401At = s.Clock().Add(-time.Since(p.for401At))
	}
	r.Due = obtained.Add(p.due)
	if r.Mark = p.mark(s); r.Mark != nil {
		r.Due = earlier(r.Due, s.Clock().Add(r.Mark.Life))
	}
	if p.unknown != nil {
		r.Epoch = s.Run
	}
	return r
}

// mark returns the mark that the record has with the pair, or nil. That of an
// exchange which is not over stays: it may still be on its way, and Pleo may count
// the consent as the same authorisation. The pair is then asked about before it is
// spent, and the next exchange waits.
func (p stored) mark(s Snapshot) *Mark {
	m := p.unknown
	if other := s.Marked(); m == nil && other != nil && other.Kind == MarkAuthorise && other.Nonce != p.own && (p.over == nil || !p.over(*other)) {
		m = other
	}
	if m == nil {
		return nil
	}
	return m.under(p.version)
}

// writeSave (W2) stores the pair that the token of the given version bought.
// It asks for neither lock nor mark: whoever spent that token has the only
// live pair.
func writeSave(version string, p stored) write {
	return func(s Snapshot) (Record, error) {
		switch {
		case s.Version == p.version:
			return s.Record, errDone
		case s.Version != version || s.State != StateConnected:
			return s.Record, errRefused
		}
		return p.into(s), nil
	}
}

// writeRestore (W5) puts a grant back that the record lacks: into an absent
// record, or over an older one; a tombstone is newer than all before it. With a mark, unless
// nobody else can ever have seen the pair: somebody may be sending its token.
func writeRestore(p stored) write {
	return func(s Snapshot) (Record, error) {
		switch {
		case s.Version == p.version && s.State == StateConnected:
			return s.Record, errDone
		case s.Seq == p.seq && s.Lineage != "" && s.Lineage != p.lineage,
			compareOrder(s.Seq, s.Generation, p.seq, p.generation) >= 0:
			return s.Record, errRefused // equal seq of another lineage: the record's stands
		}
		r := p.into(s)
		if r.Epoch == "" {
			r.Epoch = s.Run
		}
		return r, nil
	}
}

// writeAuthorise (W6) stores the grant of a new authorisation, unless a later
// one has been stored or the connection has been disconnected later.
func writeAuthorise(p stored) write {
	return func(s Snapshot) (Record, error) {
		switch {
		case s.Version == p.version:
			return s.Record, errDone
		case s.Seq >= p.seq:
			return s.Record, errRefused
		}
		next := *p.pair
		next.generation = max(next.generation, s.Generation+1) // neither restarts, even in a store that was emptied
		p.pair = &next
		r := p.into(s)
		r.Introspection = VerdictPresumed
		if s.Introspection != "" && !s.Introspection.believed() {
			r.Introspection = VerdictDoubted // until the fresh token shows otherwise
		}
		return r, nil
	}
}
