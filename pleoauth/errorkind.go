package pleoauth

import (
	"context"
	"errors"
)

// ErrorKind returns a word for what an error of [Source.Token] or
// [Source.Refused] is, from a fixed set: "not-connected",
// "reauthorisation-required", "client-rejected", "refresh-failed",
// "refresh-unsettled", "store-unavailable", "invalid-connection", "token-alive",
// "cancelled", "timeout", or "other"; and "" for nil.
func ErrorKind(err error) string {
	if err == nil {
		return ""
	}
	if e := new(TokenError); errors.As(err, &e) {
		err = e.Kind // and not what lies behind it
	}
	for _, k := range []struct {
		err  error
		kind string
	}{
		{ErrNotConnected, "not-connected"},
		{ErrReauthorisationRequired, "reauthorisation-required"},
		{ErrClientRejected, reasonClientRejected},
		{ErrRefreshFailed, reasonRefreshFailed},
		{ErrRefreshUnsettled, reasonRefreshUnsettled},
		{ErrStoreUnavailable, reasonStoreUnavailable},
		{ErrForeignRecord, reasonStoreUnavailable},
		{ErrInvalidConnection, "invalid-connection"},
		{ErrTokenAlive, "token-alive"},
		{context.Canceled, "cancelled"},
		{context.DeadlineExceeded, "timeout"},
	} {
		if errors.Is(err, k.err) {
			return k.kind
		}
	}
	return "other"
}
