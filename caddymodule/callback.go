package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func init() {
	caddy.RegisterModule(Callback{})
	httpcaddyfile.RegisterHandlerDirective("pleo_callback", parseCallback)
	httpcaddyfile.RegisterDirectiveOrder("pleo_callback", httpcaddyfile.Before, "invoke")
}

// Callback takes a browser back from Pleo, at the app's redirect_uri, and
// stores what the user has granted. It answers all by itself: an error that it
// returned would have Caddy log the URL, with the code in it.
type Callback struct {
	app    *App
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Callback) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.pleo_callback",
		New: func() caddy.Module { return new(Callback) },
	}
}

// Provision finds the app.
func (c *Callback) Provision(ctx caddy.Context) (err error) {
	c.logger = ctx.Logger()
	c.app, err = browserApp(ctx, "pleo_callback")
	return err
}

func (c *Callback) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if !prepareBrowser(w, r) {
		return nil
	}
	query, err := singleQuery(r.URL.RawQuery, maxCallbackQuery, "state", "code", "error", "error_description", "iss")
	if err != nil {
		c.logger.Warn("a callback makes no sense", zap.Error(err))
		badRequestPage("What your browser brought back from Pleo is malformed.").write(w, r)
		return nil
	}
	shared, err := c.app.current(r.Context())
	if err != nil {
		c.logger.Error("a callback cannot be taken", zap.Error(err))
		unavailablePage("").write(w, r)
		return nil
	}
	defer shared.leave()

	cookies := flowCookiesFor(c.app.config.RedirectURI)
	state := query.Get("state")
	completed, err := shared.source.CompleteAuthorisation(r.Context(), pleoauth.Callback{
		State:   state,
		Code:    query.Get("code"),
		Error:   query.Get("error"),
		Issuer:  query.Get("iss"),
		Binding: func(flowID string) string { return cookies.get(r, flowID) },
	})
	if errors.Is(err, pleoauth.ErrDenied) { // the state and the browser have been checked, so that it comes from Pleo
		err = &deniedError{code: query.Get("error"), description: query.Get("error_description"), err: err}
	}
	if r.Context().Err() != nil {
		return nil // the browser has gone away; what it began is finished without it
	}
	if flowOver(err) {
		cookies.clear(w, r, pleoauth.FlowID(state))
	}
	c.answer(w, r, completed, err)
	return nil
}

// flowOver reports whether the flow's cookie is of no more use. With the store
// away the flow may still be there to be completed, a flow that has to wait, or whose
// company could not be compared, is completed by the same callback later, and another
// browser does not spend it.
func flowOver(err error) bool {
	for _, kept := range []error{
		pleoauth.ErrStoreUnavailable, pleoauth.ErrOtherBrowser, pleoauth.ErrAuthorisationPending, pleoauth.ErrSubjectUnknown,
	} {
		if errors.Is(err, kept) {
			return false
		}
	}
	return true
}

// answer sends the browser on after its flow, or has it wait, or says why the flow
// failed.
func (c *Callback) answer(w http.ResponseWriter, r *http.Request, completed pleoauth.Completed, err error) {
	switch {
	case err == nil:
		c.succeed(w, r, completed)
	case errors.Is(err, pleoauth.ErrAuthorisationPending):
		c.logger.Info("an authorisation waits until an earlier request about the connection is settled",
			zap.String("connection", completed.Connection), zap.Duration("wait", completed.RetryAfter))
		pendingPage(completed).write(w, r)
	default:
		c.fail(w, r, completed, err)
	}
}

func (c *Callback) succeed(w http.ResponseWriter, r *http.Request, completed pleoauth.Completed) {
	c.logger.Info("a connection was authorised", zap.String("connection", completed.Connection), zap.String("subject", completed.Subject))
	if completed.ReturnTo != "" {
		// Checked again: the origins may have changed since the flow started.
		target, err := connectedTo(completed.ReturnTo)
		if err == nil && checkReturnTo(completed.ReturnTo, c.app.origins) == nil {
			w.Header().Set("Location", target)
			w.WriteHeader(http.StatusFound)
			return
		}
	}
	connectedPage(completed.Connection).write(w, r)
}

func (c *Callback) fail(w http.ResponseWriter, r *http.Request, completed pleoauth.Completed, err error) {
	description := ""
	if denied, ok := errors.AsType[*deniedError](err); ok {
		description = denied.shortDescription()
	}
	c.logger.Warn("an authorisation was not completed",
		zap.String("connection", completed.Connection), zap.Error(err), zap.String("description", description))
	if errors.Is(err, pleoauth.ErrInvalidTicket) {
		ticketRefusedPage().write(w, r)
		return
	}
	again := ""
	if completed.Connection != "" {
		again = c.app.startAgain(completed.Connection, completed.ReturnTo)
	}
	callbackPage(err, again, completed.RetryAfter).write(w, r)
}

func parseCallback(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	callback := new(Callback)
	if err := callback.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	return callback, needRedirectURI(h)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	pleo_callback [<matcher>]
func (*Callback) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return noOptions(d) }

// Interface guards
var (
	_ caddy.Provisioner           = (*Callback)(nil)
	_ caddyfile.Unmarshaler       = (*Callback)(nil)
	_ caddyhttp.MiddlewareHandler = (*Callback)(nil)
)
