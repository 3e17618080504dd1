package caddymodule

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
)

// maxForm is the longest form that is read, in bytes.
const maxForm = 8 << 10

var (
	errForm = errors.New("malformed form")
	// errFormToken is returned when a form was not made for this browser.
	errFormToken = errors.New("the form's token is not this browser's")
)

// formGuard tells forms that this browser was given from forged ones (CSRF),
// beside the check of the origin. A cookie that no script and no other site's
// request can have holds a secret, and each form a MAC of what it does, made
// with that secret. So nothing is kept here, all replicas agree, and a page
// never shows what is in the cookie.
type formGuard struct {
	cookie string
	secure bool
}

// newFormGuard goes by the scheme that the page is served with. The prefix
// __Host- keeps sibling domains from planting a secret that they know.
func newFormGuard(secure bool) formGuard {
	if secure {
		return formGuard{"__Host-pleo-status", true}
	}
	return formGuard{"pleo-status", false}
}

// secret returns the browser's secret, or gives it one.
func (g formGuard) secret(w http.ResponseWriter, r *http.Request) []byte {
	if secret := g.known(r); secret != nil {
		return secret
	}
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret)        // it never fails
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure unless the page is plain HTTP, which is for loopback
		Name:     g.cookie,
		Value:    base64.RawURLEncoding.EncodeToString(secret),
		Path:     "/",
		Secure:   g.secure,
		HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	})
	return secret
}

// known returns the secret that the browser brings, or nil if it brings none,
// one that is none of ours, or two: one of those was planted.
func (g formGuard) known(r *http.Request) []byte {
	cookies := r.CookiesNamed(g.cookie)
	if len(cookies) != 1 {
		return nil
	}
	secret, err := base64.RawURLEncoding.DecodeString(cookies[0].Value)
	if err != nil || len(secret) != sha256.Size {
		return nil
	}
	return secret
}

// formToken returns the token of a form that does what action says.
func formToken(secret []byte, action string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(action))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// form is what a page of ours has sent.
type form struct{ action, connection string }

// read returns the form of a POST request: [errForm] if it is none, and
// [errFormToken] if this browser was not given it.
func (g formGuard) read(w http.ResponseWriter, r *http.Request) (form, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return form{}, errForm
	}
	action, token := r.PostForm.Get("action"), r.PostForm.Get("token")
	secret := g.known(r)
	if secret == nil || !hmac.Equal([]byte(formToken(secret, action)), []byte(token)) {
		return form{}, errFormToken
	}
	for _, name := range []string{"action", "connection", "token"} {
		if len(r.PostForm[name]) != 1 {
			return form{}, errForm
		}
	}
	return form{action, strings.TrimSpace(r.PostForm.Get("connection"))}, nil
}
