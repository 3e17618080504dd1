package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("pleo_status", parseStatus)
	httpcaddyfile.RegisterDirectiveOrder("pleo_status", httpcaddyfile.Before, "invoke")
}

func parseStatus(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	status := new(Status)
	if err := status.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	_, err := globalOption(h)
	return status, err
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	pleo_status [<matcher>] {
//	    allow_clients <cidr...>
//	    allow_hosts   <name...>
//	}
func (s *Status) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if d.NextArg() {
		return d.Errf("pleo_status takes nothing but a matcher and a block, not '%s'", d.Val())
	}
	b := newOptionBlock(d)
	for d.NextBlock(0) {
		if err := b.once(); err != nil {
			return err
		}
		var err error
		switch name := d.Val(); name {
		case "allow_clients":
			err = b.literals(&s.AllowClients, func(v string) error { return checkOption(name, v, parseClient) })
		case "allow_hosts":
			err = b.literals(&s.AllowHosts, func(v string) error { return checkOption(name, v, parseHost) })
		default:
			err = d.Errf("unrecognized subdirective '%s'", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Status)(nil)
)
