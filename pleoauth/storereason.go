package pleoauth

import "errors"

// StoreReason says why a store does not do what it is asked for.
type StoreReason struct {
	// Code is the first word of the server's answer, such as OOM or NOPERM, where it
	// has one; [CodeUnknownCommand], [CodeRefused] for an answer without a code, or
	// [CodeUnreachable] if there was no answer. A metric relies on its having few values.
	Code string
	// Text says it in the server's own words, or in those of the network. It has neither
	// an address nor a secret, so that it may be shown to callers.
	Text string
	// Whole is set if it is about the server as a whole: any operation that works shows
	// that it is over.
	Whole bool
}

// Codes of a [StoreReason] that are not the server's own.
const (
	CodeUnreachable    = "unreachable"
	CodeUnknownCommand = "unknown-command"
	CodeRefused        = "refused"
)

// Refused reports whether the server was reached, and refuses.
func (r StoreReason) Refused() bool { return r.Code != CodeUnreachable }

// StoreReasoner is implemented by stores that can tell why an operation of theirs has
// failed.
type StoreReasoner interface {
	// Reason returns why an operation has failed with err.
	Reason(err error) StoreReason
}

// reason returns why an operation of the store has failed.
func (s *Source) reason(err error) StoreReason {
	if store, ok := s.store.(StoreReasoner); ok {
		return store.Reason(err)
	}
	return StoreReason{Code: CodeUnreachable, Text: "it does not do what it is asked for", Whole: true}
}

// reasonedError carries why the store has failed to those who answer a caller.
type reasonedError struct {
	reason StoreReason
	err    error
}

func (e *reasonedError) Error() string { return e.err.Error() }

func (e *reasonedError) Unwrap() error { return e.err }

// reasoned has an error of the store's carry its reason.
func (s *Source) reasoned(err error) error {
	switch {
	case err == nil, errors.Is(err, errClosing), errors.Is(err, errHangs), errors.Is(err, ErrForeignRecord), errors.Is(err, ErrRecordUnreadable),
		errors.Is(err, ErrConflict), errors.Is(err, ErrSealed):
		return err // not what the server says
	}
	return &reasonedError{s.reason(err), err}
}

// ReasonOf returns why the store has failed, if err, which wraps [ErrStoreUnavailable],
// tells it.
func ReasonOf(err error) (StoreReason, bool) {
	reasoned, ok := errors.AsType[*reasonedError](err)
	if !ok {
		return StoreReason{}, false
	}
	return reasoned.reason, true
}
