package caddymodule

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// callerRules say who may use the grants behind this proxy. Whoever reaches the
// port can read customers' money data, so each rule stops an attack:
//
//   - address: other machines on the network;
//   - host: a web page whose own name is made to resolve to 127.0.0.1 (DNS
//     rebinding), which the browser takes for the page's own origin;
//   - origin: any other web page in a browser on this machine.
//
// All is read from the caller's request, through the replacer: header_up and
// the caller's own "Connection: Origin" change the outgoing copy only.
type callerRules struct {
	clients []netip.Prefix
	hosts   []string
}

func parseClient(value string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(value); err == nil {
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an IP address nor a range such as 10.0.0.0/8", value)
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func parseHost(value string) (string, error) {
	u, err := url.Parse("//" + value)
	if err != nil || value == "" || u.Host != value || u.Port() != "" || strings.ContainsAny(value, "*{} ") {
		return "", fmt.Errorf("%q is not a host name without port and wildcard", value)
	}
	return normalHost(value), nil
}

func normalHost(host string) string {
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

func newCallerRules(clients, hosts []string, api apiServer) (callerRules, error) {
	rules := callerRules{hosts: []string{normalHost(api.name)}}
	for _, client := range clients {
		prefix, err := parseClient(client)
		if err != nil {
			return callerRules{}, fmt.Errorf("allow_clients: %w", err)
		}
		rules.clients = append(rules.clients, prefix)
	}
	for _, host := range hosts {
		name, err := parseHost(host)
		if err != nil {
			return callerRules{}, fmt.Errorf("allow_hosts: %w", err)
		}
		rules.hosts = append(rules.hosts, name)
	}
	return rules, nil
}

// refusal returns why the caller may not call, or "".
func (c callerRules) refusal(req *http.Request, repl *caddy.Replacer) string {
	switch {
	case !c.addressAllowed(req.RemoteAddr):
		return "address"
	case !c.hostAllowed(requestValue(repl, requestHost)):
		return "host"
	case !originAllowed(repl):
		return "origin"
	}
	return ""
}

// What the caller's request says is known to the replacer as:
const (
	requestScheme   = "http.request.scheme"
	requestHost     = "http.request.host"
	requestHostPort = "http.request.hostport"
	requestHeader   = "http.request.header."
	requestTrusted  = "http.vars.trusted_proxy"
)

// schemeOf returns the scheme that the caller's browser has used, http or https.
// Where TLS ends in front of Caddy that is what the proxy there says, if Caddy's
// option trusted_proxies names it.
func schemeOf(repl *caddy.Replacer) string {
	if scheme := forwarded(repl, "X-Forwarded-Proto"); scheme == "http" || scheme == "https" {
		return scheme
	}
	return requestValue(repl, requestScheme)
}

// hostPortOf returns the host, with its port if it has one, that the caller's
// browser has used, as [schemeOf] does.
func hostPortOf(repl *caddy.Replacer) string {
	if host := forwarded(repl, "X-Forwarded-Host"); host != "" {
		return host
	}
	return requestValue(repl, requestHostPort)
}

// forwarded returns what a trusted proxy says in a header, or "". The last of
// several values is that of the proxy next to Caddy.
func forwarded(repl *caddy.Replacer, name string) string {
	if requestValue(repl, requestTrusted) != "true" {
		return ""
	}
	values := requestValue(repl, requestHeader+name)
	return strings.TrimSpace(values[strings.LastIndexByte(values, ',')+1:])
}

func requestValue(repl *caddy.Replacer, placeholder string) string {
	value, _ := repl.GetString(placeholder)
	return value
}

func (c callerRules) addressAllowed(remote string) bool {
	// A peer on a unix socket has a name that no TCP peer can have. Who may
	// open the socket is up to the file system.
	if strings.HasPrefix(remote, "@") || strings.HasPrefix(remote, "/") {
		return true
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	return addr.IsLoopback() || slices.ContainsFunc(c.clients, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (c callerRules) hostAllowed(host string) bool {
	return pleoauth.IsLoopbackHost(host) || slices.Contains(c.hosts, normalHost(host))
}

// originAllowed refuses what a browser sends on behalf of another site's page.
// Programs send neither header, or like Node's fetch others of the kind.
func originAllowed(repl *caddy.Replacer) bool {
	switch requestValue(repl, requestHeader+"Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return false
	}
	origin := requestValue(repl, requestHeader+"Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	own := url.URL{Scheme: schemeOf(repl), Host: hostPortOf(repl)}
	return originOf(u) == originOf(&own)
}
