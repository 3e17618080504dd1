package caddymodule

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const rekeyPath = "/pleo/rekey"

// rekey serves
//
//	POST /pleo/rekey?cursor=…&limit=…
//
// which seals with the first key what has another one: everything, or so many
// connections as limit says, after the cursor that the answer before had as next.
func (a adminAPI) rekey(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return errMethod
	}
	app, err := activeApp()
	if err != nil {
		return err
	}
	shared, release, err := app.current(r.Context())
	if err != nil {
		return apiError(http.StatusServiceUnavailable, err)
	}
	defer release()
	limit := 0
	if text := r.URL.Query().Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPageLimit {
			return apiError(http.StatusBadRequest, errors.New("limit is not a number from 1 to "+strconv.Itoa(maxPageLimit)))
		}
	}
	report, err := shared.source.Rekey(r.Context(), r.URL.Query().Get("cursor"), limit)
	if err != nil { // what was done until then is done
		res := app.tokenProblem("", err).response(r)
		maps.Copy(w.Header(), res.Header)
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body) // the caller may have gone away
		return nil
	}
	return writeJSON(w, report)
}

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
