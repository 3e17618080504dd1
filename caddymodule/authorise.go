package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func init() {
	caddy.RegisterModule(Authorise{})
	httpcaddyfile.RegisterHandlerDirective("pleo_authorise", parseAuthorise)
	httpcaddyfile.RegisterDirectiveOrder("pleo_authorise", httpcaddyfile.Before, "invoke")
}

// Authorise sends a browser to Pleo, where a user connects a company. GET with
// these parameters, all of them optional:
//
//   - connection: the name to connect. Default: default.
//   - return_to: where the browser goes afterwards, a local path or a URL on
//     one of the app's return_to_origins. Default: a page that says it worked.
//   - subject: the company that has to be the one which authorises, such as
//     urn:pleo:company:<uuid>. Default: any.
//   - ticket: that of a one-time link, which says what the others are.
//
// Another parameter is refused: it may be one of these, misspelt.
//
// Whoever reaches it can start an authorisation. Where that matters, set the
// app's require_ticket, or put basic_auth or forward_auth in front of it.
type Authorise struct {
	app    *App
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Authorise) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.pleo_authorise",
		New: func() caddy.Module { return new(Authorise) },
	}
}

// Provision finds the app.
func (a *Authorise) Provision(ctx caddy.Context) (err error) {
	a.logger = ctx.Logger()
	if a.app, err = browserApp(ctx, "pleo_authorise"); err != nil {
		return err
	}
	if a.app.RequireTicket && a.app.authoriseURL == nil {
		return errors.New("require_ticket needs authorise_uri in the app pleo, which one-time links lead to")
	}
	return nil
}

// browserApp returns the app for a handler that needs its redirect_uri.
func browserApp(ctx caddy.Context, module string) (*App, error) {
	app, err := pleoApp(ctx, module)
	if err != nil {
		return nil, err
	}
	if app.config.RedirectURI == "" {
		return nil, errors.New(module + " needs redirect_uri in the app pleo")
	}
	return app, nil
}

func (a *Authorise) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if !prepareBrowser(w, r) {
		return nil
	}
	request, page := a.request(r.URL.RawQuery)
	if page != nil {
		page.write(w, r)
		return nil
	}
	shared, err := a.app.current(r.Context())
	if err != nil {
		a.fail(w, r, request, err)
		return nil
	}
	defer shared.leave()
	authorisation, err := shared.source.BeginAuthorisation(r.Context(), request)
	if err != nil {
		a.fail(w, r, request, err)
		return nil
	}
	cookies := flowCookiesFor(a.app.config.RedirectURI)
	cookies.tidy(w, r)
	cookies.set(w, authorisation)
	w.Header().Set("Location", authorisation.URL)
	w.WriteHeader(http.StatusFound)
	return nil
}

// request reads the query, or returns the page that says what is wrong with it.
func (a *Authorise) request(rawQuery string) (pleoauth.AuthorisationRequest, *page) {
	request := pleoauth.AuthorisationRequest{Connection: pleoauth.DefaultConnection}
	query, err := singleQuery(rawQuery, maxAuthoriseQuery, authoriseParameters...)
	if err != nil {
		return request, badRequestPage("The link is malformed.")
	}
	// A misspelt "connection" must not connect the default one.
	for name := range query {
		if !slices.Contains(authoriseParameters, name) {
			return request, badRequestPage("The link has the parameter " + shortened(name) + ", which is not known. The parameters are " + strings.Join(authoriseParameters, ", ") + ".")
		}
	}
	switch {
	case query.Has("ticket"):
		if request.Ticket = query.Get("ticket"); request.Ticket == "" {
			return request, ticketRefusedPage()
		}
		request.Connection = "" // the ticket's
	case a.app.RequireTicket:
		return request, ticketNeededPage()
	}
	// Empty is not absent: what a broken template makes of a missing name must
	// not connect some other customer.
	if query.Has("connection") {
		request.Connection = query.Get("connection")
	}
	if (request.Ticket == "" || query.Has("connection")) && pleoauth.CheckConnection(request.Connection) != nil {
		return request, badRequestPage("The link names no valid connection.")
	}
	request.ReturnTo = query.Get("return_to")
	if request.ReturnTo != "" && checkReturnTo(request.ReturnTo, a.app.origins) != nil {
		return request, badRequestPage("The link would lead to a place that this site does not send browsers to.")
	}
	request.Subject = query.Get("subject")
	return request, nil
}

func (a *Authorise) fail(w http.ResponseWriter, r *http.Request, request pleoauth.AuthorisationRequest, err error) {
	if r.Context().Err() != nil {
		return
	}
	switch {
	case errors.Is(err, pleoauth.ErrInvalidTicket):
		a.logger.Warn("a one-time link was refused", zap.String("connection", request.Connection), zap.Error(err))
		ticketRefusedPage().write(w, r)
		return
	case errors.Is(err, pleoauth.ErrTooManyFlows):
		busyPage().write(w, r)
		return // and no line in the log for each: there may be very many
	}
	a.logger.Error("starting an authorisation", zap.String("connection", request.Connection), zap.Error(err))
	switch {
	case errors.Is(err, pleoauth.ErrInvalidConnection):
		badRequestPage("The link names no valid connection.").write(w, r)
	case errors.Is(err, pleoauth.ErrInvalidSubject):
		badRequestPage("The link names no valid company.").write(w, r)
	default:
		again := ""
		if request.Ticket == "" {
			again = a.app.startAgain(request.Connection, request.ReturnTo)
		}
		unavailablePage(again).write(w, r)
	}
}

// Limits of the queries that browsers send, in bytes.
const (
	maxAuthoriseQuery = 8 << 10
	maxCallbackQuery  = 16 << 10
)

var authoriseParameters = []string{"connection", "return_to", "subject", "ticket"}

// shortened returns a name that a caller has made up, in quotes and of bounded length.
func shortened(name string) string { return fmt.Sprintf("%.40q", name) }

var errQuery = errors.New("malformed query")

// singleQuery parses a query in which none of the given parameters may come
// twice: parsers differ in which of two they take.
func singleQuery(rawQuery string, limit int, single ...string) (url.Values, error) {
	if len(rawQuery) > limit {
		return nil, errQuery
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, errQuery
	}
	for _, name := range single {
		if len(query[name]) > 1 {
			return nil, errQuery
		}
	}
	return query, nil
}

func parseAuthorise(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	authorise := new(Authorise)
	if err := authorise.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return authorise, needRedirectURI(h)
}

// needRedirectURI returns an error if the global option cannot serve browsers.
func needRedirectURI(h httpcaddyfile.Helper) error {
	app, err := globalOption(h)
	if err == nil && app.RedirectURI == "" {
		err = h.Errf("%s needs redirect_uri in the global option pleo", h.Val())
	}
	return err
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	pleo_authorise [<matcher>]
func (*Authorise) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return noOptions(d) }

// Interface guards
var (
	_ caddy.Provisioner           = (*Authorise)(nil)
	_ caddyfile.Unmarshaler       = (*Authorise)(nil)
	_ caddyhttp.MiddlewareHandler = (*Authorise)(nil)
)
