package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mistake is a Caddyfile that must not start, and what has to be said of it.
type mistake struct {
	name string
	// options are those of pleo after client_id, which is in line 3; sites
	// follow the block. A whole text takes the place of both.
	options, sites, text string
	env                  []string
	// says is in the message, which names line, or with 0 no line.
	says []string
	line int
	// hides must not be in the message.
	hides string
}

// mistakesInTheText are to be found in the Caddyfile itself.
var mistakesInTheText = []mistake{
	{name: "unknown option", options: "clientsecret x", says: []string{"clientsecret"}, line: 4},
	{name: "client id missing", text: "{\n\tpleo {\n\t\tenvironment staging\n\t}\n}\nhttp://:{port} {\n\tpleo_proxy\n}\n", says: []string{"client_id"}, line: -1},
	{name: "client id empty", text: "{\n\tpleo {\n\t\tclient_id \"\"\n\t}\n}\n", says: []string{"client_id is empty"}, line: 3},
	{name: "option without its argument", options: "redirect_uri", says: []string{"redirect_uri takes exactly one argument"}, line: 4},
	{name: "too many arguments", options: "environment staging production", says: []string{"environment takes exactly one argument"}, line: 4},
	{name: "environment unknown", options: "environment test", says: []string{"environment", "test"}, line: 4},
	{name: "auth_server is no URL", options: "auth_server auth.pleo.io", says: []string{"auth_server", "auth.pleo.io"}, line: 4},
	{name: "auth_server plain HTTP", options: "auth_server http://auth.example.com", says: []string{"auth_server", "plain HTTP"}, line: 4},
	{name: "api_server plain HTTP", options: "api_server http://10.0.0.1", says: []string{"api_server", "plain HTTP"}, line: 4},
	{name: "api_server with a path", options: "api_server https://external.pleo.io/v2", says: []string{"api_server"}, line: 4},
	{name: "api_server is a placeholder", options: "api_server {env.API}", says: []string{"api_server", "literal"}, line: 4},
	{name: "redirect_uri plain HTTP", options: "redirect_uri http://integration.example.com/cb", says: []string{"redirect_uri", "HTTPS"}, line: 4},
	{name: "redirect_uri with a fragment", options: "redirect_uri https://integration.example.com/cb#x", says: []string{"redirect_uri", "fragment"}, line: 4},
	{name: "authorise_uri is no URL", options: "authorise_uri /pleo/authorise", says: []string{"authorise_uri"}, line: 4},
	{name: "scope", options: `scopes "users read"`, says: []string{"scopes"}, line: 4},
	{name: "duration is none", options: "refresh_before soon", says: []string{"refresh_before", "soon"}, line: 4},
	{name: "duration out of range", options: "keep_alive 90d", says: []string{"keep_alive"}, line: 4},
	{name: "duration of zero", options: "refresh_timeout 0s", says: []string{"refresh_timeout"}, line: 4},
	{name: "key too short", options: "encryption_key c2hvcnQ=", says: []string{"encryption_key", "32"}, line: 4, hides: "c2hvcnQ="},
	{name: "key is no base64", options: "encryption_key not-base64!", says: []string{"encryption_key"}, line: 4, hides: "not-base64!"},
	{name: "option repeated", options: "scopes users:read\n\t\tscopes export:read", says: []string{"scopes already specified"}, line: 5},
	{name: "second block", text: "{\n\tpleo {\n\t\tclient_id acme\n\t}\n\tpleo {\n\t\tclient_id other\n\t}\n}\n", says: []string{"pleo is already specified"}, line: -1},
	{name: "store unknown", options: "store memcached", says: []string{"store", "memcached"}, line: 4},
	{name: "store redis without a server", options: "store redis", says: []string{"store redis"}, line: 4},
	{name: "store redis with another scheme", options: "store redis http://redis:6379", says: []string{"store redis"}, line: 4},
	{name: "store redis option unknown", options: "store redis redis://redis {\n\t\t\tdatabase 1\n\t\t}", says: []string{"database"}, line: 5},
	{name: "flag with an argument", options: "require_ticket yes", says: []string{"require_ticket"}, line: 4},
	{name: "API option unknown", sites: "http://:{port} {\n\tpleo_api {\n\t\tallow_client 10.0.0.1\n\t}\n}", says: []string{"allow_client"}, line: 8},
	{name: "return_to_origins", options: "return_to_origins https://app.example.com/path", says: []string{"return_to_origins"}, line: 4},
	{name: "proxy without the global option", text: "http://:{port} {\n\tpleo_proxy\n}\n", says: []string{"pleo_proxy", "global option pleo"}, line: 2},
	{name: "callback without redirect_uri", sites: "http://:{port} {\n\tpleo_callback /cb\n}", says: []string{"pleo_callback", "redirect_uri"}, line: 7},
	{name: "proxy option unknown", sites: "http://:{port} {\n\tpleo_proxy {\n\t\tconection a\n\t}\n}", says: []string{"conection"}, line: 8},
	{name: "connection malformed", sites: "http://:{port} {\n\tpleo_proxy {\n\t\tconnection a/b\n\t}\n}", says: []string{"connection"}, line: 8},
	{name: "connection repeated", sites: "http://:{port} {\n\tpleo_proxy {\n\t\tconnection a\n\t\tconnection b\n\t}\n}", says: []string{"connection already specified"}, line: 9},
	{name: "clients malformed", sites: "http://:{port} {\n\tpleo_proxy {\n\t\tallow_clients 10.0.0.0/99\n\t}\n}", says: []string{"allow_clients"}, line: 8},
	{name: "replay_buffer malformed", sites: "http://:{port} {\n\tpleo_proxy {\n\t\treplay_buffer much\n\t}\n}", says: []string{"replay_buffer", "much"}, line: 8},
	{name: "option that judges answers", sites: "http://:{port} {\n\tpleo_proxy {\n\t\tmax_fails 3\n\t}\n}", says: []string{"max_fails"}, line: 8},
	{name: "certificates not checked", sites: "http://:{port} {\n\tpleo_proxy {\n\t\ttransport pleo {\n\t\t\ttls_insecure_skip_verify\n\t\t}\n\t}\n}", says: []string{"tls_insecure_skip_verify"}, line: 9},
	{name: "another server name", sites: "http://:{port} {\n\tpleo_proxy {\n\t\ttransport pleo {\n\t\t\ttls_server_name evil.example\n\t\t}\n\t}\n}", says: []string{"tls_server_name"}, line: 9},
	{name: "plain HTTP upstream", sites: "http://:{port} {\n\tpleo_proxy {\n\t\tto http://10.0.0.1\n\t}\n}", says: []string{"to:", "http://10.0.0.1"}, line: 8},
}

