package caddymodule

import (
	"net/http"
	"strings"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// maxFlows bounds the flows that one browser has under way, and with them the
// size of the Cookie header that it sends with every request to this host.
const maxFlows = 8

// flowCookies bind a flow to the browser that started it: without that, an
// attacker could have a victim's browser complete the attacker's own flow (RFC
// 9700, section 4.7). Each flow has one of its own, so that two tabs work.
type flowCookies struct {
	prefix string
	secure bool
}

// flowCookiesFor goes by redirect_uri's scheme, since TLS may end in front of
// us. The prefix __Host- keeps sibling domains from planting a cookie.
func flowCookiesFor(redirectURI string) flowCookies {
	if strings.HasPrefix(redirectURI, "https:") {
		return flowCookies{prefix: "__Host-pleo-flow-", secure: true}
	}
	return flowCookies{prefix: "pleo-flow-"}
}

func (c flowCookies) cookie(flowID, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure unless the redirect URI is plain HTTP, which is for loopback
		Name:     c.prefix + flowID,
		Value:    value,
		Path:     "/",
		MaxAge:   int(life / time.Second),
		Secure:   c.secure,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode, // Strict would not come back from Pleo
	}
}

func (c flowCookies) set(w http.ResponseWriter, a pleoauth.Authorisation) {
	http.SetCookie(w, c.cookie(a.FlowID, a.Binding, a.Life))
}

// get returns the cookie's value, or "" if there is none, or two that differ:
// one of those was planted.
func (c flowCookies) get(r *http.Request, flowID string) string {
	value := ""
	for _, cookie := range r.CookiesNamed(c.prefix + flowID) {
		if value != "" && cookie.Value != value {
			return ""
		}
		value = cookie.Value
	}
	return value
}

// clear removes the cookie if the browser has it.
func (c flowCookies) clear(w http.ResponseWriter, r *http.Request, flowID string) {
	if len(r.CookiesNamed(c.prefix+flowID)) == 0 {
		return
	}
	c.remove(w, c.prefix+flowID)
}

func (c flowCookies) remove(w http.ResponseWriter, name string) {
	gone := c.cookie(strings.TrimPrefix(name, c.prefix), "", 0) //nolint:gosec // empty, and gone
	gone.MaxAge = -1
	http.SetCookie(w, gone)
}

// tidy removes the oldest flows, which browsers send first (RFC 6265, section
// 5.4), until there is room for one more.
func (c flowCookies) tidy(w http.ResponseWriter, r *http.Request) {
	var flows []string
	for _, cookie := range r.Cookies() {
		if strings.HasPrefix(cookie.Name, c.prefix) {
			flows = append(flows, cookie.Name)
		}
	}
	for ; len(flows) >= maxFlows; flows = flows[1:] {
		c.remove(w, flows[0])
	}
}
