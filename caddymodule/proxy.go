package caddymodule

import (
	"encoding/json"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("pleo_proxy", parseProxy)
	httpcaddyfile.RegisterDirectiveOrder("pleo_proxy", httpcaddyfile.Before, "reverse_proxy")
}

// parseProxy parses the directive pleo_proxy, which is short for reverse_proxy
// to api_server with transport pleo. Syntax:
//
//	pleo_proxy [<matcher>] {
//	    connection    <name or placeholder>
//	    allow_clients <cidr...>
//	    allow_hosts   <name...>
//	    replay_buffer <size>
//	    transport pleo {
//	        <options of `transport http`>
//	    }
//	    <options of `reverse_proxy`>
//	}
//
// `to` and `dynamic` change what is dialled, and nothing else: Host and TLS
// server name stay api_server's. Options that judge answers are errors.
func parseProxy(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	app, err := globalOption(h)
	if err != nil {
		return nil, err
	}
	_, base := app.servers()
	api, err := newAPIServer(base)
	if err != nil {
		return nil, h.WrapErr(err)
	}
	if h.NextArg() {
		return nil, h.Errf("pleo_proxy takes no upstream: it goes to api_server ('%s' is neither a matcher nor an option; a fixed address is given with 'to')", h.Val())
	}

	transport := new(Transport)
	err = takeOptions(h.Dispenser, func(o *caddyfile.Dispenser, segment caddyfile.Segment) (bool, error) {
		if err := checkProxyOption(segment, api); err != nil {
			return false, o.WrapErr(err)
		}
		if idleHeaderUp(segment) {
			return true, nil
		}
		if o.Val() == "transport" {
			return false, checkTransportBlock(o, api)
		}
		return transport.unmarshalOption(o)
	})
	if err != nil {
		return nil, err
	}

	h.Reset()
	proxy := new(reverseproxy.Handler)
	if err := proxy.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if err := proxy.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	if err := transport.merge(proxy.TransportRaw); err != nil {
		return nil, h.WrapErr(err)
	}
	if err := transport.check(api); err != nil {
		return nil, h.WrapErr(err)
	}
	if api.tls() && transport.TLS == nil {
		transport.TLS = new(reverseproxy.TLSConfig)
	}
	proxy.TransportRaw = caddyconfig.JSONModuleObject(transport, "protocol", "pleo", nil)
	if len(proxy.Upstreams) == 0 && proxy.DynamicUpstreamsRaw == nil {
		proxy.Upstreams = reverseproxy.UpstreamPool{{Dial: api.dial}}
	}
	return proxy, nil
}

func checkTransportBlock(d *caddyfile.Dispenser, api apiServer) error {
	d.NextArg() // the transport's name
	return takeOptions(d, func(o *caddyfile.Dispenser, segment caddyfile.Segment) (bool, error) {
		if err := checkTransportOption(segment, api); err != nil {
			return false, o.WrapErr(err)
		}
		return false, nil
	})
}

// globalOption returns the app as the global option pleo has it.
func globalOption(h httpcaddyfile.Helper) (*App, error) {
	option, ok := h.Option("pleo").(httpcaddyfile.App)
	if !ok {
		return nil, h.Errf("%s needs the global option pleo", h.Val())
	}
	app := new(App)
	if err := json.Unmarshal(option.Value, app); err != nil {
		return nil, h.WrapErr(err)
	}
	return app, nil
}

// merge takes the options of `transport pleo { … }` over. Options of the
// directive and of the transport in it are the same ones, and may be given in
// one of the two places.
func (t *Transport) merge(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	inner := new(Transport)
	if err := json.Unmarshal(raw, inner); err != nil {
		return err
	}
	for _, o := range []struct {
		name        string
		outer, both bool
	}{
		{"connection", t.Connection != "", inner.Connection != ""},
		{"allow_clients", t.AllowClients != nil, inner.AllowClients != nil},
		{"allow_hosts", t.AllowHosts != nil, inner.AllowHosts != nil},
		{"replay_buffer", t.ReplayBuffer != nil, inner.ReplayBuffer != nil},
	} {
		if o.outer && o.both {
			return twiceError(o.name)
		}
	}
	outer := *t
	*t = *inner
	if outer.Connection != "" {
		t.Connection = outer.Connection
	}
	if outer.AllowClients != nil {
		t.AllowClients = outer.AllowClients
	}
	if outer.AllowHosts != nil {
		t.AllowHosts = outer.AllowHosts
	}
	if outer.ReplayBuffer != nil {
		t.ReplayBuffer = outer.ReplayBuffer
	}
	return nil
}

type twiceError string

func (e twiceError) Error() string { return string(e) + " already specified" }
