package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func duration(d caddy.Duration) time.Duration { return time.Duration(d) }

// optionBlock parses the options of a block, each of which may be given once.
// All its errors name the option and the line.
type optionBlock struct {
	*caddyfile.Dispenser
	seen map[string]bool
}

func newOptionBlock(d *caddyfile.Dispenser) optionBlock {
	return optionBlock{Dispenser: d, seen: make(map[string]bool)}
}

// once returns an error if the current option was given before: of two values,
// nobody could tell which one holds.
func (b optionBlock) once() error {
	name := b.Val()
	if b.seen[name] {
		return b.Errf("%s already specified", name)
	}
	b.seen[name] = true
	return nil
}

// flag takes an option without arguments.
func (b optionBlock) flag(target *bool) error {
	name := b.Val()
	if b.NextArg() {
		return b.Errf("%s takes no argument, not '%s'", name, b.Val())
	}
	*target = true
	return nil
}

// one takes the only argument of an option, and judges it if it is known yet.
func (b optionBlock) one(target *string, check func(string) error) error {
	name := b.Val()
	if !b.AllArgs(target) {
		return b.Errf("%s takes exactly one argument", name)
	}
	if *target == "" {
		return b.Errf("%s is empty", name)
	}
	if check == nil || hasPlaceholder(*target) {
		return nil
	}
	return b.wrap(check(*target))
}

// many takes one or more arguments.
func (b optionBlock) many(target *[]string, check func(string) error) error {
	name := b.Val()
	args := b.RemainingArgs()
	if len(args) == 0 {
		return b.Errf("%s takes one argument or more", name)
	}
	for _, arg := range args {
		if arg == "" {
			return b.Errf("%s is empty", name)
		}
		if check == nil || hasPlaceholder(arg) {
			continue
		}
		if err := check(arg); err != nil {
			return b.wrap(err)
		}
	}
	*target = append(*target, args...)
	return nil
}

func (b optionBlock) duration(target *caddy.Duration, check func(time.Duration) error) error {
	name := b.Val()
	var text string
	if err := b.one(&text, nil); err != nil {
		return err
	}
	d, err := caddy.ParseDuration(text)
	if err != nil {
		return b.Errf("%s: bad duration '%s': %v", name, text, err)
	}
	if d <= 0 {
		return b.Errf("%s: '%s' is not more than zero", name, text)
	}
	*target = caddy.Duration(d)
	return b.wrap(check(d))
}

func (b optionBlock) wrap(err error) error {
	if err == nil {
		return nil
	}
	return b.WrapErr(err)
}

// checkConfig judges single fields of a configuration.
func checkConfig(c pleoauth.Config) error {
	c.ClientID = "judged elsewhere"
	return c.Validate()
}

// literals takes one or more arguments that cannot be placeholders.
func (b optionBlock) literals(target *[]string, check func(string) error) error {
	if err := b.many(target, nil); err != nil {
		return err
	}
	for _, v := range *target {
		if err := check(v); err != nil {
			return b.wrap(err)
		}
	}
	return nil
}
