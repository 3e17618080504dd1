package caddymodule

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

//go:embed pages/page.html
var pageHTML string

//go:embed pages/page.css
var pageCSS string

var (
	pageTemplate = template.Must(template.New("page").Parse(pageHTML))
	pageStyle    = template.CSS(pageCSS) //nolint:gosec // a constant of ours
	// pagePolicy lets a page have its one style, by hash, and nothing else.
	pagePolicy = "default-src 'none'; style-src 'sha256-" + styleHash(pageCSS) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

func styleHash(css string) string {
	sum := sha256.Sum256([]byte(css))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// page is what a browser is shown.
type page struct {
	Title, Text, Hint string
	// Again is where to start again, or "".
	Again string

	status     int
	retryAfter time.Duration
}

// Style returns the page's style sheet.
func (*page) Style() template.CSS { return pageStyle }

func (p *page) write(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	if err := pageTemplate.Execute(&body, p); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", retryAfterSeconds(p.retryAfter))
	}
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes())
	}
}

// prepareBrowser sets what every answer to a browser has, and answers methods
// other than GET: a HEAD is a link preview's, and starts and completes nothing.
//
// The access log is skipped for both handlers. The callback's URL holds code
// and state, and so does the Location that authorise answers with hold state.
func prepareBrowser(w http.ResponseWriter, r *http.Request) bool {
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	switch r.Method {
	case http.MethodGet:
		return true
	case http.MethodHead:
		w.WriteHeader(http.StatusOK)
	default:
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
	return false
}

func connectedPage(connection string) *page {
	p := &page{
		status: http.StatusOK,
		Title:  "Connected",
		Text:   "Pleo is connected. You can close this page.",
	}
	if connection != pleoauth.DefaultConnection {
		p.Text = "Pleo is connected, as " + connection + ". You can close this page."
	}
	return p
}

func badRequestPage(text string) *page {
	return &page{
		status: http.StatusBadRequest,
		Title:  "This does not work",
		Text:   text,
		Hint:   "Nothing was changed. Go back to where you came from and start again.",
	}
}

func unavailablePage(again string) *page {
	return &page{
		status:     http.StatusServiceUnavailable,
		Title:      "Not available at the moment",
		Text:       "The authorisation could not go on, because this service cannot reach its store.",
		Hint:       "Nothing was changed. Try again in a minute.",
		Again:      again,
		retryAfter: 10 * time.Second,
	}
}

func busyPage() *page {
	return &page{
		status:     http.StatusServiceUnavailable,
		Title:      "Too many at once",
		Text:       "Very many authorisations have been started here in the last minutes.",
		Hint:       "Nothing was changed. Try again in a few minutes.",
		retryAfter: time.Minute,
	}
}

// callbackPage says why an authorisation was not completed. Nothing that came
// with the browser is repeated: an attacker may have written it.
func callbackPage(err error, again string) *page {
	hint := "Nothing was stored. Go back to where you came from and start again."
	if again != "" {
		hint = "Nothing was stored. You can start again."
	}
	p := &page{Hint: hint, Again: again}
	switch {
	case errors.Is(err, pleoauth.ErrUnknownFlow):
		p.status, p.Title = http.StatusBadRequest, "This link cannot be used"
		p.Text = "It belongs to an authorisation that has expired, was completed already, or was never started here."
	case errors.Is(err, pleoauth.ErrOtherBrowser):
		p.status, p.Title = http.StatusForbidden, "Started in another browser"
		p.Text = "This authorisation was started in another browser, or this browser does not keep cookies."
	case errors.Is(err, pleoauth.ErrDenied):
		p.status, p.Title = http.StatusForbidden, "Not authorised"
		p.Text = "Access was not granted at Pleo."
	case errors.Is(err, pleoauth.ErrOtherSubject):
		p.status, p.Title = http.StatusConflict, "Another company"
		p.Text = "The company that authorised is not the one that this connection belongs to. Log in to Pleo with the company that is meant."
	case errors.Is(err, pleoauth.ErrStoreUnavailable):
		return unavailablePage(again)
	default:
		p.status, p.Title = http.StatusBadGateway, "Pleo did not complete the authorisation"
		p.Text = "Access was granted, but Pleo did not hand it over."
	}
	return p
}