// mistakesInTheEnvironment show only when placeholders are resolved: they name
// the option and the placeholder.
var mistakesInTheEnvironment = []mistake{
	{name: "variable not set", options: "client_secret {env.PLEO_TEST_NONE}", says: []string{"client_secret", "env.PLEO_TEST_NONE"}},
	{name: "variable empty", options: "client_secret {env.PLEO_TEST_EMPTY}", env: []string{"PLEO_TEST_EMPTY="}, says: []string{"client_secret", "env.PLEO_TEST_EMPTY"}},
	{name: "client id empty", text: "{\n\tpleo {\n\t\tclient_id {env.PLEO_TEST_EMPTY}\n\t}\n}\n", env: []string{"PLEO_TEST_EMPTY="}, says: []string{"client_id", "env.PLEO_TEST_EMPTY"}},
	{name: "secret file missing", options: "client_secret {file./nonexistent/secret}", says: []string{"client_secret", "/nonexistent/secret"}},
	{name: "secret file empty", options: "client_secret {file.{dir}/empty}", says: []string{"client_secret", "/empty"}},
	{name: "key file missing", options: "encryption_key {file./nonexistent/key}", says: []string{"encryption_key", "/nonexistent/key"}},
	{name: "key malformed", options: "encryption_key {env.PLEO_TEST_KEY}", env: []string{"PLEO_TEST_KEY=dG9vIHNob3J0"}, says: []string{"encryption_key"}, hides: "dG9vIHNob3J0"},
	{name: "store without a key", options: "store redis redis://127.0.0.1:1", says: []string{"encryption_key", "pleo-auth-proxy pleo keygen"}},
	{name: "store URL empty", options: "store redis {env.PLEO_TEST_EMPTY}\n\t\tencryption_key {env.PLEO_ENCRYPTION_KEY}", env: []string{"PLEO_TEST_EMPTY="}, says: []string{"store", "env.PLEO_TEST_EMPTY"}},
	{name: "store URL malformed", options: "store redis {env.PLEO_TEST_URL}\n\t\tencryption_key {env.PLEO_ENCRYPTION_KEY}", env: []string{"PLEO_TEST_URL=http://:pass-word@redis"}, says: []string{"store"}, hides: "pass-word"},
	{name: "store password missing", options: "store redis redis://127.0.0.1:1 {\n\t\t\tpassword {env.PLEO_TEST_NONE}\n\t\t}\n\t\tencryption_key {env.PLEO_ENCRYPTION_KEY}", says: []string{"password", "env.PLEO_TEST_NONE"}},
	{name: "store certificate missing", options: "store redis rediss://127.0.0.1:1 {\n\t\t\ttls {\n\t\t\t\tca /nonexistent/ca.pem\n\t\t\t}\n\t\t}\n\t\tencryption_key {env.PLEO_ENCRYPTION_KEY}", says: []string{"store redis", "/nonexistent/ca.pem"}},
	{name: "redirect_uri plain HTTP", options: "redirect_uri {env.PLEO_TEST_URL}", env: []string{"PLEO_TEST_URL=http://integration.example.com/cb"}, says: []string{"redirect_uri", "HTTPS"}},
	{name: "authorise_uri is no URL", options: "authorise_uri {env.PLEO_TEST_URL}", env: []string{"PLEO_TEST_URL=nowhere"}, says: []string{"authorise_uri"}},
	{name: "scope", options: "scopes {env.PLEO_TEST_URL}", env: []string{"PLEO_TEST_URL=users read"}, says: []string{"scopes"}},
}

