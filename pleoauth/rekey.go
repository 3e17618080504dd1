package pleoauth

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

const (
	// rekeyPage is how many names are listed at a time where no limit is given.
	rekeyPage = 500
	// rekeyAtOnce is how many records are read and written at the same time.
	rekeyAtOnce = 8
	// rekeyFailures bounds how many failures a report names.
	rekeyFailures = 100
)

// RekeyReport says what [Source.Rekey] has done, and what is left to do.
type RekeyReport struct {
	// KeyID names the first key, which everything is to be sealed with.
	KeyID string `json:"key_id"`
	// Connections counts those that were looked at: the sum of the next five.
	Connections int `json:"connections"`
	// Resealed counts grants that were sealed anew.
	Resealed int `json:"resealed"`
	// Already counts grants that were sealed with the first key before.
	Already int `json:"already"`
	// WithoutGrant counts connections that have nothing to seal: they have ended.
	WithoutGrant int `json:"without_grant"`
	// Foreign counts records of another client or authorisation server, which have
	// keys of their own. Nothing is left to do about them.
	Foreign int `json:"foreign"`
	// Left counts what could not be sealed anew and is as it was.
	Left int `json:"left"`
	// LeftByKey counts it by the id of the key that it is sealed with; "" stands
	// for records that cannot be read at all.
	LeftByKey map[string]int `json:"left_by_key,omitempty"`
	// Failures name it and say why, the first hundred of it.
	Failures []RekeyFailure `json:"failures,omitempty"`
	// HeldResealed and HeldLeft count files on this process's own disk, with
	// grants that the store has not taken yet.
	HeldResealed int `json:"held_resealed"`
	HeldLeft     int `json:"held_left"`
	// Next is where to go on; empty: everything was looked at.
	Next string `json:"next,omitempty"`
}

// RekeyFailure is something that could not be sealed anew.
type RekeyFailure struct {
	Connection string `json:"connection,omitempty"`
	// File is the name of a file of [WithSpillDir], where it is one.
	File string `json:"file,omitempty"`
	// KeyID names the key that it is sealed with, where that can be read.
	KeyID string `json:"key_id,omitempty"`
	Error string `json:"error"`
}

// Add adds what a later call has done.
func (r *RekeyReport) Add(later RekeyReport) {
	r.KeyID, r.Next = later.KeyID, later.Next
	r.Connections += later.Connections
	r.Resealed += later.Resealed
	r.Already += later.Already
	r.WithoutGrant += later.WithoutGrant
	r.Foreign += later.Foreign
	r.Left += later.Left
	r.HeldResealed += later.HeldResealed
	r.HeldLeft += later.HeldLeft
	if r.LeftByKey == nil {
		r.LeftByKey = map[string]int{}
	}
	for id, n := range later.LeftByKey {
		r.LeftByKey[id] += n
	}
	r.Failures = append(r.Failures, later.Failures[:min(len(later.Failures), rekeyFailures-len(r.Failures))]...)
}

// Rekey seals every grant in the store with the first key, and so the files on
// this process's own disk. cursor is "" to begin, or the Next of a report to go
// on; limit bounds the connections that are looked at, 0 does not.
//
// A record is written only if it is still the one that was read, and nothing but
// its sealed grant changes: its version stays, so that a refresh under way goes
// on as if nothing had happened. What has the first key is passed over, so that
// after an interruption it can as well begin again. What no key opens stays as it
// is and is reported.
//
// The error is [ErrStoreUnavailable] if the store did not answer, or that of ctx.
// The report then says how far it came, and its Next where to go on.
func (s *Source) Rekey(ctx context.Context, cursor string, limit int) (RekeyReport, error) {
	run := &rekeying{source: s, keys: s.keyring(), report: RekeyReport{Next: cursor}}
	run.report.KeyID = run.keys.firstID()
	if cursor == "" {
		run.held()
	}
	for {
		page := rekeyPage
		if limit > 0 {
			page = min(page, limit-run.report.Connections)
		}
		names, next, err := s.store.List(ctx, run.report.Next, page)
		s.storeAnswered(StoreList, err)
		if err != nil {
			return run.report, errors.Join(ctx.Err(), storeFailed(s.reasoned(err)))
		}
		if err := run.page(ctx, names); err != nil {
			return run.report, err
		}
		run.report.Next = next
		if next == "" || limit > 0 && run.report.Connections >= limit {
			return run.report, nil
		}
	}
}

