package pleoauth

import (
	"cmp"
	"errors"
	"time"
)

// The conditional writes of the refresh protocol. Each is a function from the
// record as it is to the record as it should be, and stands here once for all
// stores: [Store.Swap] makes the change only if the record is still the one
// that the function saw.

var (
	// errRefused: the write's condition does not hold.
	errRefused = errors.New("the record's state forbids the write")
	// errDone: the record already has what the write would make of it, as
	// after a write whose answer was lost.
	errDone = errors.New("already written")
)

// write decides on one record. It returns the next record, or errRefused or
// errDone.
type write func(Snapshot) (Record, error)

// writeMark (W1) puts a mark on the record with the given version. settled is
// the nonce of a mark that Pleo's word has settled and this one replaces, or "".
//
// In a run of the store other than the record's epoch a mark may have been
// forgotten, so the mark becomes an unknown one, which has to be waited out
// and settled before anything is sent.
//
// seen is what introspection said of the refresh token right before: the verdict
// and the company go into the record with the mark, at no cost of their own.
func writeMark(version string, m Mark, settled string, seen Introspection) write {
	m.Version = version
	return func(s Snapshot) (Record, error) {
		r := s.Record
		standing := r.Marked()
		switch {
		case standing != nil && standing.Nonce == m.Nonce:
			return r, errDone
		case r.Version != version,
			r.State != StateConnected && m.Kind != MarkAuthorise,
			standing != nil && standing.Nonce != settled:
			return r, errRefused
		}
		if r.State == StateConnected && r.Epoch != s.Run {
			m = Mark{Nonce: random128(), Version: version, Kind: MarkUnknown, EarlierRun: true, Life: m.Life, Replica: m.Replica, Time: m.Time}
		}
		if settled != "" && m.Kind == MarkRefresh {
			r.Attempts++ // the one before has failed
		}
		if r.Mark != nil {
			m.Seq = max(m.Seq, r.Mark.Seq) // the next authorisation comes after that of the mark which this one replaces
		}
		if seen.Active {
			r.Introspection, r.HeardActive = VerdictUsable, s.Clock()
			r.Subject = cmp.Or(r.Subject, seen.Subject)
		}
		r.Epoch = s.Run
		r.Mark = &m
		switch over := s.Clock().Add(m.Life); r.State {
		case StateDisconnected: // a tombstone keeps its time
		case "": // a mark alone is removed when it is due
			r.Due = over
		default:
			r.Due = earlier(r.Due, over)
		}
		return r, nil
	}
}

// backOff is what a failed attempt leaves in the record.
type backOff struct {
	wait   time.Duration
	reason string
}

func (b backOff) into(r Record, s Snapshot) Record {
	r.Attempts++
	r.NotBefore, r.NotBeforeWait = s.Clock().Add(b.wait), b.wait
	r.NotBeforeReason = b.reason
	return r
}

// writeClear (W3) takes one's own mark off the record, where the token
// provably was not processed, and leaves the back-off if there is one.
func writeClear(nonce string, b *backOff) write {
	return func(s Snapshot) (Record, error) {
		r := s.Record
		if r.Mark == nil || r.Mark.Nonce != nonce {
			return r, errDone
		}
		r.Mark = nil
		if b != nil {
			r = b.into(r, s)
		}
		return r, nil
	}
}

// writeOver (W3) leaves one's own mark standing but over at once: nothing is on
// its way any more, and still the token must not be sent before Pleo was asked.
func writeOver(nonce string) write {
	return func(s Snapshot) (Record, error) {
		r := s.Record
		if r.Mark == nil || r.Mark.Nonce != nonce || r.Mark.Life == 0 {
			return r, errDone
		}
		over := *r.Mark
		over.Life = 0
		r.Mark = &over
		if r.State != StateDisconnected { // a tombstone keeps its time
			r.Due = s.Clock()
		}
		return r, nil
	}
}

