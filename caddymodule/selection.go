package caddymodule

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/net/http/httpguts"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// connectionHeader names the connection of a call. It never leaves the sidecar.
const connectionHeader = "Pleo-Connection"

// checkSelection judges the option connection as far as it is known.
func checkSelection(value string) error {
	if hasPlaceholder(value) {
		return nil
	}
	if err := pleoauth.CheckConnection(value); err != nil {
		return fmt.Errorf("connection: %w", err)
	}
	return nil
}

// connectionOf returns the connection that a call is for. An error wraps
// [pleoauth.ErrInvalidConnection]: whatever is empty, doubled or unresolved must
// not become default, which is some other customer.
//
// selector is the option connection; with it, the caller's header is ignored.
func connectionOf(req *http.Request, repl *caddy.Replacer, selector string) (string, error) {
	if selector != "" {
		name, err := repl.ReplaceOrErr(selector, true, true)
		if err != nil {
			return "", fmt.Errorf("%w: %w", pleoauth.ErrInvalidConnection, err)
		}
		return name, pleoauth.CheckConnection(name)
	}
	// Two header lines are joined by a comma here, which no name has.
	if name := requestValue(repl, requestHeader+connectionHeader); name != "" {
		return name, pleoauth.CheckConnection(name)
	}
	if emptyHeader(req, repl) {
		return "", pleoauth.CheckConnection("")
	}
	return pleoauth.DefaultConnection, nil
}

// emptyHeader reports whether the caller sent the header without a value. The
// replacer cannot tell that from no header at all, so the outgoing copy says
// it; where the caller had the copy stripped with "Connection: Pleo-Connection",
// it is taken for empty.
func emptyHeader(req *http.Request, repl *caddy.Replacer) bool {
	if _, ok := req.Header[connectionHeader]; ok {
		return true
	}
	hopByHop := requestValue(repl, requestHeader+"Connection")
	return hopByHop != "" && httpguts.HeaderValuesContainsToken([]string{hopByHop}, connectionHeader)
}
