package pleotest

import (
	"bytes"
	"crypto/subtle"
	"encoding/base64"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxForm is more than any form that OAuth knows.
const maxForm = 64 << 10

const formType = "application/x-www-form-urlencoded"

// bufferForm reads the body and puts it back, so that a fault can look at it
// first and the request can be processed after its connection has gone.
func bufferForm(r *http.Request) url.Values {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), failing{err}))
	form, _ := url.ParseQuery(string(body))
	return form
}

// failing ends a body that was cut short with the error that it had, lest the
// half of it be processed as a whole.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// readForm reads a form as RFC 6749 section 3.2 has it: POST, form-encoded,
// nothing in the query, no parameter twice, and one without a value is absent.
func readForm(r *http.Request) (url.Values, *oauthError) {
	if r.Method != http.MethodPost {
		return nil, &oauthError{http.StatusMethodNotAllowed, "invalid_request", "the method must be POST"}
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != formType {
		return nil, badRequest("invalid_request", "the content type must be "+formType)
	}
	if r.URL.RawQuery != "" {
		return nil, badRequest("invalid_request", "parameters belong in the body, not in the query")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil || len(body) > maxForm {
		return nil, badRequest("invalid_request", "the body is too long or was cut short")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest("invalid_request", "the body is not form-encoded")
	}
	for name, values := range form {
		if len(values) > 1 {
			return nil, badRequest("invalid_request", name+" is there more than once")
		}
		if values[0] == "" {
			form.Del(name)
		}
	}
	return form, nil
}

// authenticate tells which client a form comes from: confidential clients by
// client_secret_basic and nothing else, public ones by client_id in the form
// (Pleo's documentation: client configuration). Called with e.mu held.
func (e *Emulator) authenticate(r *http.Request, form url.Values) (Client, *oauthError) {
	client, failure := e.identify(r.Header.Values("Authorization"), form)
	if failure != nil {
		e.countLocked(func(c *Counters) { c.ClientRefusals++ })
		e.log.Warn("client refused", "reason", failure.Description)
	}
	return client, failure
}

func (e *Emulator) identify(headers []string, form url.Values) (Client, *oauthError) {
	if form.Has("client_secret") {
		return Client{}, invalidClient("the secret belongs in the Authorization header, by client_secret_basic")
	}
	if len(headers) == 0 {
		client, ok := e.clients[form.Get("client_id")]
		switch {
		case !ok:
			return Client{}, invalidClient("no such client")
		case !client.Public():
			return Client{}, invalidClient("a confidential client authenticates by client_secret_basic")
		}
		return client, nil
	}
	id, secret, ok := basicAuth(headers)
	e.remember(secret)
	client, known := e.clients[id]
	switch {
	case !ok:
		return Client{}, invalidClient("the Authorization header is not Basic with a form-encoded id and secret")
	case !known:
		return Client{}, invalidClient("no such client")
	case client.Public():
		return Client{}, invalidClient("a public client sends client_id in the form, and no Authorization header")
	case subtle.ConstantTimeCompare([]byte(secret), []byte(client.Secret)) != 1:
		return Client{}, invalidClient("the secret is wrong, or not form-encoded")
	case form.Has("client_id") && form.Get("client_id") != id:
		return Client{}, invalidClient("client_id is another than in the Authorization header")
	}
	return client, nil
}

// basicAuth decodes what RFC 6749 section 2.3.1 encodes.
func basicAuth(headers []string) (id, secret string, ok bool) {
	if len(headers) != 1 {
		return "", "", false
	}
	scheme, encoded, found := strings.Cut(headers[0], " ")
	if !found || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", "", false
	}
	id, secret, found = strings.Cut(string(decoded), ":")
	id, idErr := url.QueryUnescape(id)
	secret, secretErr := url.QueryUnescape(secret)
	return id, secret, found && idErr == nil && secretErr == nil
}