// writeEnd (W4) ends the grant of the given version, on Pleo's word to the holder of
// the mark, or to the process that settled it or found no mark. nonce is that of the
// mark as it was read, "" for none: where another mark stands by now, something may
// have been sent since. A mark under which something may still travel stays, as in
// [writeDisconnect].
func writeEnd(version, nonce, newVersion string, reason Reason, travelling bool) write {
	return func(s Snapshot) (Record, error) {
		r := s.Record
		if r.Version == newVersion {
			return r, errDone
		}
		var standing string
		m := r.Marked()
		if m != nil {
			standing = m.Nonce
		}
		if r.Version != version || r.State != StateConnected || standing != nonce && (m == nil || m.Kind != MarkUnknown) {
			return r, errRefused
		}
		r.State, r.Reason = StateReauthorisationRequired, reason
		r.Version = newVersion
		r = wiped(r)
		if m != nil && (travelling || m.Nonce != nonce) {
			r.Mark = m.under(newVersion)
		}
		return r, nil
	}
}

// writeVerdict (W9) notes what introspection is worth, as a fresh token showed. If
// that token was asked about just now, a mark says that it may have been spent
// meanwhile: then the answer showed nothing.
func writeVerdict(version string, v Verdict, justNow bool) write {
	return func(s Snapshot) (Record, error) {
		r := s.Record
		switch {
		case r.Version != version || r.State != StateConnected || justNow && r.Marked() != nil:
			return r, errRefused
		case s.hasVerdict(v, justNow):
			return r, errDone
		}
		if r.Introspection = v; v == VerdictUsable && justNow {
			r.HeardActive = s.Clock()
		}
		return r, nil
	}
}

// writeSubject (W9) notes whose company an authorisation is, where that could not be
// asked when it was made.
func writeSubject(lineage, subject string) write {
	return func(s Snapshot) (Record, error) {
		r := s.Record
		switch {
		case r.Lineage != lineage || r.State != StateConnected:
			return r, errRefused
		case r.Subject != "":
			return r, errDone
		}
		r.Subject = subject
		return r, nil
	}
}

// writeGone ends a grant that the store has forgotten, and that is dead: it keeps
// the order of grants, for whoever comes with a newer one.
func writeGone(dead *pair, newVersion string) write {
	return func(s Snapshot) (Record, error) {
		if !s.Empty() {
			return s.Record, errRefused
		}
		return Record{
			State: StateReauthorisationRequired, Reason: ReasonLostResponse, Version: newVersion,
			Seq: dead.seq, Generation: dead.generation, Lineage: dead.lineage, Subject: dead.subject, Epoch: s.Run,
		}, nil
	}
}

// writeDisconnect (W7) leaves a tombstone: a record without tokens, later than
// every authorisation so far, and than one that is under way. A name without a record
// stays without. The mark stays: what travels under it may still reach Pleo, and a dead refresh token
// that does so after the next consent may cost that its grant.
func writeDisconnect(newVersion string, now time.Time) write {
	return func(s Snapshot) (Record, error) {
		r := s.Record
		travelling := r.Marked()
		if travelling == nil && (r.State == "" || r.State == StateDisconnected) {
			return r, errDone
		}
		r.Seq = nextSeq(r, now)
		r.State, r.Reason, r.Subject = StateDisconnected, "", ""
		r.Version = newVersion
		r = wiped(r)
		if travelling != nil {
			r.Mark = travelling.under(newVersion)
		}
		r.Due = s.Clock().Add(tombstoneLife)
		return r, nil
	}
}

// writeNote (W9) leaves a back-off beside whatever mark stands.
func writeNote(version string, b backOff) write {
	return func(s Snapshot) (Record, error) {
		if s.Version != version {
			return s.Record, errRefused
		}
		return b.into(s.Record, s), nil
	}
}

// writeAgain changes nothing: the store's replicas are asked to confirm the record
// once more.
func writeAgain(version string) write {
	return func(s Snapshot) (Record, error) {
		if s.Version != version {
			return s.Record, errRefused
		}
		return s.Record, nil
	}
}

// wiped returns r without tokens and what went with them. The order of grants
// stays, so that no older one can come back.
func wiped(r Record) Record {
	r.Sealed, r.Mark = nil, nil
	r.Expires, r.For401At, r.NotBefore, r.Due = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	r.Attempts, r.NotBeforeWait, r.NotBeforeReason = 0, 0, ""
	return r
}

// nextSeq orders a new authorisation, or a disconnect, after all before it: those
// that are stored, and one whose mark is there although its grant is not.
func nextSeq(r Record, now time.Time) int64 {
	before := r.Seq
	if r.Mark != nil {
		before = max(before, r.Mark.Seq)
	}
	return max(before+1, now.UnixMilli())
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
