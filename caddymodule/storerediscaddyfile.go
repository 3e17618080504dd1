package caddymodule

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store redis [<url>] {
//	    address           <host:port...>
//	    master_name       <name>
//	    cluster
//	    db                <number>
//	    username          <name>
//	    password          <password>
//	    sentinel_username <name>
//	    sentinel_password <password>
//	    key_prefix        <prefix>
//	    wait_replicas     <number>
//	    require_durable
//	    tls {
//	        ca          <file...>
//	        certificate <certificate_file> <key_file>
//	        server_name <name>
//	    }
//	}
//
// A URL is a single server; `address` is for Sentinel (with `master_name`) and
// Cluster (with `cluster`).
func (s *RedisStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the store's name
	if d.NextArg() {
		s.URL = d.Val()
		if !hasPlaceholder(s.URL) {
			if _, err := redisstore.ParseURL(s.URL); err != nil {
				return d.Errf("store redis: %w", err)
			}
		}
		if d.NextArg() {
			return d.Errf("store redis takes one URL; several addresses belong into its block")
		}
	}
	b := newOptionBlock(d)
	for d.NextBlock(0) {
		if err := b.once(); err != nil {
			return err
		}
		if err := s.unmarshalOption(b); err != nil {
			return err
		}
	}
	switch {
	case s.URL == "" && s.Addresses == nil:
		return d.Errf("store redis needs a URL or an address")
	case s.URL != "" && s.Addresses != nil:
		return d.Errf("store redis: a URL and address exclude each other")
	}
	return nil
}

func (s *RedisStore) unmarshalOption(b optionBlock) error {
	switch b.Val() {
	case "address":
		return b.many(&s.Addresses, nil)
	case "master_name":
		return b.one(&s.MasterName, nil)
	case "cluster":
		return b.flag(&s.Cluster)
	case "db":
		return unmarshalNumber(b, &s.DB)
	case "username":
		return b.one(&s.Username, nil)
	case "password":
		return b.one(&s.Password, nil)
	case "sentinel_username":
		return b.one(&s.SentinelUsername, nil)
	case "sentinel_password":
		return b.one(&s.SentinelPassword, nil)
	case "key_prefix":
		return b.one(&s.KeyPrefix, nil)
	case "tls":
		return s.unmarshalTLS(b)
	case "wait_replicas":
		return s.unmarshalWaitReplicas(b)
	case "require_durable":
		return b.flag(&s.RequireDurable)
	default:
		return b.Errf("unrecognized subdirective '%s'", b.Val())
	}
}

func (s *RedisStore) unmarshalWaitReplicas(b optionBlock) error {
	s.WaitReplicas = new(int)
	return unmarshalNumber(b, s.WaitReplicas)
}

// unmarshalNumber takes a number from 0 on.
func unmarshalNumber(b optionBlock, target *int) error {
	name := b.Val()
	var text string
	if err := b.one(&text, nil); err != nil {
		return err
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 {
		return b.Errf("%s: '%s' is not a number", name, text)
	}
	*target = number
	return nil
}

func (s *RedisStore) unmarshalTLS(b optionBlock) error {
	if b.NextArg() {
		return b.Errf("tls takes a block, not '%s'", b.Val())
	}
	s.TLS = new(RedisTLS)
	inner := newOptionBlock(b.Dispenser)
	for nesting := b.Nesting(); b.NextBlock(nesting); {
		if err := inner.once(); err != nil {
			return err
		}
		switch b.Val() {
		case "ca":
			if err := inner.many(&s.TLS.CAFiles, nil); err != nil {
				return err
			}
		case "certificate":
			if !b.AllArgs(&s.TLS.CertificateFile, &s.TLS.KeyFile) {
				return b.Errf("certificate takes two files, of the certificate and of its key")
			}
		case "server_name":
			if err := inner.one(&s.TLS.ServerName, nil); err != nil {
				return err
			}
		default:
			return b.Errf("unrecognized subdirective '%s'", b.Val())
		}
	}
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*RedisStore)(nil)
)
