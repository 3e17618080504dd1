package caddymodule

import (
	"fmt"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/certstore"
)

func init() {
	caddy.RegisterModule(CaddyStore{})
}

// CaddyStore keeps grants in Caddy's own storage, for one process. That storage
// has to be the file system, as it is by default: its locks have to hold for a
// process that is stopped and continued.
//
// Without encryption_key it makes a key when it is first used and keeps it
// beside the grants, in the file pleo/encryption_key, mode 0600. To change it, put
// a new one into the line before it: the first line seals, every line opens.
type CaddyStore struct {
	storage *certmagic.FileStorage
}

// CaddyModule returns the Caddy module information.
func (CaddyStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "pleo.stores.caddy",
		New: func() caddy.Module { return new(CaddyStore) },
	}
}

// Provision finds Caddy's storage.
func (s *CaddyStore) Provision(ctx caddy.Context) error {
	storage, ok := ctx.Storage().(*certmagic.FileStorage)
	if !ok {
		return fmt.Errorf("store caddy needs Caddy's storage to be the file system, and it is %T; use store redis", ctx.Storage())
	}
	s.storage = storage
	return nil
}

// Key returns the path of the storage.
func (s *CaddyStore) Key() StoreKey { return StoreKey{Place: "caddy\x00" + s.storage.Path} }

// String says where the files are, for people.
func (s *CaddyStore) String() string { return "caddy " + s.storage.Path }

// OpenStore returns a store for the records of one client.
func (s *CaddyStore) OpenStore(id pleoauth.Identity) (pleoauth.Store, error) {
	return certstore.New(s.storage, s.path("locks"), id)
}

// OwnKeys returns the keys beside the grants, and makes one first if there is
// none.
func (s *CaddyStore) OwnKeys() ([]string, error) { return ownKeys(s.path("encryption_key")) }

func (s *CaddyStore) path(name string) string { return filepath.Join(s.storage.Path, "pleo", name) }

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store caddy
func (*CaddyStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	if d.NextArg() {
		return d.Errf("store caddy takes no argument, not '%s'", d.Val())
	}
	for d.NextBlock(0) {
		return d.Errf("unrecognized subdirective '%s'", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ KeyKeeper             = (*CaddyStore)(nil)
	_ Store                 = (*CaddyStore)(nil)
	_ caddy.Provisioner     = (*CaddyStore)(nil)
	_ caddyfile.Unmarshaler = (*CaddyStore)(nil)
)
