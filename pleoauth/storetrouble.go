package pleoauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// troubleEvery is how often a reason is logged while it lasts.
	troubleEvery = time.Minute
	// troubleQuiet is for how long nothing may have failed for a reason before it is said
	// to be over: one server of a Cluster may fail while another works.
	troubleQuiet = 10 * time.Second
	// troubleOver is after how long an operation that has failed, and has not been asked for
	// again, is not held against the store any more.
	troubleOver = 3 * time.Minute
)

// storeTrouble is what the store fails to do at the moment, by operation: a server may
// answer PING and refuse all that matters. Each reason is logged when it begins, once a
// minute while it lasts, and when it ends, however many calls it fails.
type storeTrouble struct {
	any atomic.Bool // the rest is looked at only while something fails, or has lately

	mu      sync.Mutex
	failing map[failing]failure
	told    map[string]*toldReason // by code
}

// failing is an operation, and a code for which it fails.
type failing struct {
	op   StoreOperation
	code string
}

// failure is how an operation has failed last for a code.
type failure struct {
	reason StoreReason
	at     time.Time
}

// toldReason is a reason that has been logged, and is not over.
type toldReason struct {
	began, told, last time.Time
}

// failed notes a failure, and reports whether it is to be logged now.
func (t *storeTrouble) failed(op StoreOperation, reason StoreReason, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failing == nil {
		t.failing, t.told = map[failing]failure{}, map[string]*toldReason{}
	}
	t.failing[failing{op, reason.Code}] = failure{reason, now}
	t.any.Store(true)
	told, known := t.told[reason.Code]
	if !known {
		t.told[reason.Code] = &toldReason{began: now, told: now, last: now}
		return true
	}
	told.last = now
	if now.Sub(told.told) < troubleEvery {
		return false
	}
	told.told = now
	return true
}

// worked notes that an operation works, and returns the reasons that are over by that,
// or by time, with how long they have lasted.
func (t *storeTrouble) worked(op StoreOperation, now time.Time) map[string]time.Duration {
	if !t.any.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, f := range t.failing {
		if key.op == op || f.reason.Whole || now.Sub(f.at) > troubleOver {
			delete(t.failing, key)
		}
	}
	var over map[string]time.Duration
	for code, told := range t.told {
		lasts := now.Sub(told.last) < troubleQuiet
		for key := range t.failing {
			lasts = lasts || key.code == code
		}
		if !lasts {
			if over == nil {
				over = map[string]time.Duration{}
			}
			over[code] = told.last.Sub(told.began)
			delete(t.told, code)
		}
	}
	t.any.Store(len(t.told) > 0)
	return over
}

// reasons returns what the store fails for at the moment, each reason once.
func (t *storeTrouble) reasons() []StoreReason {
	if !t.any.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	latest := map[string]failure{}
	for _, f := range t.failing {
		if known, ok := latest[f.reason.Code]; !ok || f.at.After(known.at) {
			latest[f.reason.Code] = f
		}
	}
	var all []StoreReason
	for _, f := range latest {
		all = append(all, f.reason)
	}
	slices.SortFunc(all, func(a, b StoreReason) int { return strings.Compare(a.Code, b.Code) })
	return all
}

// storeAnswered counts and logs what the store failed to do. That a record has changed,
// is locked or is gone are answers, and a caller who went away is no failure.
func (s *Source) storeAnswered(op StoreOperation, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	answered := err == nil
	for _, answer := range []error{ErrConflict, ErrLocked, ErrLockLost, ErrNoFlow} {
		answered = answered || errors.Is(err, answer)
	}
	if !answered {
		if f := s.observer.Load().StoreFailed; f != nil {
			f(op)
		}
	}
	now := time.Now()
	if answered || errors.Is(err, ErrRecordUnreadable) || errors.Is(err, ErrNotReplicated) { // the server has done what it was asked for
		for code, lasted := range s.trouble.worked(op, now) {
			s.logger().Info("the store does again what it is asked for", "result", code, "duration", lasted)
		}
		return
	}
	if reason := s.reason(err); s.trouble.failed(op, reason, now) {
		s.logger().Warn("the store does not do what it is asked for", "result", reason.Code, "operation", string(op), "error", err)
	}
}
