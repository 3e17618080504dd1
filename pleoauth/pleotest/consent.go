package pleotest

import (
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"time"
)

// Decision says who decides about an authorisation request.
type Decision string

// The decisions.
const (
	// Ask shows a consent page and waits for somebody to click.
	Ask Decision = "ask"
	// AutoApprove redirects at once with a code.
	AutoApprove Decision = "approve"
	// AutoDeny redirects at once with access_denied.
	AutoDeny Decision = "deny"
)

type consent struct {
	Decision Decision `json:"decision"`
	Company  string   `json:"company"`
}

func (c consent) check() error {
	switch c.Decision {
	case Ask, AutoApprove, AutoDeny:
	default:
		return fmt.Errorf("no decision %q", c.Decision)
	}
	if _, ok := findCompany(c.Company); !ok && c.Company != "" {
		return fmt.Errorf("no company %q", c.Company)
	}
	return nil
}

// SetConsent says who decides about authorisation requests from now on, and
// for [AutoApprove] for which company, by id, URN or name; empty for the one
// that each request names, or the first.
func (e *Emulator) SetConsent(decision Decision, company string) error {
	c := consent{decision, company}
	if err := c.check(); err != nil {
		return fmt.Errorf("consent: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.consent = c
	return nil
}

func (e *Emulator) automatic(a authorisation) (Decision, Company) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if company, ok := findCompany(e.consent.Company); ok {
		return e.consent.Decision, company
	}
	return e.consent.Decision, a.company
}

// pending is a consent page that is open in a browser.
type pending struct {
	authorisation authorisation
	expires       time.Time
}

// consentLife is how long a consent page may stay open.
const consentLife = 10 * time.Minute

//go:embed pages
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// ask shows the consent page. What its form posts back is an unguessable id
// that works once, so no other site can post it.
func (e *Emulator) ask(w http.ResponseWriter, a authorisation) {
	id, now := randomText(), time.Now()
	e.mu.Lock()
	for old, p := range e.pending {
		if now.After(p.expires) {
			delete(e.pending, old)
		}
	}
	e.pending[id] = pending{a, now.Add(consentLife)}
	e.mu.Unlock()
	show(w, http.StatusOK, "consent.html", map[string]any{
		"Client": a.client.Name, "Scopes": describeScopes(a.scope), "Consent": id,
		"Companies": companies, "Company": a.company.ID,
	})
}

var sameOrigin = http.NewCrossOriginProtection()

// serveDecision takes the consent page's form.
func (e *Emulator) serveDecision(w http.ResponseWriter, r *http.Request) {
	if err := sameOrigin.Check(r); err != nil {
		showError(w, http.StatusForbidden, "The decision did not come from the consent page.")
		return
	}
	form, err := readForm(r)
	if err != nil {
		showError(w, err.status, err.Description)
		return
	}
	company, ok := findCompany(form.Get("company"))
	decision := form.Get("decision")
	if decision != "approve" && decision != "deny" || decision == "approve" && !ok {
		showError(w, http.StatusBadRequest, "The form is not the consent page's.")
		return
	}
	e.mu.Lock()
	p, ok := e.pending[form.Get("consent")]
	delete(e.pending, form.Get("consent"))
	e.mu.Unlock()
	if !ok || time.Now().After(p.expires) {
		showError(w, http.StatusBadRequest, "This consent page was used already, or was open for too long.")
		return
	}
	if decision == "approve" {
		http.Redirect(w, r, e.approve(p.authorisation, company), http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, e.deny(p.authorisation), http.StatusSeeOther)
}

func showError(w http.ResponseWriter, status int, message string) {
	show(w, status, "error.html", map[string]any{"Message": message})
}

func show(w http.ResponseWriter, status int, page string, data any) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	// No form-action: browsers apply it to the redirect after the post as well.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, page, data) // the templates are parsed; what is left is a browser that has gone
}
