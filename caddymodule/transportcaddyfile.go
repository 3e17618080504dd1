package caddymodule

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// UnmarshalCaddyfile sets up the transport from Caddyfile tokens. Syntax:
//
//	transport pleo {
//	    connection    <name or placeholder>
//	    allow_clients <cidr...>
//	    allow_hosts   <name...>
//	    replay_buffer <size>
//	    <options of `transport http`>
//	}
//
// Of the latter, tls_insecure_skip_verify, tls_except_ports and another
// tls_server_name than the API's are errors.
func (t *Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the transport's name
	if d.NextArg() {
		return d.Errf("transport pleo takes a block, not '%s'", d.Val())
	}
	err := takeOptions(d, func(o *caddyfile.Dispenser, _ caddyfile.Segment) (bool, error) {
		switch o.Val() {
		case "tls_insecure_skip_verify":
			return false, o.WrapErr(errInsecure)
		case "tls_except_ports":
			return false, o.WrapErr(errExceptPorts)
		}
		return t.unmarshalOption(o)
	})
	if err != nil {
		return err
	}
	d.Reset()
	return t.HTTPTransport.UnmarshalCaddyfile(d)
}

// unmarshalOption takes an option of the transport's own, and reports whether
// it was one.
func (t *Transport) unmarshalOption(d *caddyfile.Dispenser) (bool, error) {
	name := d.Val()
	given := map[string]bool{
		"connection":    t.Connection != "",
		"allow_clients": t.AllowClients != nil,
		"allow_hosts":   t.AllowHosts != nil,
		"replay_buffer": t.ReplayBuffer != nil,
	}
	twice, ours := given[name]
	if !ours {
		return false, nil
	}
	if twice {
		return true, d.Errf("%s already specified", name)
	}
	b := newOptionBlock(d)
	switch name {
	case "connection":
		return true, b.one(&t.Connection, checkSelection)
	case "allow_clients":
		return true, b.literals(&t.AllowClients, func(v string) error { return checkOption(name, v, parseClient) })
	case "allow_hosts":
		return true, b.literals(&t.AllowHosts, func(v string) error { return checkOption(name, v, parseHost) })
	default:
		return true, t.unmarshalReplayBuffer(b)
	}
}

func (t *Transport) unmarshalReplayBuffer(b optionBlock) error {
	var text string
	if err := b.one(&text, nil); err != nil {
		return err
	}
	size, err := humanize.ParseBytes(text)
	if err != nil {
		return b.Errf("replay_buffer: bad size '%s': %v", text, err)
	}
	bytes := int64(min(size, replayBudget+1))
	t.ReplayBuffer = &bytes
	return b.wrap(checkReplayBuffer(bytes))
}

// takeOptions calls take with each option of the block that follows, and
// deletes those that it takes, so that another parser can have the rest.
//
// It goes by whole options: going by tokens, as forward_auth does, would take
// the argument in `header_up connection close` for an option. One that is
// parsed and lost here would hand one customer's data to another.
func takeOptions(d *caddyfile.Dispenser, take func(*caddyfile.Dispenser, caddyfile.Segment) (bool, error)) error {
	for d.NextBlock(0) {
		segment := d.NextSegment()
		option := caddyfile.NewDispenser(segment)
		option.Next()
		taken, err := take(option, segment)
		if err != nil {
			return err
		}
		if !taken {
			continue
		}
		if option.NextBlock(0) || d.Line() != segment[len(segment)-1].Line {
			return d.Errf("%s takes no block", segment[0].Text)
		}
		d.DeleteN(len(segment))
	}
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Transport)(nil)
)
