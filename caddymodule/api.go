package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(API{})
	httpcaddyfile.RegisterHandlerDirective("pleo_api", parseAPI)
	httpcaddyfile.RegisterDirectiveOrder("pleo_api", httpcaddyfile.Before, "invoke")
}

// API lets programs list, show, refresh and disconnect connections, make one-time
// links that connect them, and seal everything with another key, by these routes:
//
//	GET    /pleo/connections?cursor=…&limit=…
//	GET    /pleo/connections/{name}
//	DELETE /pleo/connections/{name}
//	POST   /pleo/connections/{name}/refresh
//	POST   /pleo/connections/{name}/authorise-url
//	POST   /pleo/rekey?cursor=…&limit=…
//	GET    /pleo/health
//
// Other paths are left to the handlers after it. No answer ever holds a token.
// It answers programs on this machine alone unless told otherwise, and no page
// of another origin.
type API struct {
	// Addresses or ranges, besides loopback and unix sockets, that may call.
	// Default: none.
	AllowClients []string `json:"allow_clients,omitempty"`

	// Host names that calls may have in their Host, besides loopback ones and
	// that of Pleo's API. Default: none.
	AllowHosts []string `json:"allow_hosts,omitempty"`

	app    *App
	caller callerRules
}

// CaddyModule returns the Caddy module information.
func (API) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.pleo_api",
		New: func() caddy.Module { return new(API) },
	}
}

// Provision finds the app and reads who may call.
func (a *API) Provision(ctx caddy.Context) (err error) {
	if a.app, err = pleoApp(ctx, "pleo_api"); err != nil {
		return err
	}
	api, err := newAPIServer(a.app.config.APIServer)
	if err != nil {
		return err
	}
	a.caller, err = newCallerRules(a.AllowClients, a.AllowHosts, api)
	return err
}

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !isAPIPath(r.URL.EscapedPath()) {
		return next.ServeHTTP(w, r)
	}
	reason := "address" // where Caddy has not said who calls
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		reason = a.caller.refusal(r, repl)
	}
	if reason != "" {
		clientNotAllowed(reason).write(w, r)
		return nil
	}
	a.app.serveAPI(w, r)
	return nil
}

func parseAPI(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	api := new(API)
	if err := api.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	_, err := globalOption(h)
	return api, err
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	pleo_api [<matcher>] {
//	    allow_clients <cidr...>
//	    allow_hosts   <name...>
//	}
func (a *API) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("pleo_api takes nothing but a matcher and a block, not '%s'", d.Val())
	}
	b := newOptionBlock(d)
	for d.NextBlock(0) {
		if err := b.once(); err != nil {
			return err
		}
		if err := a.unmarshalOption(b); err != nil {
			return err
		}
	}
	return nil
}

func (a *API) unmarshalOption(b optionBlock) error {
	switch b.Val() {
	case "allow_clients":
		return b.literals(&a.AllowClients, func(v string) error { return checkOption("allow_clients", v, parseClient) })
	case "allow_hosts":
		return b.literals(&a.AllowHosts, func(v string) error { return checkOption("allow_hosts", v, parseHost) })
	}
	return b.Errf("unrecognized subdirective '%s'", b.Val())
}

// Interface guards
var (
	_ caddy.Provisioner           = (*API)(nil)
	_ caddyfile.Unmarshaler       = (*API)(nil)
	_ caddyhttp.MiddlewareHandler = (*API)(nil)
)
