package pleotest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// authorisation is a validated authorisation request (Pleo's documentation:
// directing users; RFC 6749 section 4.1.1, RFC 7636 section 4.3).
type authorisation struct {
	client      Client
	redirectURI string
	scope       string
	state       string
	challenge   string
	// company is the subject that the session came with, or the first company.
	company Company
}

// requestError is an authorisation request that cannot be consented to.
type requestError struct {
	oauthError
	// redirect is where the browser takes the error; empty where neither client
	// nor redirect URI can be trusted and only a page may say it.
	redirect string
}

var challengeSyntax = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// validate checks an authorisation request. Whether the redirect URI is good
// comes first, since every other error is sent there.
func (e *Emulator) validate(query url.Values) (authorisation, *requestError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.remember(query.Get("state"))

	onPage := func(description string) *requestError {
		return &requestError{oauthError: *badRequest("invalid_request", description)}
	}
	for _, name := range []string{"client_id", "redirect_uri"} {
		if len(query[name]) != 1 {
			return authorisation{}, onPage(name + " must be there exactly once")
		}
	}
	client, ok := e.clients[query.Get("client_id")]
	if !ok {
		return authorisation{}, onPage("no such client")
	}
	a := authorisation{
		client: client, redirectURI: query.Get("redirect_uri"), scope: query.Get("scope"),
		state: query.Get("state"), challenge: query.Get("code_challenge"), company: companies[0],
	}
	if !slices.Contains(client.RedirectURIs, a.redirectURI) {
		return authorisation{}, onPage("the redirect URI is not one of the client's, character for character")
	}
	if err := a.check(query); err != nil {
		return authorisation{}, &requestError{*err, e.redirectError(a, err.Code, err.Description)}
	}
	return a, nil
}

func (a *authorisation) check(query url.Values) *oauthError {
	for name, values := range query {
		if len(values) > 1 {
			return badRequest("invalid_request", name+" is there more than once")
		}
	}
	switch query.Get("response_type") {
	case "code":
	case "":
		return badRequest("invalid_request", "response_type is missing")
	default:
		return badRequest("unsupported_response_type", "response_type must be code")
	}
	switch {
	case a.state == "":
		return badRequest("invalid_request", "state is missing")
	case a.challenge == "":
		return badRequest("invalid_request", "code_challenge is missing: PKCE is required")
	case query.Get("code_challenge_method") != "S256":
		return badRequest("invalid_request", "code_challenge_method must be S256")
	case !challengeSyntax.MatchString(a.challenge):
		return badRequest("invalid_request", "code_challenge is not base64url of a SHA-256")
	case a.scope == "":
		return badRequest("invalid_scope", "scope is missing")
	}
	for scope := range strings.SplitSeq(a.scope, " ") {
		if !slices.Contains(a.client.Scopes, scope) {
			return badRequest("invalid_scope", fmt.Sprintf("the client may not ask for scope %q", scope))
		}
	}
	if subject := query.Get("urn_pleo_params_oauth_subject"); subject != "" {
		company, ok := findCompany(subject)
		if !ok || subject != company.URN() {
			return badRequest("invalid_request", "urn_pleo_params_oauth_subject is no company's URN")
		}
		a.company = company
	}
	return nil
}

// redirect appends parameters to the redirect URI, which may have some of its
// own.
func (e *Emulator) redirect(a authorisation, parameters url.Values) string {
	parameters.Set("state", a.state)
	if a.state == "" {
		parameters.Del("state")
	}
	if e.settings.issuerParameter {
		parameters.Set("iss", e.settings.authURL)
	}
	separator := "?"
	if strings.Contains(a.redirectURI, "?") {
		separator = "&"
	}
	return a.redirectURI + separator + parameters.Encode()
}

func (e *Emulator) redirectError(a authorisation, code, description string) string {
	return e.redirect(a, url.Values{"error": {code}, "error_description": {description}})
}

// approve issues a code for a company.
func (e *Emulator) approve(a authorisation, company Company) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.issueCode(a, company)
	e.countLocked(func(c *Counters) { c.Authorisations++ })
	e.log.Info("consent given", "client", a.client.ID, "company", company.Name)
	e.save()
	return e.redirect(a, url.Values{"code": {c.Value}})
}

func (e *Emulator) deny(a authorisation) string {
	e.count(func(c *Counters) { c.Denials++ })
	e.log.Info("consent denied", "client", a.client.ID)
	return e.redirectError(a, "access_denied", "The user denied the request.")
}

// Approve plays the user who opens an authorisation address and approves it,
// for the company given by id, URN or name, or if that is empty for the one
// that the request names, or the first. It returns the address that the browser
// is then sent to, which may carry an error: that is for the client to see. Its
// own error is for a request that gets no redirect, as with a redirect URI that
// is not registered. Faults do not happen to it.
func (e *Emulator) Approve(authoriseURL, company string) (redirectURL string, err error) {
	return e.decide(authoriseURL, func(a authorisation) (string, error) {
		if company == "" {
			return e.approve(a, a.company), nil
		}
		c, ok := findCompany(company)
		if !ok {
			return "", fmt.Errorf("no company %q", company)
		}
		return e.approve(a, c), nil
	})
}

// Deny is [Emulator.Approve] for the user who clicks Deny.
func (e *Emulator) Deny(authoriseURL string) (redirectURL string, err error) {
	return e.decide(authoriseURL, func(a authorisation) (string, error) { return e.deny(a), nil })
}

func (e *Emulator) decide(
	authoriseURL string, decide func(authorisation) (string, error),
) (string, error) {
	u, err := url.Parse(authoriseURL)
	if err != nil {
		return "", fmt.Errorf("authorisation address: %w", err)
	}
	if u.Path != "/oauth/authorize" {
		return "", errors.New("authorisation address: the path is not /oauth/authorize")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("authorisation address: %w", err)
	}
	e.count(func(c *Counters) { c.AuthoriseRequests++ })
	a, failure := e.validate(query)
	switch {
	case failure == nil:
		return decide(a)
	case failure.redirect != "":
		return failure.redirect, nil
	}
	return "", fmt.Errorf("authorisation request: %w", &failure.oauthError)
}

// serveAuthorise shows the consent page, or decides without one where the
// emulator was told to.
func (e *Emulator) serveAuthorise(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		e.serveDecision(w, r)
		return
	default:
		w.Header().Set("Allow", "GET, POST")
		showError(w, http.StatusMethodNotAllowed, "This address takes GET and POST only.")
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		showError(w, http.StatusBadRequest, "The address cannot be read.")
		return
	}
	a, failure := e.validate(query)
	if failure != nil {
		if failure.redirect != "" {
			http.Redirect(w, r, failure.redirect, http.StatusFound)
			return
		}
		showError(w, failure.status, failure.Description)
		return
	}
	switch decision, company := e.automatic(a); decision {
	case AutoApprove:
		http.Redirect(w, r, e.approve(a, company), http.StatusFound) //nolint:gosec // validate has matched it with a registered one
	case AutoDeny:
		http.Redirect(w, r, e.deny(a), http.StatusFound) //nolint:gosec // as above
	default:
		e.ask(w, a)
	}
}
