package docs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// table returns the table after a comment, without its first two lines.
func table(t *testing.T, file, comment string) string {
	t.Helper()
	_, after, ok := strings.Cut(read(t, file), "<!-- "+comment+" -->\n")
	require.True(t, ok, comment)
	after, _, _ = strings.Cut(after, "\n\n")
	lines := strings.SplitAfterN(after, "\n", 3)
	require.Len(t, lines, 3)
	return lines[2]
}

// first returns the names in the first column of a table.
func first(table string) []string {
	var all []string
	for line := range strings.Lines(table) {
		column, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		all = append(all, names("`([^`]+)`", column)...)
	}
	slices.Sort(all)
	return all
}

// serving starts Caddy with pleo_api on a socket, and returns a client of it.
func serving(t *testing.T) *http.Client {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	socket := filepath.Join(dir, "api.sock")
	config, err := json.Marshal(map[string]any{
		"admin":   map[string]any{"disabled": true, "config": map[string]bool{"persist": false}},
		"storage": map[string]string{"module": "file_system", "root": dir},
		"apps": map[string]any{
			"pleo": map[string]string{
				"client_id": "acme", "redirect_uri": "http://localhost/pleo/callback", "authorise_uri": "http://localhost/pleo/authorise",
			},
			"http": map[string]any{"servers": map[string]any{"api": map[string]any{
				"listen": []string{"unix/" + socket},
				"routes": []any{map[string]any{"handle": []any{map[string]string{"handler": "pleo_api"}}}},
			}}},
		},
	})
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	t.Cleanup(func() { require.NoError(t, caddy.Stop()) })
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

func ask(t *testing.T, client *http.Client, method, path string) (status int, body map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, nil)
	require.NoError(t, err)
	res, err := client.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	_ = json.Unmarshal(text, &body)
	return res.StatusCode, body
}

// Each documented route answers, each other method is refused, and documents
// have the fields that are in the tables.
func TestTheAPIIsWhatItsPageSays(t *testing.T) {
	client := serving(t)
	documented := names("(?m)^\\| `([A-Z]+ /pleo/[^`]+)` \\|", read(t, "api.md"))
	paths := map[string]bool{}
	for _, route := range documented {
		_, path, _ := strings.Cut(route, " ")
		paths[path] = true
	}
	require.NotEmpty(t, paths)
	for path := range paths {
		for _, method := range []string{"GET", "POST", "DELETE", "PUT", "PATCH"} {
			status, body := ask(t, client, method, strings.ReplaceAll(path, "NAME", "acme"))
			expected := slices.Contains(documented, method+" "+path)
			require.Equal(t, expected, status != http.StatusMethodNotAllowed, "%s %s: %d %v", method, path, status, body)
			require.NotEqual(t, "urn:pleo-auth-proxy:no-such-route", body["type"], "%s %s", method, path)
		}
	}
	for _, action := range names(`(?m)^\t\t"([a-z-]+)": +\{http`, read(t, "../caddymodule/apiroutes.go")) {
		require.True(t, paths["/pleo/connections/NAME/"+action], "%s is not documented", action)
	}

	_, link := ask(t, client, "POST", "/pleo/connections/acme/authorise-url")
	require.ElementsMatch(t, fields(reflect.TypeFor[pleoauth.RekeyReport]()), first(table(t, "api.md", "fields: report")))
	require.Equal(t, first(table(t, "api.md", "fields: link")), slices.Sorted(maps.Keys(link)))
	require.Contains(t, read(t, "api.md"), fmt.Sprintf("for %.0f minutes", link["expires_in"].(float64)/60))
	_, page := ask(t, client, "GET", "/pleo/connections")
	require.Subset(t, first(table(t, "api.md", "fields: page")), slices.Collect(maps.Keys(page)))
	info := fields(reflect.TypeFor[pleoauth.ConnectionInfo]())
	slices.Sort(info)
	require.Equal(t, info, first(table(t, "api.md", "fields: connection")))
}

// source returns the code of the package caddymodule, without its tests.
func source(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../caddymodule/*.go")
	require.NoError(t, err)
	var all strings.Builder
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			all.WriteString(read(t, file))
		}
	}
	return all.String()
}

func TestExitCodesAreDocumented(t *testing.T) {
	inCode := names(`(?m)^\texit[A-Z][A-Za-z]+ += ([0-9]+)`, source(t))
	require.Greater(t, len(inCode), 3)
	require.Equal(t, append([]string{"0"}, inCode...), names(`(?m)^\| ([0-9]) \|`, table(t, "api.md", "exit codes")))
}

// The page has every command that asks a running proxy, and every flag is one.
func TestCommandsThatAskAProxyAreDocumented(t *testing.T) {
	pleo := new(cobra.Command)
	caddycmd.Commands()["pleo"].CobraFunc(pleo)
	text := table(t, "api.md", "commands")
	_, section, _ := strings.Cut(read(t, "api.md"), "## The command line")
	flags := map[string]bool{}
	for _, c := range pleo.Commands() {
		if c.Flags().Lookup("config") == nil {
			continue
		}
		require.Regexp(t, "(?m)^\\| `pleo-auth-proxy pleo "+c.Name()+"( NAME)?` \\|", text)
		for _, flag := range names("`(?:[a-z ]+ )?(--[a-z-]+)", section) {
			flags[flag] = flags[flag] || c.Flags().Lookup(flag[2:]) != nil
		}
	}
	require.Subset(t, slices.Collect(maps.Keys(flags)), []string{"--address", "--json", "--state", "--return-to"})
	for flag, known := range flags {
		require.True(t, known, flag)
	}
}
