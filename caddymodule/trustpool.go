package caddymodule

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
)

// trustPool has the certificates that Pleo's servers are checked against.
type trustPool struct {
	roots *x509.CertPool
	// key tells pools apart: a reload with another one is another source.
	key string
}

// unmarshalTrustPool takes the option tls_trust_pool, as `transport http` has it.
func (a *App) unmarshalTrustPool(b optionBlock) error {
	if !b.NextArg() {
		return b.Errf("tls_trust_pool needs the name of a module, such as file")
	}
	name := b.Val()
	module, err := caddyfile.UnmarshalModule(b.Dispenser, "tls.ca_pool.source."+name)
	if err != nil {
		return err
	}
	pool, ok := module.(caddytls.CA)
	if !ok {
		return b.Errf("tls_trust_pool: module %T has no certificates", module)
	}
	a.TrustPoolRaw = caddyconfig.JSONModuleObject(pool, "provider", name, nil)
	return nil
}

// provisionTrustPool loads the certificates, if the option is given.
func (a *App) provisionTrustPool(ctx caddy.Context) error {
	if a.TrustPoolRaw == nil {
		return nil
	}
	text := a.TrustPoolRaw // loading it takes it away
	module, err := ctx.LoadModule(a, "TrustPoolRaw")
	if err != nil {
		return fmt.Errorf("tls_trust_pool: %w", err)
	}
	a.TrustPoolRaw = text
	pool, ok := module.(caddytls.CA)
	if !ok {
		return fmt.Errorf("tls_trust_pool: module %T has no certificates", module)
	}
	sum := sha256.New()
	sum.Write(text)
	if certificates, ok := module.(caddytls.CertificateProvider); ok { // a file may have others by now
		for _, certificate := range certificates.Certificates() {
			sum.Write(certificate.Raw)
		}
	}
	a.trust = &trustPool{roots: pool.CertPool(), key: hex.EncodeToString(sum.Sum(nil))}
	return nil
}
