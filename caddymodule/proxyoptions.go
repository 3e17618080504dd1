package caddymodule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

const judgingReason = "the proxy's own answers would count as Pleo's, and one unconnected customer would take all of them down"

// checkProxyOption judges an option of reverse_proxy that stands in pleo_proxy.
func checkProxyOption(option caddyfile.Segment, api apiServer) error {
	name := option.Directive()
	switch name {
	case "fail_duration", "max_fails", "unhealthy_status", "unhealthy_latency", "unhealthy_request_count":
		return fmt.Errorf("%s is not allowed in pleo_proxy: %s", name, judgingReason)
	case "lb_retry_match":
		if slices.ContainsFunc(option, readsAnswer) {
			return fmt.Errorf("%s on answers is not allowed in pleo_proxy: %s", name, judgingReason)
		}
	case "to":
		for _, upstream := range option[1:] {
			if scheme, _, ok := strings.Cut(upstream.Text, "://"); ok && scheme != api.scheme {
				return fmt.Errorf("to: '%s' is not %s, as api_server is", upstream.Text, api.scheme)
			}
		}
	case "transport":
		if len(option) > 1 && option[1].Text != "pleo" {
			return fmt.Errorf("transport: pleo_proxy has transport pleo, which takes the options of `transport http`, and not '%s'", option[1].Text)
		}
	case "header_up":
		if len(option) > 1 && !idleHeaderUp(option) && namesConnectionHeader(option[1].Text) {
			return fmt.Errorf("header_up: %s is read from the caller's request, so this would have no effect; use the option connection", connectionHeader)
		}
	}
	return nil
}

// checkTransportOption judges an option of `transport pleo` by where the API is,
// which the transport's own parser does not know.
func checkTransportOption(option caddyfile.Segment, api apiServer) error {
	switch name := option.Directive(); {
	case name == "tls_server_name" && len(option) > 1:
		return api.checkServerName(option[1].Text)
	case strings.HasPrefix(name, "tls") && !api.tls():
		return errNoTLS
	case name == "versions" && slices.ContainsFunc(option[1:], func(t caddyfile.Token) bool { return t.Text == "3" }):
		return errHTTP3
	}
	return nil
}

// idleHeaderUp reports whether an option removes Pleo-Connection from the
// outgoing copy. That does nothing, since the header never leaves; done, it
// would hide that the caller sent it empty.
func idleHeaderUp(option caddyfile.Segment) bool {
	return len(option) == 2 && option.Directive() == "header_up" && strings.EqualFold(option[1].Text, "-"+connectionHeader)
}

// namesConnectionHeader reports whether a field of header_up, which may have a
// sign before it and an asterisk at either end, means Pleo-Connection.
func namesConnectionHeader(field string) bool {
	field = strings.ToLower(strings.TrimLeft(field, "+-?>"))
	header := strings.ToLower(connectionHeader)
	prefix, suffix := strings.HasSuffix(field, "*"), strings.HasPrefix(field, "*")
	switch middle := strings.Trim(field, "*"); {
	case prefix && suffix:
		return strings.Contains(header, middle)
	case prefix:
		return strings.HasPrefix(header, middle)
	case suffix:
		return strings.HasSuffix(header, middle)
	}
	return field == header
}

// readsAnswer reports whether a part of a matcher reads the upstream's answer,
// or a placeholder whose name is known only when it is evaluated.
func readsAnswer(part caddyfile.Token) bool {
	text := part.Text
	for _, known := range []string{"{http.reverse_proxy.is_transport_error}", "{rp.is_transport_error}"} {
		text = strings.ReplaceAll(text, known, "")
	}
	return strings.Contains(text, "http.reverse_proxy.") || strings.Contains(text, "{rp.") || strings.Contains(text, "ph(")
}
