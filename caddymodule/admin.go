package caddymodule

import (
	"net/http"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI is the part of Caddy's admin endpoint that has the routes of
// pleo_api. Who may call is up to Caddy, and to its options admin and origins.
//
// It keeps nothing: Caddy provisions admin modules before apps and never cleans
// them up, and the app of a refused configuration is gone while its admin routes
// go on.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.pleo",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes returns the routes of the admin endpoint.
func (a adminAPI) Routes() []caddy.AdminRoute {
	routes := []caddy.AdminRoute{{Pattern: connectionsPath + "/", Handler: caddy.AdminHandlerFunc(a.serve)}}
	for path := range fixedRoutes {
		routes = append(routes, caddy.AdminRoute{Pattern: path, Handler: caddy.AdminHandlerFunc(a.serve)})
	}
	return routes
}

func (a adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	app, ok := activeApp()
	if !ok {
		appMissing().write(w, r)
		return nil
	}
	app.serveAPI(w, r)
	return nil
}

// activeApp returns the app of the configuration that is serving now.
func activeApp() (*App, bool) {
	value, err := caddy.ActiveContext().AppIfConfigured("pleo")
	app, ok := value.(*App)
	return app, ok && err == nil
}

// Interface guards
var (
	_ caddy.AdminRouter = adminAPI{}
)
