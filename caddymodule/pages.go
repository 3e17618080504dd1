package caddymodule

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed pages/page.css
var pageCSS string

var (
	pageTemplates = template.Must(template.ParseFS(pageFiles, "pages/*.html"))
	pageStyle     = template.CSS(pageCSS) //nolint:gosec // a constant of ours
	pageStyleSum  = sha256.Sum256([]byte(pageCSS))
)

// pagePolicy lets a page have its one style, by hash, and send forms to where
// formAction says, and nothing else.
func pagePolicy(formAction string) string {
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(pageStyleSum[:]) +
		"'; base-uri 'none'; form-action " + formAction + "; frame-ancestors 'none'"
}

// styled is what all pages have.
type styled struct{}

// Style returns the page's style sheet.
func (styled) Style() template.CSS { return pageStyle }

// writePage answers with a page made from one of the templates.
func writePage(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var body bytes.Buffer
	if err := pageTemplates.ExecuteTemplate(&body, name, data); err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body.Bytes())
	}
}

// page is a page that says what happened.
type page struct {
	styled

	Title, Text, Hint string
	// Again is where to go on, or "", and againText what the link says there.
	// Default: Start again.
	Again     string
	againText string
	// Sign is drawn above: good, warn, or "" for none.
	Sign string

	status     int
	retryAfter time.Duration
	// reload has the browser open the same address again after retryAfter.
	reload bool
}

// AgainText returns the text of the link.
func (p *page) AgainText() string { return cmp.Or(p.againText, "Start again") }

func (p *page) write(w http.ResponseWriter, r *http.Request) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", retryAfterSeconds(p.retryAfter))
	}
	if p.reload {
		w.Header().Set("Refresh", retryAfterSeconds(p.retryAfter))
	}
	writePage(w, r, p.status, "message.html", p)
}

// prepareBrowser sets what every answer to a browser has, and answers methods
// other than GET: a HEAD is a link preview's, and starts and completes nothing.
//
// The access log is skipped for both handlers. The callback's URL holds code
// and state, and so does the Location that authorise answers with hold state.
func prepareBrowser(w http.ResponseWriter, r *http.Request) bool {
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	h := w.Header()
	setPageHeaders(h, "no-referrer", "'none'")
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

// setPageHeaders has a page kept nowhere, framed nowhere, and told to nobody.
func setPageHeaders(h http.Header, referrer, formAction string) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", referrer)
	h.Set("Content-Security-Policy", pagePolicy(formAction))
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
}

func connectedPage(connection string) *page {
	p := &page{
		status: http.StatusOK,
		Sign:   "good",
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
		Sign:   "warn",
		Title:  "This does not work",
		Text:   text,
		Hint:   "Nothing was changed. Go back to where you came from and start again.",
	}
}

func unavailablePage(again string) *page {
	return &page{
		status:     http.StatusServiceUnavailable,
		Sign:       "warn",
		Title:      "Not available at the moment",
		Text:       "The authorisation could not go on, because this service cannot reach its store.",
		Hint:       "Nothing was changed. Try again in a minute.",
		Again:      again,
		retryAfter: 10 * time.Second,
	}
}

// misconfiguredPage is for a fault that only the operator can correct: starting again
// would not help.
func misconfiguredPage() *page {
	return &page{
		status: http.StatusBadGateway,
		Sign:   "warn",
		Title:  "This service is not set up correctly",
		Text:   "Pleo does not accept how this service identifies itself, or what it asks for.",
		Hint:   "Nothing was stored. That is for the people who run this service to correct: please tell them. Starting again does not help before.",
	}
}

