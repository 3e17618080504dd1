package pleotest

import (
	"encoding/json"
	"net/http"
)

// authHandler routes the authorisation server's addresses.
func (e *Emulator) authHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/oauth/authorize", e.faulty(Authorise, e.serveAuthorise))
	mux.Handle("/oauth/token", e.faulty(Token, e.serveToken))
	mux.Handle("/oauth/token/introspect", e.faulty(Introspect, e.serveIntrospect))
	return e.tracked(e.dated(mux))
}

// oauthError is an error as OAuth spells it (RFC 6749 section 5.2), with the
// status that goes with it.
type oauthError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

func (err *oauthError) Error() string { return err.Code + ": " + err.Description }

func badRequest(code, description string) *oauthError {
	return &oauthError{http.StatusBadRequest, code, description}
}

func invalidClient(description string) *oauthError {
	return &oauthError{http.StatusUnauthorized, "invalid_client", description}
}

func (err *oauthError) write(w http.ResponseWriter) {
	switch err.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="pleo"`)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	}
	writeUncached(w, err.status, err)
}

// writeUncached answers with JSON that holds, or is about, tokens (RFC 6749
// section 5.1).
func writeUncached(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that has gone is no error of ours
}
