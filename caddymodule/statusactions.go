package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// What the forms do.
const (
	actionConnect    = "connect"
	actionDisconnect = "disconnect"
)

var errNoAuthoriseURI = errors.New("authorise_uri is not configured")

// connectLink returns the link at which a browser begins to authorise a
// connection; with require_ticket it is a one-time link.
func (s *Status) connectLink(ctx context.Context, source *pleoauth.Source, connection string) (string, error) {
	link := s.app.authoriseURI(connection, "")
	switch {
	case link == "":
		return "", errNoAuthoriseURI
	case !s.app.RequireTicket:
		return link, nil
	}
	ticket, err := source.AuthoriseURL(ctx, connection, pleoauth.LinkRequest{})
	return ticket.URL, err
}

// act does what a form asks for.
func (s *Status) act(w http.ResponseWriter, r *http.Request, guard formGuard) {
	f, err := guard.read(w, r)
	if err != nil {
		s.logger.Warn("a form of the connections page is refused", zap.Error(err))
		formPage(err).write(w, r)
		return
	}
	shared, err := s.app.current(r.Context())
	if err != nil {
		s.fail(w, r, f.connection, err)
		return
	}
	defer shared.leave()
	switch f.action {
	case actionConnect:
		s.connect(w, r, guard, shared.source, f.connection)
	case actionDisconnect:
		s.disconnect(w, r, shared.source, f.connection)
	default:
		formPage(errForm).write(w, r)
	}
}

// connect sends the browser to the link. That may be good for whoever has it,
// so the access log, which has Location, is skipped.
func (s *Status) connect(w http.ResponseWriter, r *http.Request, guard formGuard, source *pleoauth.Source, connection string) {
	if pleoauth.CheckConnection(connection) != nil {
		s.list(w, r, guard, source, listing{new: connection, newError: nameRule})
		return
	}
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	link, err := s.connectLink(r.Context(), source, connection)
	if err != nil {
		s.fail(w, r, connection, err)
		return
	}
	s.logger.Info("a connection is being authorised from the connections page", zap.String("connection", connection))
	seeOther(w, link)
}

func (s *Status) disconnect(w http.ResponseWriter, r *http.Request, source *pleoauth.Source, connection string) {
	if err := source.Disconnect(r.Context(), connection); err != nil {
		s.fail(w, r, connection, err)
		return
	}
	s.logger.Info("a connection was disconnected from the connections page", zap.String("connection", connection))
	seeOther(w, "?"+url.Values{"find": {connection}, "done": {actionDisconnect}}.Encode())
}

// seeOther is [http.Redirect] for a target that may be relative to a path which
// the request does not show any more, behind handle_path for instance.
func seeOther(w http.ResponseWriter, target string) {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

const nameRule = "That cannot be a name. Use letters and digits, and after the first one also . _ : and -, 128 at most."

// formPage says why a form is not taken.
func formPage(err error) *page {
	p := &page{
		Sign: "warn", Title: "This form cannot be used", Hint: "Nothing was changed.",
		Again: "?", againText: "Go on to the connections",
	}
	if errors.Is(err, errFormToken) {
		p.status = http.StatusForbidden
		p.Text = "It is not one that this browser was given, or its cookie is gone. That also happens if the browser keeps no cookies."
		return p
	}
	p.status, p.Text = http.StatusBadRequest, "What your browser sent is malformed."
	return p
}

// fail says why something did not work. The name is a valid one's, or not shown.
func (s *Status) fail(w http.ResponseWriter, r *http.Request, connection string, err error) {
	if r.Context().Err() != nil {
		return // the browser has gone away
	}
	s.logger.Error("the connections page cannot do what it was asked for", zap.Error(err))
	p := &page{Sign: "warn", Hint: "Nothing was changed.", Again: "?", againText: "Go on to the connections"}
	switch {
	case errors.Is(err, pleoauth.ErrInvalidConnection):
		p.status, p.Title, p.Text = http.StatusBadRequest, "There is no such connection", nameRule
	case errors.Is(err, pleoauth.ErrNotConnected):
		p.status, p.Title = http.StatusNotFound, "There is no such connection"
		p.Text = "Nobody has ever connected " + connection + "."
	case errors.Is(err, pleoauth.ErrForeignRecord), errors.Is(err, pleoauth.ErrRecordUnreadable):
		p.status, p.Title = http.StatusConflict, "This connection is not ours"
		p.Text = foreignWords
	case errors.Is(err, errNoAuthoriseURI):
		p.status, p.Title = http.StatusConflict, "This page cannot connect"
		p.Text = "It does not know where to: authorise_uri is missing from the configuration."
	default:
		p.status, p.Title = http.StatusServiceUnavailable, "Not available at the moment"
		p.Text = "The store of connections cannot be reached. Applications go on with the tokens that the proxy has in memory."
		p.Hint, p.againText = "Nothing was changed. Try again in a minute.", "Try again"
		p.retryAfter = retrySoon
	}
	p.write(w, r)
}
