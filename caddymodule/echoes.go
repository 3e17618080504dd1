package caddymodule

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// errAnswerRepeatsToken is returned instead of an error of net/http's that quotes
// a malformed answer with the call's token in it: Caddy logs it.
var errAnswerRepeatsToken = errors.New("the API's answer is malformed, and repeats the call's token, so that it is not shown here")

// methodAllowed refuses the methods that no token may go with: TRACE asks for
// the request back, credentials included (RFC 9110, section 9.3.8), and CONNECT
// for a tunnel, which is for proxies to answer (section 9.3.6). Methods are case
// sensitive, but not to every server.
func methodAllowed(method string) bool {
	return !strings.EqualFold(method, http.MethodTrace) && !strings.EqualFold(method, http.MethodConnect)
}

// withoutToken returns err, unless its text holds the token of authorization,
// as it stands or quoted.
func withoutToken(err error, authorization string) error {
	if err == nil || authorization == "" {
		return err
	}
	_, token, _ := strings.Cut(authorization, " ")
	quoted := strings.Trim(strconv.Quote(token), `"`)
	if text := err.Error(); strings.Contains(text, token) || strings.Contains(text, quoted) {
		return errAnswerRepeatsToken
	}
	return err
}

// tokenMark stands where a server's answer repeats the call's token.
const tokenMark = "[token]"

// hideToken takes the token out of an answer's header, or of its trailer: the
// access log has them, and so has the application, which has no token.
func hideToken(header http.Header, authorization string) {
	_, token, _ := strings.Cut(authorization, " ")
	if token == "" {
		return
	}
	for _, values := range header {
		for i, value := range values {
			if len(value) < len(token) {
				continue // nearly always
			}
			value = strings.ReplaceAll(value, token, tokenMark)
			values[i] = strings.ReplaceAll(value, url.QueryEscape(token), tokenMark)
		}
	}
}

// quietBody is the body of an answer to a call with a token. Neither its errors
// nor the trailer after it have that token. In HTTP/1.1 and in HTTP/2, net/http quotes
// what it cannot read, such as a malformed trailer, or the debug data of a GOAWAY.
type quietBody struct {
	io.ReadCloser
	answer        *http.Response
	authorization string
}

func (b *quietBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
	case err == io.EOF: //nolint:errorlint // readers return it as it is
		hideToken(b.answer.Trailer, b.authorization)
	default:
		err = withoutToken(err, b.authorization)
	}
	return n, err
}
