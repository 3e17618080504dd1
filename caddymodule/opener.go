package caddymodule

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

// sourceOpener holds all that a source is made of, and used with.
type sourceOpener struct {
	config  pleoauth.Config
	keys    []string
	store   Store
	trust   *trustPool // nil: the system's
	keyIDs  []string   // of the source that was acquired
	slogger *slog.Logger
}

// check judges the keys without making one.
func (o *sourceOpener) check() error {
	if len(o.keys) > 0 {
		_, err := pleoauth.NewKeyring(o.keys...)
		return err
	}
	_, err := o.keeper()
	return err
}

func (o *sourceOpener) keeper() (KeyKeeper, error) {
	keeper, ok := o.store.(KeyKeeper)
	if !ok {
		return nil, errors.New("encryption_key is missing: grants in a store that others can read are kept sealed; `pleo-auth-proxy pleo keygen` makes one")
	}
	return keeper, nil
}

// acquire takes the source from the pool, or makes it, and has it go on with
// this configuration. The key is what to release it with.
func (o *sourceOpener) acquire(app *App) (*sharedSource, string, error) {
	ring, err := o.keyring()
	if err != nil {
		return nil, "", err
	}
	key := o.poolKey()
	value, _, err := sources.LoadOrNew(key, func() (caddy.Destructor, error) { return o.open(ring) })
	if err != nil {
		return nil, "", err
	}
	shared, ok := value.(*sharedSource)
	if !ok {
		return nil, "", fmt.Errorf("the pool of sources holds %T", value)
	}
	if app.notify != nil && shared.worker == nil {
		_, err := sources.Delete(key)
		return nil, "", errors.Join(errors.New("notify: this store cannot note what has changed, so that nobody could be told"), err)
	}
	if err := shared.attach(owner{app: app, config: o.config, keys: ring, logger: o.slogger, notify: app.notify}); err != nil {
		return nil, "", errors.Join(err, shared.release(app, key))
	}
	o.keyIDs = ring.KeyIDs()
	return shared, key, nil
}

func (o *sourceOpener) keyring() (*pleoauth.Keyring, error) {
	if len(o.keys) > 0 {
		return pleoauth.NewKeyring(o.keys...)
	}
	keeper, err := o.keeper()
	if err != nil {
		return nil, err
	}
	keys, err := keeper.OwnKeys()
	if err != nil {
		return nil, fmt.Errorf("encryption_key: %w", err)
	}
	return pleoauth.NewKeyring(keys...)
}

func (o *sourceOpener) open(ring *pleoauth.Keyring) (caddy.Destructor, error) {
	id := pleoauth.Identity{Issuer: o.config.AuthServer, ClientID: o.config.ClientID}
	store, err := o.store.OpenStore(id)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	options := []pleoauth.Option{
		pleoauth.WithLogger(o.slogger), pleoauth.WithSpillDir(o.spillDir()),
		pleoauth.WithObserver(metrics.observer()), pleoauth.WithTracer(spans()),
		pleoauth.WithEnding(caddy.Exiting), pleoauth.WithCheck(),
	}
	if o.trust != nil {
		options = append(options, pleoauth.WithRootCAs(o.trust.roots))
	}
	if requiresDurability(o.store) {
		options = append(options, pleoauth.WithRequireDurable())
	}
	source, err := pleoauth.NewSource(o.config, store, ring, options...)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	shared := &sharedSource{source: source, place: o.store.Key().Place}
	if outbox, ok := store.(webhook.Store); ok {
		shared.worker = webhook.New(id, outbox, metrics.webhook)
	}
	return shared, nil
}

// poolKey identifies a source by store, client and authorisation server, after
// placeholders. Everything else it takes over while it goes on, so that no
// other change in a reload empties the cache or makes a second refresh possible.
// It is a hash, since the store's passwords are part of it.
func (o *sourceOpener) poolKey() string {
	key := o.store.Key()
	parts := []string{key.Place, key.Access}
	if o.trust != nil {
		parts = append(parts, o.trust.key)
	}
	return o.hash(parts...)
}

// spillDir is where grants go that the store does not take, until it does.
func (o *sourceOpener) spillDir() string {
	return filepath.Join(caddy.AppDataDir(), "pleo", "held", o.hash(o.store.Key().Place)[:16])
}

func (o *sourceOpener) hash(parts ...string) string {
	parts = append([]string{o.config.AuthServer, o.config.ClientID}, parts...)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:])
}
