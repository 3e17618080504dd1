package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

func init() {
	caddy.RegisterModule(App{})
	httpcaddyfile.RegisterGlobalOption("pleo", parseApp)
}

// App is what the other modules of this package share: the OAuth client, the
// grants of all connections, and the work that keeps them alive.
//
// Secrets belong into placeholders, {env.NAME} or {file./path}: they are
// resolved when the app is provisioned and never become part of the
// configuration that Caddy saves and shows.
type App struct {
	// Which of Pleo's environments to use, production or staging. It sets both
	// servers. Default: production.
	Environment string `json:"environment,omitempty"`

	// The base URL of the authorisation server. It is taken literally, without
	// placeholders. Default: the environment's.
	AuthServer string `json:"auth_server,omitempty"`

	// What the authorisation server calls itself in the parameter iss of callbacks
	// (RFC 9207), where that is not auth_server. Default: auth_server.
	Issuer string `json:"issuer,omitempty"`

	// The base URL of the API: the only place that tokens are sent to. It is
	// taken literally, without placeholders. Default: the environment's.
	APIServer string `json:"api_server,omitempty"`

	// The id of the OAuth client, as registered at Pleo. Required.
	ClientID string `json:"client_id,omitempty"`

	// The secret of a confidential client, as a placeholder. Default: none,
	// for a public client.
	ClientSecret string `json:"client_secret,omitempty"`

	// Another secret of the same client, as a placeholder. It is tried once Pleo
	// has refused the first, and the other way round, while the secret is being
	// changed. Default: none.
	SecondClientSecret string `json:"second_client_secret,omitempty"`

	// The scopes that a user is asked to consent to, such as users:read.
	// Default: none.
	Scopes []string `json:"scopes,omitempty"`

	// Where Pleo sends the browser back, character for character as it is
	// registered. Required by pleo_authorise and pleo_callback.
	RedirectURI string `json:"redirect_uri,omitempty"`

	// The public URL of pleo_authorise. It is told to callers whose connection
	// has to be authorised. Default: none.
	AuthoriseURI string `json:"authorise_uri,omitempty"`

	// The certificates that Pleo's servers are checked against, as in Caddy's
	// transport http. pleo_proxy takes them, too, unless it has its own. Default:
	// the system's.
	TrustPoolRaw json.RawMessage `json:"tls_trust_pool,omitempty" caddy:"namespace=tls.ca_pool.source inline_key=provider"`

	// Where grants are kept. Default: caddy, which is Caddy's own storage.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=pleo.stores inline_key=module"`

	// The keys that grants are sealed with, as placeholders: base64 of 32
	// bytes each, as `pleo keygen` makes them. The first one seals, all of
	// them open. Required by the store redis. Default: a store that can keep a
	// key of its own makes one.
	EncryptionKeys []string `json:"encryption_keys,omitempty"`

	// How long before its expiry a token in use is refreshed; never more than
	// half of the token's life. Default: 60s.
	RefreshBefore caddy.Duration `json:"refresh_before,omitempty"`

	// How long a call may wait for a refresh. Default: 10s.
	RefreshTimeout caddy.Duration `json:"refresh_timeout,omitempty"`

	// The age at which an unused grant is refreshed, so that its refresh token
	// does not expire. Default: 30d.
	KeepAlive caddy.Duration `json:"keep_alive,omitempty"`

	// Whether only a one-time link starts an authorisation, as pleo_api, Caddy's
	// admin endpoint and `pleo authorise-url` make them. Needs authorise_uri.
	// Default: false.
	RequireTicket bool `json:"require_ticket,omitempty"`

	// Whether a connection may be authorised again for another company than
	// before. Default: false.
	AllowSubjectChange bool `json:"allow_subject_change,omitempty"`

	// Origins, such as https://app.example.com, that a browser may be sent to
	// after authorising. Default: none, so that only local paths are allowed.
	ReturnToOrigins []string `json:"return_to_origins,omitempty"`

	// Who is told that a connection was authorised, has to be authorised again, or
	// has recovered. Default: nobody.
	Notify *Notify `json:"notify,omitempty"`

	// What placeholders have become. These hold secrets and stay unexported.
	config       pleoauth.Config
	keys         []string
	origins      []string
	authoriseURL *url.URL
	notify       *webhook.Config // nil: nobody is told

	store  Store
	trust  *trustPool // nil: the system's
	opener *sourceOpener
	logger *zap.Logger

	life    *lifetime
	poolKey string // of what was acquired; empty: nothing to release
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "pleo",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision resolves placeholders and checks everything that can be checked
// without network: it runs in `validate` and in every reload, where an
// unreachable Redis must not matter.
func (a *App) Provision(ctx caddy.Context) error {
	quietStandardLog()
	a.logger = ctx.Logger()
	a.life = newLifetime()
	if err := a.checkEnv(); err != nil {
		return err
	}
	if err := a.resolve(newResolver(a.logger)); err != nil {
		return err
	}
	if err := a.config.Validate(); err != nil {
		return err
	}

	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(`{"module":"caddy"}`)
	}
	module, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	store, ok := module.(Store)
	if !ok {
		return fmt.Errorf("store: module %T is not a store", module)
	}
	a.store = store

	if err := a.provisionTrustPool(ctx); err != nil {
		return err
	}
	a.opener = &sourceOpener{config: a.config, keys: a.keys, store: store, trust: a.trust, slogger: ctx.Slogger()}
	if err := a.opener.check(); err != nil {
		return err
	}
	if err := a.provisionNotify(ctx); err != nil {
		return err
	}
	if err := metrics.register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	for _, warning := range a.config.Warnings() {
		a.logger.Warn(warning)
	}
	return nil
}

// Start takes the shared source from the pool, or makes it, and begins its
// work in the background. A store that may lose grants is an error where it is
// required not to.
func (a *App) Start() error {
	shared, key, err := a.opener.acquire(a)
	if err != nil {
		return err
	}
	if requiresDurability(a.store) {
		if err := a.checkDurability(shared.source); err != nil {
			return errors.Join(err, shared.release(a, key))
		}
	}
	if shared.replaces() {
		if err := a.checkStore(shared.source); err != nil {
			return errors.Join(err, shared.release(a, key))
		}
	}
	a.poolKey = key
	if a.logger != nil { // it has been provisioned
		a.logStart()
	}
	shared.source.Start()
	a.life.begin(shared)
	return nil
}

// Stop does nothing: Caddy stops apps in any order, calls it while requests are
// still being served, and may never come to call it.
func (a *App) Stop() error { return nil }

// Cleanup releases the shared source. It also runs after a failed Provision or
// Start, when nothing was acquired: releasing then would take the reference of
// the configuration that is still serving.
func (a *App) Cleanup() error {
	if a.life != nil {
		a.life.end()
	}
	if a.poolKey == "" {
		return nil
	}
	key := a.poolKey
	a.poolKey = ""
	return a.life.shared.Load().release(a, key)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
)
