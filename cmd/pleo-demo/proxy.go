package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/pleo-auth-proxy/pleo-auth-proxy/caddymodule"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

//go:embed Caddyfile.tmpl
var caddyfile string

//go:embed page.html
var page []byte

// startProxy runs Caddy in this process, with a configuration of its own and
// its data in the demo's folder: nothing of the user's Caddy is touched.
func startProxy(s settings, pleo *pleotest.Server) (stop func(), err error) {
	if err := os.Setenv("XDG_DATA_HOME", filepath.Join(s.dir, "data")); err != nil {
		return nil, err
	}
	if err := os.Setenv("XDG_CONFIG_HOME", filepath.Join(s.dir, "config")); err != nil {
		return nil, err
	}
	key, err := encryptionKey(filepath.Join(s.dir, "encryption_key"))
	if err != nil {
		return nil, err
	}
	// The configuration reads its secrets as in real life.
	for name, value := range map[string]string{"PLEO_CLIENT_SECRET": pleo.ClientSecret, "PLEO_ENCRYPTION_KEY": key} {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	www := filepath.Join(s.dir, "www")
	if err := os.MkdirAll(www, 0o700); err != nil {
		return nil, err
	}
	index := strings.ReplaceAll(string(page), "{{origin}}", s.origin())
	if err := os.WriteFile(filepath.Join(www, "index.html"), []byte(index), 0o600); err != nil { //nolint:gosec // the user's own -dir
		return nil, err
	}
	text, err := configuration(s, pleo)
	if err != nil {
		return nil, err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "pleo-demo"})
	if err != nil {
		return nil, fmt.Errorf("adapting the configuration: %w", err)
	}
	if err := caddy.Load(config, true); err != nil {
		return nil, fmt.Errorf("starting the proxy (another -port may help): %w", err)
	}
	return func() { _ = caddy.Stop() }, nil
}

func configuration(s settings, pleo *pleotest.Server) (string, error) {
	t, err := template.New("Caddyfile").Parse(caddyfile)
	if err != nil {
		return "", err
	}
	level := "INFO"
	if s.verbose {
		level = "DEBUG"
	}
	var text strings.Builder
	err = t.Execute(&text, map[string]any{
		"Storage": filepath.Join(s.dir, "store"), "WWW": filepath.Join(s.dir, "www"), "Log": filepath.Join(s.dir, "proxy.log"), "Level": level,
		"Auth": pleo.AuthURL, "API": pleo.APIURL, "ClientID": pleo.ClientID,
		"Redirect": s.redirectURI(), "Authorise": s.origin() + "/pleo/authorise", "Port": s.port,
	})
	return text.String(), err
}

// encryptionKey returns the key that the demo made at its first start.
func encryptionKey(path string) (string, error) {
	key, err := os.ReadFile(path) //nolint:gosec // in the user's own -dir
	if err == nil {
		return string(key), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	made := pleoauth.GenerateKey()
	return made, os.WriteFile(path, []byte(made), 0o600)
}
