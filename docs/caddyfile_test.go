package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"

	_ "github.com/pleo-auth-proxy/pleo-auth-proxy/caddymodule"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestCaddyfilesInDocuments(t *testing.T) {
	for _, b := range blocksOf(t, "caddyfile") {
		t.Run(strings.TrimSpace(b.file+" "+b.comment), func(t *testing.T) {
			requireFormatted(t, b.text)
			config := adapt(t, whole(t, b))
			if !strings.Contains(b.text, "/etc/") { // files that a reader has, and we have not
				provision(t, config)
			}
		})
	}
}

// whole makes a configuration of a block.
func whole(t *testing.T, b block) string {
	t.Helper()
	option := "client_id acme-expenses\nredirect_uri http://localhost:8080/pleo/callback\n"
	switch b.comment {
	case "":
		require.True(t, strings.HasPrefix(strings.TrimSpace(b.text), "{"), "neither whole nor marked as a fragment:\n%s", b.text)
		return b.text
	case "fragment: pleo":
		if !strings.Contains(b.text, "encryption_key") {
			option += "encryption_key {env.PLEO_ENCRYPTION_KEY}\n"
		}
		return "{\npleo {\n" + option + b.text + "}\n}\n"
	case "fragment: site":
		return "{\npleo {\n" + option + "}\n}\nhttp://:7536 {\n" + b.text + "}\n"
	}
	require.Fail(t, "unknown comment", b.comment)
	return ""
}

func TestJSONInDocuments(t *testing.T) {
	for _, b := range blocksOf(t, "json") {
		provision(t, []byte(b.text))
	}
}

func TestExampleCaddyfile(t *testing.T) {
	text := read(t, "../Caddyfile.example")
	requireFormatted(t, text)
	for _, m := range regexp.MustCompile(`export ([A-Z_]+)=(\S+)`).FindAllStringSubmatch(read(t, "../README.md"), -1) {
		t.Setenv(m[1], m[2])
	}
	provision(t, adapt(t, text))
}

// The README's walk sets what the example reads, and nothing else.
func TestExampleIsWhatTheReadmeSets(t *testing.T) {
	example := read(t, "../Caddyfile.example")
	exported := names(`export ([A-Z_]+)=`, read(t, "../README.md"))
	require.Equal(t, names(`(?m)^[^#\n]*\{(?:env\.|\$)([A-Z_]+)`, example), exported)
	required := regexp.MustCompile(`require_env (.*)`).FindStringSubmatch(example)
	require.ElementsMatch(t, names(`(?m)^[^#\n]*\{\$([A-Z_]+)`, example), strings.Fields(required[1]))
}

func names(pattern, text string) []string {
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

func requireFormatted(t *testing.T, text string) {
	t.Helper()
	require.Equal(t, string(caddyfile.Format([]byte(text))), text, "caddy fmt would change it")
}

func adapt(t *testing.T, text string) []byte {
	t.Helper()
	config, err := tryToAdapt(text)
	require.NoError(t, err, text)
	return config
}

func tryToAdapt(text string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// provision does what `validate` does, with every variable and secret file that
// the configuration names.
func provision(t *testing.T, config []byte) {
	t.Helper()
	for _, name := range names(`\{env\.([A-Z_]+)\}`, string(config)) {
		t.Setenv(name, secret(name))
	}
	for i, path := range names(`\{file\.([^}]+)\}`, string(config)) {
		file := filepath.Join(t.TempDir(), fmt.Sprint(i))
		require.NoError(t, os.WriteFile(file, []byte(secret(path)), 0o600))
		config = bytes.ReplaceAll(config, []byte("{file."+path+"}"), []byte("{file."+file+"}"))
	}
	var c caddy.Config
	require.NoError(t, json.Unmarshal(config, &c))
	require.NoError(t, caddy.Validate(&c))
}

// secret makes up what a variable or a file of this name holds.
func secret(name string) string {
	switch name = strings.ToUpper(name); {
	case strings.HasSuffix(name, "WEBHOOK_SECRET"):
		return "whsec_" + pleoauth.GenerateKey()
	case strings.HasSuffix(name, "_KEY"):
		return pleoauth.GenerateKey()
	case strings.HasSuffix(name, "_URL"):
		return "redis://localhost:6379/0"
	}
	return "example"
}
