package caddymodule

import (
	"io"
	"maps"
	"net/http"
)

// write answers r with the problem.
func (p *problem) write(w http.ResponseWriter, r *http.Request) {
	res := p.response(r)
	defer func() { _ = res.Body.Close() }()
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body) // the caller may have gone away
}

func invalidRequest(detail string) *problem {
	return &problem{
		Type:   problemType + "invalid-request",
		Title:  "The request is invalid",
		Status: http.StatusBadRequest,
		Detail: detail,
	}
}

func noSuchRoute() *problem {
	return &problem{
		Type:   problemType + "no-such-route",
		Title:  "There is no such route",
		Status: http.StatusNotFound,
		Detail: "A connection can be shown, deleted, and sent refresh or authorise-url.",
	}
}

func methodNotAllowed() *problem {
	return &problem{
		Type:   problemType + "method-not-allowed",
		Title:  "The method is not allowed here",
		Status: http.StatusMethodNotAllowed,
		Detail: "The header Allow says which methods are.",
	}
}

// notConfigured answers who asks for a link that could lead nowhere.
func notConfigured(connection string) *problem {
	return &problem{
		Type:       problemType + "not-configured",
		Title:      "Links are not configured",
		Status:     http.StatusConflict,
		Detail:     "Links need authorise_uri and redirect_uri in the global option pleo, or in the app pleo.",
		Connection: connection,
	}
}

// appMissing answers where the configuration has no app pleo.
func appMissing() *problem {
	return &problem{
		Type:   problemType + "not-configured",
		Title:  "The app pleo is not configured",
		Status: http.StatusNotFound,
		Detail: "The configuration that Caddy serves has no app pleo, in a Caddyfile no global option pleo.",
	}
}
