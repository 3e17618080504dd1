package caddymodule

import (
	"encoding/json"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func init() {
	caddy.RegisterModule(Health{})
	httpcaddyfile.RegisterHandlerDirective("pleo_health", parseHealth)
	httpcaddyfile.RegisterDirectiveOrder("pleo_health", httpcaddyfile.Before, "invoke")
}

const (
	healthStarting = "starting"
	healthReady    = "ready"
	healthDegraded = "degraded"
	healthStopping = "stopping"
)

// Health says whether calls can be served: with status 503 while the proxy is
// starting, and in Caddy's shutdown_delay, in which load balancers are to take it
// off their lists; else with 200, also when it is degraded. The body is JSON with
// the fields status (starting, ready, degraded or stopping) and reasons.
type Health struct {
	app *App
}

// CaddyModule returns the Caddy module information.
func (Health) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.pleo_health",
		New: func() caddy.Module { return new(Health) },
	}
}

// Provision finds the app.
func (h *Health) Provision(ctx caddy.Context) (err error) {
	h.app, err = pleoApp(ctx, "pleo_health")
	return err
}

func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok && requestValue(repl, "http.shutting_down") == "true" {
		return writeHealth(w, pleoauth.Health{Status: healthStopping})
	}
	return h.app.answerHealth(w, r)
}

// answerHealth says how things are. It waits for no start: a probe wants to know
// how they are now.
func (a *App) answerHealth(w http.ResponseWriter, r *http.Request) error {
	health := pleoauth.Health{Status: healthStarting}
	if shared := a.life.shared.Load(); shared != nil {
		shared.enter()
		defer shared.leave()
		health = shared.source.Health(r.Context())
	}
	return writeHealth(w, health)
}

func writeHealth(w http.ResponseWriter, health pleoauth.Health) error {
	status := http.StatusOK
	if health.Status == healthStarting || health.Status == healthStopping {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return json.NewEncoder(w).Encode(health)
}

func parseHealth(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	health := new(Health)
	if err := health.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	_, err := globalOption(h)
	return health, err
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	pleo_health [<matcher>]
func (*Health) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return noOptions(d) }

// noOptions parses a directive that has none.
func noOptions(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	name := d.Val()
	if d.NextArg() {
		return d.Errf("%s takes nothing but a matcher, not '%s'", name, d.Val())
	}
	for d.NextBlock(0) {
		return d.Errf("unrecognized subdirective '%s'", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Health)(nil)
	_ caddyfile.Unmarshaler       = (*Health)(nil)
	_ caddyhttp.MiddlewareHandler = (*Health)(nil)
)
