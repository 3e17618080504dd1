package caddymodule

import "github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"

// Store is implemented by the modules in the namespace pleo.stores. A module
// there resolves and checks its options in Provision, without network.
type Store interface {
	// Key tells what the store would open, as configured and with placeholders
	// resolved. Configurations with equal keys share one store.
	Key() StoreKey
	// OpenStore returns a new store for the records of one client. It does no
	// network, and the store that it returns keeps nothing of the module.
	OpenStore(id pleoauth.Identity) (pleoauth.Store, error)
}

// StoreKey tells stores apart. It is only ever hashed, so it may hold secrets.
type StoreKey struct {
	// Place is where the records are. It stays the same when a password does
	// not: what this machine holds for the store is found by it.
	Place string
	// Access is how the place is reached: users, passwords, certificates.
	Access string
}

// KeyKeeper may be implemented by stores that make and keep an encryption key
// where none is configured; with those that don't, encryption_key is required.
type KeyKeeper interface {
	// OwnKeys returns the key, and makes it first if there is none: several
	// while it is being changed, of which the first one seals. It is called
	// when a configuration starts, never when one is only validated.
	OwnKeys() ([]string, error)
}

// DurabilityRequirer may be implemented by stores that can be told not to do
// with a server that may lose grants.
type DurabilityRequirer interface {
	// RequiresDurability reports whether what may lose grants is an error: the
	// configuration then does not start.
	RequiresDurability() bool
}
