package caddymodule

import (
	"errors"
	"net/http"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// retrySoon is when to call again where nothing better is known.
const retrySoon = time.Second

// invalidConnection answers a call whose connection is malformed, empty or
// doubled. The name is not repeated: it may come from anywhere.
func invalidConnection() *problem {
	return &problem{
		Type:   problemType + "invalid-connection",
		Title:  "The connection's name is invalid",
		Status: http.StatusBadRequest,
		Detail: "The name of a connection begins with a letter or digit, goes on with letters, digits, '.', '_', ':' and '-', and has at most 128 of them; Pleo-Connection is sent once or not at all.",
	}
}

func clientNotAllowed(reason string) *problem {
	detail := map[string]string{
		"address": "This client's address is neither loopback nor in allow_clients.",
		"host":    "The Host of this call is neither loopback, nor the API's, nor in allow_hosts.",
		"origin":  "A web page of another origin must not call.",
	}[reason]
	return &problem{
		Type:   problemType + "client-not-allowed",
		Title:  "This client is not allowed to call",
		Status: http.StatusForbidden,
		Detail: detail,
		Reason: reason,
	}
}

// methodNotSupported answers a call with a method that no token goes with.
func methodNotSupported() *problem {
	return &problem{
		Type:   problemType + "method-not-supported",
		Title:  "The method is not supported",
		Status: http.StatusNotImplemented,
		Detail: "TRACE and CONNECT are not passed on: a server would send the token back, or open a tunnel. Use another method.",
	}
}

// ownPath answers a call that is for the proxy, at a place where nothing of the
// proxy's answers it. Pleo has no such paths.
func ownPath() *problem {
	return &problem{
		Type:   problemType + "no-such-route",
		Title:  "There is no such route",
		Status: http.StatusNotFound,
		Detail: "Paths below /pleo/ are the proxy's own and are not passed on to Pleo. What should answer here, such as pleo_api or pleo_status, is not on this site.",
	}
}

func callNotRepeated(connection string) *problem {
	return &problem{
		Type:       problemType + "call-not-repeated",
		Title:      "The call was not repeated",
		Status:     http.StatusServiceUnavailable,
		Detail:     "Pleo refused the call's token and did not process the call. There is another token by now, but the body was too large to be kept and sent again: call again.",
		Connection: connection,
		retryAfter: retrySoon,
	}
}

// refreshFailed answers a call that got a token refused again and again.
func refreshFailed(connection string, after time.Duration) *problem {
	return &problem{
		Type:       problemType + "refresh-failed",
		Title:      "The token could not be refreshed",
		Status:     http.StatusServiceUnavailable,
		Detail:     "There is no usable access token at the moment; it will be tried again.",
		Connection: connection,
		retryAfter: max(after, retrySoon),
	}
}

func storeUnavailable(connection, detail string, after time.Duration) *problem {
	return &problem{
		Type:       problemType + "store-unavailable",
		Title:      "The store of grants cannot be used",
		Status:     http.StatusServiceUnavailable,
		Detail:     detail,
		Connection: connection,
		retryAfter: max(after, retrySoon),
	}
}

// tokenProblem answers a call for which err says why there is no token. The details are
// ours, and what the store's server has answered: err can name addresses of the store.
func (a *App) tokenProblem(connection string, err error) *problem {
	var after time.Duration
	var reason string
	if tokenErr, ok := errors.AsType[*pleoauth.TokenError](err); ok {
		after, reason = tokenErr.RetryAfter, string(tokenErr.Reason)
	}
	switch {
	case errors.Is(err, pleoauth.ErrInvalidConnection):
		return invalidConnection()
	case sealedError(err) != nil:
		return unopened(connection, sealedError(err))
	case errors.Is(err, pleoauth.ErrNotConnected):
		return &problem{
			Type:         problemType + "not-connected",
			Title:        "The connection is not connected",
			Status:       http.StatusUnauthorized,
			Detail:       "No company has authorised this connection.",
			Connection:   connection,
			AuthoriseURI: a.authoriseURI(connection, ""),
			challenge:    "Bearer",
		}
	case errors.Is(err, pleoauth.ErrReauthorisationRequired):
		return &problem{
			Type:         problemType + "reauthorisation-required",
			Title:        "The connection has to be authorised again",
			Status:       http.StatusUnauthorized,
			Detail:       "The authorisation of this connection has ended.",
			Connection:   connection,
			Reason:       reason,
			AuthoriseURI: a.authoriseURI(connection, ""),
			challenge:    `Bearer error="invalid_token"`,
		}
	case errors.Is(err, pleoauth.ErrClientRejected):
		return &problem{
			Type:       problemType + "client-rejected",
			Title:      "Pleo refuses this client",
			Status:     http.StatusBadGateway,
			Detail:     "Pleo refuses client_id or client_secret. The authorisation is kept and will be used again once they are right.",
			Connection: connection,
		}
	case errors.Is(err, pleoauth.ErrRefreshUnsettled):
		return &problem{
			Type:       problemType + "refresh-unsettled",
			Title:      "It is not known yet whether a refresh was processed",
			Status:     http.StatusServiceUnavailable,
			Detail:     "The answer to a refresh was lost; Pleo is asked what has become of it.",
			Connection: connection,
			retryAfter: max(after, retrySoon),
		}
	case errors.Is(err, pleoauth.ErrRefreshFailed):
		return refreshFailed(connection, after)
	case errors.Is(err, pleoauth.ErrForeignRecord):
		return storeUnavailable(connection, "The store has this connection for another client or another authorisation server.", after)
	case errors.Is(err, errNotStarted):
		return storeUnavailable(connection, "The proxy has not started yet.", after)
	}
	if reason, ok := pleoauth.ReasonOf(err); ok && reason.Refused() {
		return storeUnavailable(connection, "The store of grants refuses what it is asked for: "+reason.Text, after)
	}
	return storeUnavailable(connection, "The store of grants cannot be reached at the moment.", after)
}
