package caddymodule

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Status{})
}

// Status is a page for people that lists connections, and from which they are
// connected, connected again and disconnected. All of it is on the one path
// that it is mounted on:
//
//   - GET: a page of connections; with cursor the page after, with find the one
//     of that name, with disconnect the question whether to disconnect it.
//   - POST, from the forms of these pages: connects or disconnects.
//
// It needs no script. It answers loopback and AllowClients only, no unexpected
// Host and no page of another origin, as the transport pleo does.
type Status struct {
	// Addresses or ranges, besides loopback and unix sockets, that may use the
	// page. Default: none.
	AllowClients []string `json:"allow_clients,omitempty"`

	// Host names, besides loopback ones and that of the API, that the page may
	// be reached by. Default: none.
	AllowHosts []string `json:"allow_hosts,omitempty"`

	app        *App
	caller     callerRules
	formAction string
	logger     *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Status) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.pleo_status",
		New: func() caddy.Module { return new(Status) },
	}
}

// Provision finds the app and checks the options.
func (s *Status) Provision(ctx caddy.Context) (err error) {
	s.logger = ctx.Logger()
	if s.app, err = pleoApp(ctx, "pleo_status"); err != nil {
		return err
	}
	api, err := newAPIServer(s.app.config.APIServer)
	if err != nil {
		return err
	}
	s.formAction = s.app.formAction()
	s.caller, err = newCallerRules(s.AllowClients, s.AllowHosts, api)
	return err
}

// formAction returns where the form that connects may lead to. Browsers hold
// all redirects that follow to it, of which Pleo may make some of its own: so
// it is any place with TLS, and where there is none the ones that are ours.
func (a *App) formAction() string {
	sources := []string{"'self'", "https:"}
	if a.authoriseURL != nil && a.authoriseURL.Scheme == "http" {
		sources = append(sources, originOf(a.authoriseURL))
	}
	if strings.HasPrefix(a.config.AuthServer, "http:") {
		sources = append(sources, a.config.AuthServer)
	}
	return strings.Join(sources, " ")
}

func (s *Status) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	// Not no-referrer: browsers would send "Origin: null" with the forms.
	setPageHeaders(w.Header(), "same-origin", "'self'")
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		repl = caddy.NewReplacer() // which knows no host: refused
	}
	if reason := s.caller.refusal(r, repl); reason != "" {
		s.logger.Warn("a client is not allowed to use the connections page", zap.String("reason", reason))
		refuseVisitor(w, r, reason)
		return nil
	}
	guard := newFormGuard(schemeOf(repl) == "https")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.show(w, r, guard)
	case http.MethodPost:
		s.act(w, r, guard)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
	return nil
}

// refuseVisitor answers people with a page, and programs as the transport does.
func refuseVisitor(w http.ResponseWriter, r *http.Request, reason string) {
	p := clientNotAllowed(reason)
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		p.write(w, r)
		return
	}
	answer := &page{status: p.Status, Sign: "warn", Title: "Not allowed", Hint: "Nothing was changed."}
	switch reason {
	case "address":
		answer.Text = "This page is for visitors on the proxy's own machine."
		answer.Hint = "Whoever runs the proxy can allow your address with allow_clients."
	case "host":
		answer.Text = "This page is not to be reached by this name."
		answer.Hint = "Use localhost or 127.0.0.1. Whoever runs the proxy can allow other names with allow_hosts."
	default:
		answer.Title = "Opened from another site"
		answer.Text = "Another site led here, and this page takes nothing from other sites."
		answer.Again, answer.againText = "?", "Go on to the connections"
	}
	answer.write(w, r)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Status)(nil)
	_ caddyhttp.MiddlewareHandler = (*Status)(nil)
)