// notOursPage is for a connection whose record belongs to another client.
func notOursPage() *page {
	return &page{
		status: http.StatusConflict,
		Sign:   "warn",
		Title:  "This connection cannot be used here",
		Text:   "It belongs to another service, or to another version of this one.",
		Hint:   "Nothing was changed. That is for the people who run this service to look into: please tell them. Starting again does not help before.",
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

// pendingPage has the browser wait and come back with the same callback: an
// exchange that overtook an earlier request could cost the new grant.
func pendingPage(completed pleoauth.Completed) *page {
	wait := max(completed.RetryAfter, time.Second)
	return &page{
		status:     http.StatusAccepted,
		Title:      "One moment",
		Text:       "An earlier authorisation or refresh of the connection " + completed.Connection + " is not settled yet.",
		Hint:       "This takes up to " + inSeconds(wait) + ". Leave this page open: it goes on by itself then, and nothing has to be done again.",
		retryAfter: wait,
		reload:     true,
	}
}

// inSeconds is a duration as people read it, in whole seconds.
func inSeconds(d time.Duration) string {
	seconds := retryAfterSeconds(d)
	if seconds == "1" {
		return "1 second"
	}
	return seconds + " seconds"
}

// callbackPage says why an authorisation was not completed. Nothing that came
// with the browser is repeated: an attacker may have written it. wait is how long
// to wait before starting again, or 0.
func callbackPage(err error, again string, wait time.Duration) *page {
	how := "go back to where you came from and start again."
	if again != "" {
		how = "start again."
	}
	when := "In a minute, "
	if wait > 0 {
		when = "In " + inSeconds(wait) + ", "
	}
	p := &page{Again: again, Sign: "warn", retryAfter: wait}
	denied, _ := errors.AsType[*deniedError](err)
	switch {
	case errors.Is(err, pleoauth.ErrOtherIssuer):
		page := misconfiguredPage()
		page.status, page.Text = http.StatusBadRequest, "The answer has come from another authorisation server than the one that this service uses."
		return page
	case errors.Is(err, pleoauth.ErrUnknownFlow):
		p.status, p.Title = http.StatusBadRequest, "This link cannot be used"
		p.Text = "It belongs to an authorisation that has expired, was completed already, or was never started here."
		p.Hint = "Nothing was changed. An authorisation has to be finished within ten minutes: " + how
	case errors.Is(err, pleoauth.ErrOtherBrowser):
		p.status, p.Title = http.StatusForbidden, "Started in another browser"
		p.Text = "This authorisation was started in another browser, or this browser does not keep cookies."
		p.Hint = "Nothing was stored. Finish it in the browser in which it was started; or allow cookies in this one, " + how
	case denied != nil && denied.fault() == faultOfOperator, errors.Is(err, pleoauth.ErrClientRejected):
		return misconfiguredPage()
	case denied != nil && denied.fault() == faultOfPleo:
		p.status, p.Title = http.StatusBadGateway, "Pleo could not go on"
		p.Text = "Pleo has sent you back because of an error of its own."
		p.Hint = "Nothing was stored. In a minute, " + how
	case errors.Is(err, pleoauth.ErrForeignRecord), errors.Is(err, pleoauth.ErrRecordUnreadable):
		return notOursPage()
	case errors.Is(err, pleoauth.ErrDenied):
		p.status, p.Title = http.StatusForbidden, "Not authorised"
		p.Text = "Access was not granted at Pleo."
		p.Hint = "Nothing was stored. If that was not meant, " + how
	case errors.Is(err, pleoauth.ErrOtherSubject):
		p.status, p.Title = http.StatusConflict, "Another company"
		p.Text = "The company that authorised is not the one that this connection belongs to."
		p.Hint = "Nothing was stored. Log in to Pleo with the company that is meant, and " + how
	case errors.Is(err, pleoauth.ErrSuperseded):
		p.status, p.Title = http.StatusConflict, "The connection was changed meanwhile"
		p.Text = "While this authorisation was being completed, the connection was disconnected, or authorised by a later visit."
		p.Hint = "Nothing was stored by this visit. If the connection is still to be authorised, " + how
	case errors.Is(err, pleoauth.ErrSubjectUnknown):
		p.status, p.Title = http.StatusBadGateway, "The company could not be checked"
		p.Text = "It is not known yet which company this connection belongs to, and Pleo could not be asked."
		p.Hint = "Nothing was exchanged, and nothing was changed. " + when + how + " If it goes on, the proxy's log says why."
	case errors.Is(err, pleoauth.ErrStoreUnavailable):
		return unavailablePage(again)
	default:
		p.status, p.Title = http.StatusBadGateway, "Pleo did not complete the authorisation"
		p.Text = "Access was granted, but Pleo did not hand it over."
		if wait > 0 {
			p.Text = "Access was granted, but Pleo has not answered, or has failed in a way that leaves open whether it handed access over."
		}
		p.Hint = "Nothing was stored. " + when + how + " If it goes on, the proxy's log says why."
	}
	return p
}
