package caddymodule

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// isPrivate reports whether a request header does not go to Pleo: credentials,
// cookies that a browser has for localhost, and what tells of the network behind
// us. It looks at the length first: each call asks for each of its headers.
func isPrivate(name string) bool {
	switch len(name) {
	case len("Cookie"):
		return strings.EqualFold(name, "Cookie")
	case len("Forwarded"):
		return strings.EqualFold(name, "Forwarded")
	case len("Authorization"):
		if strings.EqualFold(name, "Authorization") {
			return true
		}
	case len(connectionHeader):
		if strings.EqualFold(name, connectionHeader) {
			return true
		}
	case len("Proxy-Authorization"):
		if strings.EqualFold(name, "Proxy-Authorization") {
			return true
		}
	}
	const forwarded = "X-Forwarded-"
	return len(name) >= len(forwarded) && strings.EqualFold(name[:len(forwarded)], forwarded)
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

// sent is a request as it goes to Pleo, and the body that comes back, in one piece
// of memory.
type sent struct {
	request       http.Request
	url           url.URL
	authorization [1]string
	body          quietBody
}

// came makes an answer one that does not repeat the token, and returns it.
func (s *sent) came(res *http.Response) *http.Response {
	authorization := s.authorization[0]
	if authorization == "" {
		return res
	}
	hideToken(res.Header, authorization)
	if res.StatusCode != http.StatusSwitchingProtocols { // its body is a connection
		s.body = quietBody{res.Body, res, authorization}
		res.Body = &s.body
	}
	return res
}

// outgoing makes the request as it goes to Pleo. It is a copy: the request
// that Caddy has, logs, and shows to other handlers never holds the token.
//
// URL.Host stays what is dialled. Host is the API's after all operations on
// headers, and so is the name that TLS checks.
func (t *Transport) outgoing(req *http.Request, authorization string) *sent {
	s := &sent{request: *req, url: *req.URL}
	out := &s.request
	out.URL = &s.url
	out.URL.Scheme = t.api.scheme
	out.URL.User = nil // net/http would make an Authorization of it
	keepEscapes(out.URL)
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
	//
	// Of protocols to change to, a WebSocket is passed on. The offer of HTTP/2, which
	// Java's client makes with every call, is for us, and may be ignored (RFC 9110,
	// section 7.8).
	delete(out.Header, "Connection")
	delete(out.Header, "Http2-Settings")
	if upgrade := out.Header["Upgrade"]; httpguts.HeaderValuesContainsToken(upgrade, "websocket") {
		out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	} else if len(upgrade) > 0 {
		delete(out.Header, "Upgrade")
	}
	if authorization != "" {
		s.authorization[0] = authorization
		out.Header["Authorization"] = s.authorization[:]
	}
	return s
}
