package caddymodule

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// leadBack makes a redirect of the API's to itself one that comes back through the
// proxy: by its absolute URL a client would call the API without a token. What the
// caller's path had before the one that was sent stays before it: behind
// handle_path that says whose call it is. Redirects to other origins stay as they are.
func (s apiServer) leadBack(res *http.Response, sent *http.Request) {
	location := res.Header.Get("Location")
	if location == "" {
		return
	}
	to, err := url.Parse(location)
	if err != nil || to.User != nil || to.Host == "" || originOf(to) != s.scheme+"://"+strings.ToLower(s.host) {
		return
	}
	to.Scheme, to.Host = "", ""
	path := to.String()
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if original, ok := sent.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		if before, ok := strings.CutSuffix(original.URL.EscapedPath(), sent.URL.EscapedPath()); ok {
			path = before + path
		}
	}
	if strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`) {
		return // a browser would take what follows for a host
	}
	res.Header.Set("Location", path)
}
