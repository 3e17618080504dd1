package caddymodule

import (
	"errors"
	"io"
	"net/http"
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

// quietBody is a body whose errors do not hold the call's token.
type quietBody struct {
	io.ReadCloser
	authorization string
}

func (b *quietBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // readers return it as it is
		err = withoutToken(err, b.authorization)
	}
	return n, err
}
