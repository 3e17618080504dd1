package caddymodule

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

// Notify says who is told that a connection has been authorised, has to be
// authorised again, or has recovered: an application by webhook, and handlers of
// Caddy's events. Every replica has to be configured alike.
type Notify struct {
	// Where messages are posted, in the format of Standard Webhooks: HTTPS, or
	// HTTP to loopback. Default: none; only Caddy's events are emitted.
	URL string `json:"url,omitempty"`

	// The secrets that sign each message, as placeholders: whsec_ and base64 of
	// 24 to 64 bytes. A second one is for the time in which one is replaced.
	// Required with a URL.
	Secrets []string `json:"secrets,omitempty"`

	// How long a connection must have needed a new authorisation before that is
	// told. Default: 1m.
	After caddy.Duration `json:"after,omitempty"`

	// How long one attempt to post a message may take. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// resolve returns what the options stand for.
func (n *Notify) resolve(r resolver) (*webhook.Config, error) {
	c := &webhook.Config{After: duration(n.After), Timeout: duration(n.Timeout)}
	var err error
	if c.URL, err = r.confidential("notify", n.URL); err != nil {
		return nil, err
	}
	if c.Secrets, err = r.options("notify: secret", n.Secrets, r.secret); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return c, nil
}

// unmarshalNotify parses the option notify and its block.
func (a *App) unmarshalNotify(b optionBlock) error {
	n := new(Notify)
	switch b.CountRemainingArgs() {
	case 0:
	case 1:
		if err := b.one(&n.URL, webhook.CheckURL); err != nil {
			return err
		}
	default:
		return b.Errf("notify takes one URL at most")
	}
	inner := newOptionBlock(b.Dispenser)
	for nesting := b.Nesting(); b.NextBlock(nesting); {
		if err := inner.once(); err != nil {
			return err
		}
		if err := n.unmarshalOption(inner); err != nil {
			return err
		}
	}
	if n.URL != "" && len(n.Secrets) == 0 {
		return b.Errf("notify: secret is missing: the receiver could not tell who sends")
	}
	a.Notify = n
	return nil
}

func (n *Notify) unmarshalOption(b optionBlock) error {
	switch b.Val() {
	case "secret":
		return b.many(&n.Secrets, webhook.CheckSecret)
	case "after":
		return b.duration(&n.After, func(d time.Duration) error { return webhook.Config{After: d}.Validate() })
	case "timeout":
		return b.duration(&n.Timeout, func(d time.Duration) error { return webhook.Config{Timeout: d}.Validate() })
	}
	return b.Errf("unrecognized subdirective '%s'", b.Val())
}
