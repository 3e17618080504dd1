package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

func init() {
	caddy.RegisterModule(RedisStore{})
}

// RedisStore keeps grants in Redis, for any number of replicas: a single server,
// one behind Sentinel, or a Cluster. Redis has to keep what it is given:
// appendonly yes, maxmemory-policy noeviction. With replicas, it has to stop
// taking writes when it is cut off from them: min-replicas-to-write 1,
// min-replicas-max-lag 10.
type RedisStore struct {
	// A single server, as redis://[user[:password]@]host[:port][/db], rediss://
	// for TLS, or unix:///path. What stands beside it here overrides its parts.
	URL string `json:"url,omitempty"`

	// The host:port of the Sentinels, of some nodes of the Cluster, or of the
	// server.
	Addresses []string `json:"addresses,omitempty"`

	// The name of the master that the Sentinels watch. Default: none, the
	// addresses are not Sentinels.
	MasterName string `json:"master_name,omitempty"`

	// Whether the addresses are nodes of a Redis Cluster. Default: false.
	Cluster bool `json:"cluster,omitempty"`

	// The number of the database. Default: 0.
	DB int `json:"db,omitempty"`

	// The ACL user. Default: none.
	Username string `json:"username,omitempty"`

	// The password, as a placeholder. Default: none.
	Password string `json:"password,omitempty"`

	// The ACL user at the Sentinels themselves. Default: none.
	SentinelUsername string `json:"sentinel_username,omitempty"`

	// The password at the Sentinels themselves, as a placeholder. Default: none.
	SentinelPassword string `json:"sentinel_password,omitempty"`

	// What every key begins with. Default: pleo:.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// How many replicas have to confirm that a refresh is about to be sent, and
	// that its result is stored; 0 does not wait. Default: 1 where Redis has
	// replicas.
	WaitReplicas *int `json:"wait_replicas,omitempty"`

	// Whether a Redis that may lose grants is an error rather than a warning.
	// Default: false.
	RequireDurable bool `json:"require_durable,omitempty"`

	// How to speak TLS; an empty object turns it on. Default: as the URL says.
	TLS *RedisTLS `json:"tls,omitempty"`

	options redisstore.Options
	key     StoreKey
}

// CaddyModule returns the Caddy module information.
func (RedisStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "pleo.stores.redis",
		New: func() caddy.Module { return new(RedisStore) },
	}
}

// Provision resolves placeholders and reads files. It does not connect.
func (s *RedisStore) Provision(ctx caddy.Context) error {
	if err := s.resolve(newResolver(ctx.Logger())); err != nil {
		return fmt.Errorf("store redis: %w", err)
	}
	return nil
}

func (s *RedisStore) resolve(r resolver) error {
	var err error
	if s.options, err = s.resolveURL(r); err != nil {
		return err
	}
	o := &s.options
	for _, field := range []struct {
		name, value string
		target      *string
		resolve     func(name, value string) (string, error)
	}{
		{"master_name", s.MasterName, &o.MasterName, r.option},
		{"username", s.Username, &o.Username, r.option},
		{"password", s.Password, &o.Password, r.secret},
		{"sentinel_username", s.SentinelUsername, &o.SentinelUsername, r.option},
		{"sentinel_password", s.SentinelPassword, &o.SentinelPassword, r.secret},
		{"key_prefix", s.KeyPrefix, &o.KeyPrefix, r.option},
	} {
		if field.value == "" {
			continue
		}
		if *field.target, err = field.resolve(field.name, field.value); err != nil {
			return err
		}
	}
	if s.Addresses != nil {
		if o.Addresses, err = r.options("address", s.Addresses, r.option); err != nil {
			return err
		}
	}
	o.Cluster, o.WaitReplicas = s.Cluster, s.WaitReplicas
	if s.DB != 0 {
		o.DB = s.DB
	}
	files, err := s.TLS.apply(r, o)
	if err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	s.key = redisKey(*o, s.RequireDurable, files)
	return nil
}

func (s *RedisStore) resolveURL(r resolver) (redisstore.Options, error) {
	if s.URL == "" {
		return redisstore.Options{}, nil
	}
	if s.Addresses != nil {
		return redisstore.Options{}, errors.New("url and address exclude each other")
	}
	// A URL that is a placeholder as a whole, or has one for its password, is
	// not parsed by net/url before it is resolved.
	if u, err := url.Parse(s.URL); err == nil && u.User != nil {
		if password, ok := u.User.Password(); ok && password != "" && !hasPlaceholder(password) {
			r.warnLiteral("store redis")
		}
	}
	resolved, err := r.confidential("url", s.URL)
	if err != nil {
		return redisstore.Options{}, err
	}
	return redisstore.ParseURL(resolved)
}

// redisKey tells stores apart. Options print no passwords, so their fields are
// named one by one.
func redisKey(o redisstore.Options, requireDurable bool, tlsFiles []byte) StoreKey {
	serverName, replicas := "no TLS", "default"
	if o.TLS != nil {
		serverName = "TLS " + o.TLS.ServerName
	}
	if o.WaitReplicas != nil {
		replicas = strconv.Itoa(*o.WaitReplicas)
	}
	return StoreKey{
		Place:  fmt.Sprintf("redis %q %q %t %d %q", o.Addresses, o.MasterName, o.Cluster, o.DB, o.KeyPrefix),
		Access: fmt.Sprintf("%q %q %q %q %q %q %q %t", o.Username, o.Password, o.SentinelUsername, o.SentinelPassword, serverName, tlsFiles, replicas, requireDurable),
	}
}

// Key says which server this is and how it is reached.
func (s *RedisStore) Key() StoreKey { return s.key }

// String says where the server is, for people.
func (s *RedisStore) String() string {
	o := s.options
	kind := ""
	switch {
	case o.Cluster:
		kind = "Cluster "
	case o.MasterName != "":
		kind = o.MasterName + " by Sentinels "
	}
	return fmt.Sprintf("redis %s%s, database %d, keys %s*", kind, strings.Join(o.Addresses, " "), o.DB, cmp.Or(o.KeyPrefix, redisstore.DefaultKeyPrefix))
}

// RequiresDurability returns what require_durable says.
func (s *RedisStore) RequiresDurability() bool { return s.RequireDurable }

// OpenStore returns a store for the records of one client. It does not connect.
func (s *RedisStore) OpenStore(id pleoauth.Identity) (pleoauth.Store, error) {
	return redisstore.New(s.options, id)
}

// Interface guards
var (
	_ DurabilityRequirer = (*RedisStore)(nil)
	_ Store              = (*RedisStore)(nil)
	_ caddy.Provisioner  = (*RedisStore)(nil)
)
