package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// parseApp parses the global option pleo. A second block would silently win
// over the first one, so it is an error.
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	if existing != nil {
		return nil, d.Err("the global option pleo is already specified")
	}
	return httpcaddyfile.App{Name: "pleo", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens. Syntax:
//
//	pleo {
//	    require_env       <name...>
//	    environment       production|staging
//	    auth_server       <url>
//	    issuer            <url>
//	    api_server        <url>
//	    client_id         <id>
//	    client_secret     <secret> [<second_secret>]
//	    scopes            <scope...>
//	    redirect_uri      <url>
//	    authorise_uri     <url>
//	    tls_trust_pool    <module> ...
//	    store             <module> ...
//	    encryption_key    <key...>
//	    refresh_before    <duration>
//	    refresh_timeout   <duration>
//	    keep_alive        <duration>
//	    require_ticket
//	    allow_subject_change
//	    return_to_origins <origin...>
//	    notify            [<url>] {
//	        secret  <secret...>
//	        after   <duration>
//	        timeout <duration>
//	    }
//	}
//
// Only encryption_key may be repeated: the first key seals, all of them open.
// require_env comes first, so that it is judged before what is written with the
// variables.
// Values but those of auth_server and api_server may be placeholders that are
// known when Caddy starts, such as {env.NAME} and {file./path}.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the option's name
	b := newOptionBlock(d)
	if d.NextArg() {
		return d.Errf("pleo takes a block, not '%s'", d.Val())
	}
	for d.NextBlock(0) {
		if d.Val() != "encryption_key" {
			if err := b.once(); err != nil {
				return err
			}
		}
		if err := a.unmarshalOption(b); err != nil {
			return err
		}
	}
	if a.ClientID == "" {
		return d.Err("client_id is missing from the global option pleo")
	}
	return nil
}

func (a *App) unmarshalOption(b optionBlock) error {
	switch b.Val() {
	case "require_env":
		return unmarshalRequireEnv(b)
	case "environment":
		return b.one(&a.Environment, checkEnvironment)
	case "auth_server":
		return a.unmarshalServer(b, &a.AuthServer, func(v string) error { return checkConfig(pleoauth.Config{AuthServer: v}) })
	case "issuer":
		return b.one(&a.Issuer, func(v string) error { return checkConfig(pleoauth.Config{Issuer: v}) })
	case "api_server":
		return a.unmarshalServer(b, &a.APIServer, func(v string) error { return checkConfig(pleoauth.Config{APIServer: v}) })
	case "client_id":
		return b.one(&a.ClientID, nil)
	case "client_secret":
		return a.unmarshalSecret(b)
	case "scopes":
		return b.many(&a.Scopes, func(v string) error { return checkConfig(pleoauth.Config{Scopes: []string{v}}) })
	case "redirect_uri":
		return b.one(&a.RedirectURI, func(v string) error { return checkConfig(pleoauth.Config{RedirectURI: v}) })
	case "authorise_uri":
		return b.one(&a.AuthoriseURI, func(v string) error { _, err := parseAuthoriseURI(v); return err })
	case "tls_trust_pool":
		return a.unmarshalTrustPool(b)
	case "store":
		return a.unmarshalStore(b)
	case "encryption_key":
		return b.many(&a.EncryptionKeys, func(v string) error { _, err := pleoauth.NewKeyring(v); return err })
	case "refresh_before":
		return b.duration(&a.RefreshBefore, func(v time.Duration) error { return checkConfig(pleoauth.Config{RefreshBefore: v}) })
	case "refresh_timeout":
		return b.duration(&a.RefreshTimeout, func(v time.Duration) error { return checkConfig(pleoauth.Config{RefreshTimeout: v}) })
	case "keep_alive":
		return b.duration(&a.KeepAlive, func(v time.Duration) error { return checkConfig(pleoauth.Config{KeepAlive: v}) })
	case "allow_subject_change":
		return b.flag(&a.AllowSubjectChange)
	case "return_to_origins":
		return b.many(&a.ReturnToOrigins, func(v string) error { return checkOption("return_to_origins", v, parseOrigin) })
	case "notify":
		return a.unmarshalNotify(b)
	case "require_ticket":
		return b.flag(&a.RequireTicket)
	default:
		return b.Errf("unrecognized subdirective '%s'", b.Val())
	}
}

func (a *App) unmarshalServer(b optionBlock, target *string, check func(string) error) error {
	if err := b.one(target, check); err != nil {
		return err
	}
	return b.wrap(a.checkServers())
}

func (a *App) unmarshalSecret(b optionBlock) error {
	var secrets []string
	if err := b.many(&secrets, nil); err != nil {
		return err
	}
	if len(secrets) > 2 {
		return b.Errf("client_secret takes one secret, or two while it is being changed")
	}
	a.ClientSecret = secrets[0]
	if len(secrets) == 2 {
		a.SecondClientSecret = secrets[1]
	}
	return nil
}

func (a *App) unmarshalStore(b optionBlock) error {
	if !b.NextArg() {
		return b.Errf("store needs the name of a module, such as redis")
	}
	name := b.Val()
	id := "pleo.stores." + name
	if _, err := caddy.GetModule(id); err != nil {
		return b.Errf("store: there is no module %s", id)
	}
	module, err := caddyfile.UnmarshalModule(b.Dispenser, id)
	if err != nil {
		return err
	}
	store, ok := module.(Store)
	if !ok {
		return b.Errf("store: module %s (%T) is not a store", id, module)
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(store, "module", name, nil)
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
)
