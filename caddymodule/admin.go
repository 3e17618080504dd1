package caddymodule

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

const (
	connectionsPath  = "/pleo/connections"
	defaultPageLimit = 100
	maxPageLimit     = 1000
)

// adminAPI is the part of Caddy's admin endpoint that shows connections:
//
//	GET    /pleo/connections?cursor=…&limit=…   a page of them
//	GET    /pleo/connections/{name}
//	DELETE /pleo/connections/{name}             disconnects
//	POST   /pleo/connections/{name}/refresh     refreshes now
//
// No answer ever holds a token. It keeps nothing: Caddy provisions admin
// modules before apps and never cleans them up, and the app of a refused
// configuration is gone while its admin routes go on.
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
	return []caddy.AdminRoute{
		{Pattern: connectionsPath, Handler: caddy.AdminHandlerFunc(a.serve)},
		{Pattern: connectionsPath + "/", Handler: caddy.AdminHandlerFunc(a.serve)},
	}
}

func (a adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	app, err := activeApp()
	if err != nil {
		return err
	}
	shared, err := app.current(r.Context())
	if err != nil {
		return apiError(http.StatusServiceUnavailable, err)
	}
	defer shared.leave()

	rest := strings.Trim(strings.TrimPrefix(r.URL.EscapedPath(), connectionsPath), "/")
	if rest == "" {
		return a.list(w, r, shared.source)
	}
	segment, action, _ := strings.Cut(rest, "/")
	name, err := url.PathUnescape(segment)
	if err != nil {
		return apiError(http.StatusBadRequest, errors.New("malformed path"))
	}
	if err := pleoauth.CheckConnection(name); err != nil {
		return apiError(http.StatusBadRequest, err)
	}
	switch action {
	case "":
		return a.one(w, r, shared.source, name)
	case "refresh":
		return a.refresh(w, r, shared.source, name)
	}
	return apiError(http.StatusNotFound, errors.New("no such action"))
}

// activeApp returns the app of the configuration that is serving now.
func activeApp() (*App, error) {
	value, err := caddy.ActiveContext().AppIfConfigured("pleo")
	app, ok := value.(*App)
	if err != nil || !ok {
		return nil, apiError(http.StatusNotFound, errors.New("the app pleo is not configured"))
	}
	return app, nil
}

type connectionPage struct {
	Connections []pleoauth.ConnectionInfo `json:"connections"`
	// Next is the cursor of the next page; absent: this was the last one.
	Next string `json:"next,omitempty"`
}

func (a adminAPI) list(w http.ResponseWriter, r *http.Request, source *pleoauth.Source) error {
	if r.Method != http.MethodGet {
		return errMethod
	}
	limit := defaultPageLimit
	if text := r.URL.Query().Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPageLimit {
			return apiError(http.StatusBadRequest, errors.New("limit is not a number from 1 to "+strconv.Itoa(maxPageLimit)))
		}
	}
	connections, next, err := source.Connections(r.Context(), r.URL.Query().Get("cursor"), limit)
	if err != nil {
		return connectionError(err)
	}
	if connections == nil {
		connections = []pleoauth.ConnectionInfo{} // an empty list in JSON, not null
	}
	return writeJSON(w, connectionPage{connections, next})
}

func (a adminAPI) one(w http.ResponseWriter, r *http.Request, source *pleoauth.Source, name string) error {
	switch r.Method {
	case http.MethodGet:
		return writeConnection(w, r, source, name)
	case http.MethodDelete:
		if err := source.Disconnect(r.Context(), name); err != nil {
			return connectionError(err)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return errMethod
}

func (a adminAPI) refresh(w http.ResponseWriter, r *http.Request, source *pleoauth.Source, name string) error {
	if r.Method != http.MethodPost {
		return errMethod
	}
	if err := source.Refresh(r.Context(), name); err != nil {
		return connectionError(err)
	}
	return writeConnection(w, r, source, name)
}

func writeConnection(w http.ResponseWriter, r *http.Request, source *pleoauth.Source, name string) error {
	info, err := source.Connection(r.Context(), name)
	if err != nil {
		return connectionError(err)
	}
	return writeJSON(w, info)
}

func writeJSON(w http.ResponseWriter, value any) error {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(value)
}

var errMethod = apiError(http.StatusMethodNotAllowed, errors.New("method not allowed"))

func apiError(status int, err error) error {
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// connectionError gives a source's error its status.
func connectionError(err error) error {
	switch {
	case errors.Is(err, pleoauth.ErrInvalidConnection):
		return apiError(http.StatusBadRequest, err)
	case errors.Is(err, pleoauth.ErrNotConnected):
		return apiError(http.StatusNotFound, err)
	case errors.Is(err, pleoauth.ErrReauthorisationRequired), errors.Is(err, pleoauth.ErrForeignRecord):
		return apiError(http.StatusConflict, err)
	case errors.Is(err, pleoauth.ErrClientRejected):
		return apiError(http.StatusBadGateway, err)
	}
	return apiError(http.StatusServiceUnavailable, err)
}

// Interface guards
var (
	_ caddy.AdminRouter = adminAPI{}
)
