package caddymodule

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const connectionsPath = "/pleo/connections"

// The routes of pleo_api and of Caddy's admin endpoint, by method. No answer
// ever holds a token.
var (
	// fixedRoutes have a path of their own.
	fixedRoutes = map[string]apiRoute{
		connectionsPath: {http.MethodGet: (*apiCall).list},
		rekeyPath:       {http.MethodPost: (*apiCall).rekey},
		healthPath:      {http.MethodGet: (*apiCall).health},
	}
	// connectionRoutes are about one connection: /pleo/connections/{name}, and
	// what follows that.
	connectionRoutes = map[string]apiRoute{
		"":              {http.MethodGet: (*apiCall).show, http.MethodDelete: (*apiCall).disconnect},
		"refresh":       {http.MethodPost: (*apiCall).refresh},
		"authorise-url": {http.MethodPost: (*apiCall).authoriseURL},
	}
)

// apiRoute has what a route does for each method. What is returned is the
// answer, unless it is nil: then the answer has been written.
type apiRoute map[string]func(*apiCall) *problem

// apiCall is a call of a route.
type apiCall struct {
	w      http.ResponseWriter
	r      *http.Request
	app    *App
	source *pleoauth.Source // nil for health
	// connection is the one in the path, or "".
	connection string
}

// isAPIPath reports whether a path is one of the routes', or would be if it was
// spelled right.
func isAPIPath(path string) bool {
	if strings.HasPrefix(path, connectionsPath+"/") {
		return true
	}
	_, fixed := fixedRoutes[path]
	return fixed
}

// serveAPI answers a call of a route.
func (a *App) serveAPI(w http.ResponseWriter, r *http.Request) {
	if p := a.callAPI(w, r); p != nil && r.Context().Err() == nil {
		p.write(w, r)
	}
}

func (a *App) callAPI(w http.ResponseWriter, r *http.Request) *problem {
	call := &apiCall{w: w, r: r, app: a}
	path := r.URL.EscapedPath()
	route, ok := fixedRoutes[strings.TrimSuffix(path, "/")]
	if !ok {
		segment, action, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(path, connectionsPath+"/"), "/"), "/")
		name, err := url.PathUnescape(segment)
		if err != nil || pleoauth.CheckConnection(name) != nil {
			return invalidConnection()
		}
		call.connection = name
		if route, ok = connectionRoutes[action]; !ok {
			return noSuchRoute()
		}
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	serve, ok := route[method]
	if !ok {
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(route)), ", "))
		return methodNotAllowed()
	}
	if strings.TrimSuffix(path, "/") == healthPath {
		return serve(call) // which says so itself while nothing has started
	}
	shared, err := a.current(r.Context())
	if err != nil {
		return call.failed(err)
	}
	defer shared.leave()
	call.source = shared.source
	return serve(call)
}

// failed returns the problem that an error is. Its status is about the API's
// own call: 401 would ask the caller for credentials.
func (c *apiCall) failed(err error) *problem {
	switch {
	case errors.Is(err, pleoauth.ErrInvalidConnection):
		return invalidConnection()
	case errors.Is(err, pleoauth.ErrInvalidCursor):
		return invalidRequest("cursor is not one that a page had in next.")
	case errors.Is(err, pleoauth.ErrInvalidSubject):
		return invalidRequest("subject is not of the form urn:pleo:company:<uuid>.")
	}
	p := c.app.tokenProblem(c.connection, err)
	p.challenge = ""
	switch {
	case errors.Is(err, pleoauth.ErrNotConnected):
		p.Status = http.StatusNotFound
	case errors.Is(err, pleoauth.ErrReauthorisationRequired), errors.Is(err, pleoauth.ErrForeignRecord):
		p.Status, p.retryAfter = http.StatusConflict, 0
	}
	return p
}