// tried is what a command says of a mistake.
func (m mistake) tried(t *testing.T, command string) (file, out string) {
	t.Helper()
	dir, env := home(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600))
	text := m.text
	if text == "" {
		text = "{\n\tpleo {\n\t\tclient_id acme\n\t\t" + m.options + "\n\t}\n}\n" + m.sites + "\n"
		if m.options == "" {
			text = "{\n\tpleo {\n\t\tclient_id acme\n\t}\n}\n" + m.sites + "\n"
		}
	}
	text = strings.NewReplacer("{port}", fmt.Sprint(freePorts(t, 1)), "{dir}", dir).Replace(text)
	// The admin endpoint must not be in the way of the mistake.
	env = append(env, "CADDY_ADMIN=unix/"+filepath.Join(dir, "admin.sock"), "PLEO_ENCRYPTION_KEY="+sealingKey)
	file = filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	code, out := runProgram(t, append(env, m.env...), nil, proxyBinary, command, "--config", file)
	require.NotZero(t, code, "it does not fail:\n%s\n%s", text, out)
	return file, out
}

func (m mistake) check(t *testing.T, command string) {
	t.Helper()
	file, out := m.tried(t, command)
	for _, s := range m.says {
		require.Contains(t, out, s)
	}
	if m.hides != "" {
		require.NotContains(t, out, m.hides)
	}
	switch {
	case m.line > 0:
		require.Contains(t, out, fmt.Sprintf("%s:%d", file, m.line))
	case m.line < 0: // about a whole block
		require.Contains(t, out, file+":")
	}
}

func TestEveryMistakeInTheCaddyfileIsAStartUpErrorThatNamesTheOption(t *testing.T) {
	t.Parallel()
	for i, m := range append(mistakesInTheText, mistakesInTheEnvironment...) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			m.check(t, "validate")
			if i%8 == 0 { // it is the same code that starts
				m.check(t, "run")
			}
		})
	}
}

func TestAConfigurationWithoutMistakesIsValidAndValidatingMakesNothing(t *testing.T) {
	t.Parallel()
	dir, env := home(t)
	file := filepath.Join(dir, "Caddyfile")
	require.NoError(t, os.WriteFile(file, []byte("{\n\tpleo {\n\t\tclient_id acme\n\t}\n}\nhttp://:1 {\n\tpleo_proxy\n}\n"), 0o600))
	code, out := runProgram(t, env, nil, proxyBinary, "validate", "--config", file)
	require.Zero(t, code, out)
	require.Equal(t, []string{file}, filesUnder(t, dir), "no key either, which the store caddy makes at start")
}
