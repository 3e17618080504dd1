package caddymodule

import (
	"errors"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// unopened answers a call whose grant no key opens. The key's id is not secret,
// and what an operator looks for.
func unopened(connection string, err *pleoauth.SealedError) *problem {
	detail := "The grant of this connection cannot be opened: it was changed, or sealed for something else. It is kept as it is."
	if err.Missing {
		detail = "The grant of this connection cannot be opened: no encryption_key with the id " + err.KeyID + " is configured. It is kept until there is one."
	}
	return storeUnavailable(connection, detail, retrySoon)
}

// sealedError returns the one in err, or nil.
func sealedError(err error) *pleoauth.SealedError {
	sealed, _ := errors.AsType[*pleoauth.SealedError](err)
	return sealed
}