// rekeying is one call of Rekey. Another configuration may come while it goes
// on: it keeps to the keys that it began with.
type rekeying struct {
	source *Source
	keys   *Keyring

	mu     sync.Mutex
	report RekeyReport
	failed error // the store's
}

// page takes on the connections of one page. What of it was done before an error
// is in the report.
func (k *rekeying) page(ctx context.Context, names []string) error {
	var under sync.WaitGroup
	turns := make(chan struct{}, rekeyAtOnce)
	for _, name := range names {
		turns <- struct{}{}
		if ctx.Err() != nil || k.source.closing() || k.failure() != nil {
			break
		}
		under.Go(func() {
			k.one(name)
			<-turns
		})
	}
	under.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case k.source.closing():
		return fmt.Errorf("%w: %w", ErrStoreUnavailable, errClosing)
	}
	return k.failure()
}

func (k *rekeying) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed
}

func (k *rekeying) one(name string) {
	before := ""
	snap, err := k.source.read(name)
	without := len(snap.Sealed) == 0
	if err == nil && !without {
		before = sealedWith(snap.Sealed)
		_, err = k.source.apply(name, snap, k.writeReseal(name))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case errors.Is(err, ErrForeignRecord):
		k.report.Foreign++
	case errors.Is(err, ErrRecordUnreadable), errors.Is(err, ErrSealed), errors.Is(err, ErrConflict):
		k.left(RekeyFailure{Connection: name, KeyID: before, Error: err.Error()})
		k.report.Left++
	case err != nil:
		k.failed = &TokenError{Kind: ErrStoreUnavailable, Connection: name, Err: k.source.reasoned(err)}
		return
	case without:
		k.report.WithoutGrant++
	case before == k.keys.firstID():
		k.report.Already++
	default:
		k.report.Resealed++
	}
	k.report.Connections++
}

// left notes what is left as it was. k.mu is held.
func (k *rekeying) left(f RekeyFailure) {
	if k.report.LeftByKey == nil {
		k.report.LeftByKey = map[string]int{}
	}
	k.report.LeftByKey[f.KeyID]++
	if len(k.report.Failures) < rekeyFailures {
		k.report.Failures = append(k.report.Failures, f)
	}
}

// writeReseal (W8) changes the key of whatever grant the record has when it is
// written, and nothing else. What is inside is not looked at: a newer version may
// have put more there.
func (k *rekeying) writeReseal(name string) write {
	return func(s Snapshot) (Record, error) {
		r := s.Record
		if len(r.Sealed) == 0 || sealedWith(r.Sealed) == k.keys.firstID() {
			return r, errDone
		}
		plain, err := k.keys.open(r.Sealed, k.source.purpose(name))
		if err != nil {
			return r, err
		}
		r.Sealed = k.keys.seal(plain, k.source.purpose(name))
		return r, nil
	}
}

// held takes on the files on the local disk.
func (k *rekeying) held() {
	for name, err := range k.source.spill.reseal(k.keys, k.source.spillPurpose()) {
		if err == nil {
			k.report.HeldResealed++
			continue
		}
		k.report.HeldLeft++
		f := RekeyFailure{File: name, Error: err.Error()}
		if sealed := new(SealedError); errors.As(err, &sealed) {
			f.KeyID = sealed.KeyID
		}
		k.left(f)
	}
}

// Done reports whether everything is sealed with the first key, as far as it was
// looked at.
func (r RekeyReport) Done() bool { return r.Next == "" && r.Left == 0 && r.HeldLeft == 0 }
