package caddymodule

import (
	"net/http"
	"net/textproto"
	"strings"
)

// private lists request headers that do not go to Pleo: credentials, cookies
// that a browser has for localhost, and what tells of the network behind us.
var private = map[string]struct{}{
	"Authorization":       {},
	"Proxy-Authorization": {},
	"Cookie":              {},
	"Forwarded":           {},
	connectionHeader:      {},
}

// dropPrivate keeps a call's trailers from saying what its header may not: a
// server on the way could take them for more of it (RFC 9110, section 6.5.1).
func dropPrivate(trailer http.Header) {
	for name := range trailer {
		if isPrivate(name) || name == "Connection" || name == "Host" {
			delete(trailer, name)
		}
	}
}

func isPrivate(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	_, ok := private[name]
	return ok || strings.HasPrefix(name, "X-Forwarded-")
}

// outgoing returns the request as it goes to Pleo. It is a copy: the request
// that Caddy has, logs, and shows to other handlers never holds the token.
//
// URL.Host stays what is dialled. Host is the API's after all operations on
// headers, and so is the name that TLS checks.
func (t *Transport) outgoing(req *http.Request, authorization string) *http.Request {
	out := req.WithContext(req.Context())
	u := *req.URL
	u.Scheme = t.api.scheme
	u.User = nil // net/http would make an Authorization of it
	out.URL = &u
	out.Host = t.api.host
	// With GetBody, net/http sends a request again by itself, POST included.
	out.GetBody = nil

	out.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		if !isPrivate(name) {
			out.Header[name] = values
		}
	}
	// A header_up could still name hop-by-hop headers: "Connection:
	// Authorization" would have a proxy on the way strip the token.
	if out.Header.Get("Upgrade") != "" {
		out.Header["Connection"] = []string{"Upgrade"}
	} else {
		delete(out.Header, "Connection")
	}
	if authorization != "" {
		out.Header["Authorization"] = []string{authorization}
	}
	return out
}
