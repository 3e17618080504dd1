package caddymodule_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func validate(t *testing.T, caddyfile string) error {
	t.Helper()
	config, err := adapt(caddyfile)
	require.NoError(t, err)
	var cfg *caddy.Config
	require.NoError(t, caddy.StrictUnmarshalJSON(config, &cfg))
	return caddy.Validate(cfg)
}

func withApp(options ...string) string {
	return "{\n\tadmin off\n\tpleo {\n\t\t" + strings.Join(options, "\n\t\t") + "\n\t}\n}\n"
}

func TestWhatOnlyTheEnvironmentShowsNamesOptionAndPlaceholder(t *testing.T) {
	t.Setenv("TEST_EMPTY", "")
	t.Setenv("TEST_BAD_KEY", "c2hvcnQ=")
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	t.Setenv("TEST_BAD_URL", "http://user:hunter2@redis:6379")
	t.Setenv("TEST_PLAIN", "http://integration.example.com/callback")
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for name, c := range map[string]struct {
		options  []string
		expected []string
	}{
		"an empty variable":         {[]string{"client_id {env.TEST_EMPTY}"}, []string{"client_id", "{env.TEST_EMPTY}"}},
		"a missing variable":        {[]string{"client_id acme", "client_secret {env.TEST_NOT_THERE}"}, []string{"client_secret", "{env.TEST_NOT_THERE}"}},
		"a missing file":            {[]string{"client_id acme", "client_secret {file./does/not/exist}"}, []string{"client_secret", "{file./does/not/exist}", "is the file there"}},
		"an empty file":             {[]string{"client_id acme", "encryption_key {file." + empty + "}"}, []string{"encryption_key", empty}},
		"an unknown placeholder":    {[]string{"client_id {nonsense.X}"}, []string{"client_id", "{nonsense.X}"}},
		"a bad key":                 {[]string{"client_id acme", "encryption_key {env.TEST_KEY} {env.TEST_BAD_KEY}"}, []string{"encryption_key 2 of 2", "5 bytes"}},
		"a bad redirect URI":        {[]string{"client_id acme", "redirect_uri {env.TEST_PLAIN}"}, []string{"redirect_uri", "HTTPS"}},
		"a bad authorise URI":       {[]string{"client_id acme", "authorise_uri {env.HOME}"}, []string{"authorise_uri"}},
		"a bad origin":              {[]string{"client_id acme", "return_to_origins {env.HOME}"}, []string{"return_to_origins"}},
		"a bad scope":               {[]string{"client_id acme", "scopes {env.TEST_EMPTY}"}, []string{"scopes", "{env.TEST_EMPTY}"}},
		"no key for Redis":          {[]string{"client_id acme", "store redis redis://redis:6379"}, []string{"encryption_key is missing", "pleo-auth-proxy pleo keygen"}},
		"a bad URL of Redis":        {[]string{"client_id acme", "encryption_key {env.TEST_KEY}", "store redis {env.TEST_BAD_URL}"}, []string{"store redis", "scheme"}},
		"a missing password":        {[]string{"client_id acme", "encryption_key {env.TEST_KEY}", "store redis redis://a {\n\t\t\tusername app\n\t\t\tpassword {env.TEST_NOT_THERE}\n\t\t}"}, []string{"store redis: password", "{env.TEST_NOT_THERE}"}},
		"a missing CA file":         {[]string{"client_id acme", "encryption_key {env.TEST_KEY}", "store redis redis://a {\n\t\t\ttls {\n\t\t\t\tca /does/not/exist\n\t\t\t}\n\t\t}"}, []string{"store redis: tls ca", "/does/not/exist"}},
		"a CA file of another kind": {[]string{"client_id acme", "encryption_key {env.TEST_KEY}", "store redis redis://a {\n\t\t\ttls {\n\t\t\t\tca " + empty + "\n\t\t\t}\n\t\t}"}, []string{"store redis: tls ca", "no certificate"}},
		"several servers, no kind":  {[]string{"client_id acme", "encryption_key {env.TEST_KEY}", "store redis {\n\t\t\taddress a:1 b:1\n\t\t}"}, []string{"store redis", "master_name or cluster"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := validate(t, withApp(c.options...))
			require.Error(t, err)
			for _, part := range c.expected {
				require.ErrorContains(t, err, part)
			}
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "c2hvcnQ")
		})
	}
}

func TestAllMissingVariablesAreNamedAtOnce(t *testing.T) {
	t.Setenv("TEST_EMPTY", "")
	err := validate(t, withApp("client_id {env.TEST_GONE_A}", "client_secret {env.TEST_EMPTY}", "store redis redis://a {\n\t\t\tpassword {env.TEST_GONE_B}\n\t\t}",
		"encryption_key {env.TEST_GONE_C}", "notify https://app.example.com {\n\t\t\tsecret {env.TEST_GONE_A} {env.TEST_GONE_D}\n\t\t}"))
	for _, name := range []string{"TEST_EMPTY", "TEST_GONE_A", "TEST_GONE_B", "TEST_GONE_C", "TEST_GONE_D"} {
		require.ErrorContains(t, err, name)
	}
	require.Equal(t, 1, strings.Count(err.Error(), "TEST_GONE_A"))
}

func TestVariablesThatTheCaddyfileIsWrittenWithAreRequired(t *testing.T) {
	t.Setenv("TEST_EMPTY", "")
	t.Setenv("TEST_SET", "https://auth.example.com")
	_, err := adapt(withApp("require_env TEST_EMPTY TEST_SET TEST_GONE", "auth_server {$TEST_EMPTY}", "client_id acme"))
	require.ErrorContains(t, err, "require_env: these environment variables are not set: TEST_EMPTY, TEST_GONE")
	_, err = adapt(withApp("require_env TEST_SET TEST_GONE", "auth_server {$TEST_SET}", "client_id acme"))
	require.ErrorContains(t, err, "the environment variable TEST_GONE is not set")
	_, err = adapt(withApp("require_env", "client_id acme"))
	require.ErrorContains(t, err, "require_env takes one argument or more")
	require.NoError(t, validate(t, withApp("require_env TEST_SET", "auth_server {$TEST_SET}", "client_id acme")))
}

// What editors and tools put around a secret is no part of it: a client secret with
// a line break is another secret, and Pleo would refuse it without a hint.
func TestALineBreakOrAByteOrderMarkAroundAValueIsTakenOff(t *testing.T) {
	key := pleoauth.GenerateKey()
	for name, around := range map[string][2]string{
		"two line breaks": {"", "\n\n"}, "CR and LF twice": {"", "\r\n\r\n"}, "a byte order mark": {"\ufeff", "\n"}, "a line break before": {"\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "value")
			require.NoError(t, os.WriteFile(file, []byte(around[0]+key+around[1]), 0o600))
			t.Setenv("TEST_AROUND", around[0]+key+around[1])
			for _, from := range []string{"{file." + file + "}", "{env.TEST_AROUND}"} {
				// A key with anything around it is refused.
				require.NoError(t, validate(t, withApp("client_id acme", "encryption_key "+from)))
			}
		})
	}
}

func TestAValueOfSeveralLinesIsRefusedAndNotShown(t *testing.T) {
	for name, value := range map[string]string{
		"a line break inside": "hunter2\nsecond", "nothing but line breaks": "\n\n\n", "UTF-16": "\xff\xfeh\x00u\x00", "a NUL": "hunter2\x00",
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "value")
			require.NoError(t, os.WriteFile(file, []byte(value), 0o600))
			for option, app := range map[string]string{
				"client_id":     withApp("client_id {file." + file + "}"),
				"client_secret": withApp("client_id acme", "client_secret {file."+file+"}"),
			} {
				err := validate(t, app)
				require.ErrorContains(t, err, option+": the value")
				require.NotContains(t, err.Error(), "hunter2")
			}
		})
	}
}

// A literal secret may have braces, and no error may show what is in them.
func TestNoErrorShowsASecretOrAPartOfIt(t *testing.T) {
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	t.Setenv("TEST_SECRET", "whsec_"+pleoauth.GenerateKey())
	redis := func(options string) string {
		return "store redis redis://a {\n\t\t\tusername app\n\t\t\t" + options + "\n\t\t}"
	}
	for name, option := range map[string]string{
		"client_secret":             "client_secret pa{hunter2}ss",
		"a second client_secret":    "client_secret {env.TEST_KEY} pa{hunter2}ss",
		"encryption_key in braces":  "encryption_key {hunter2}",
		"encryption_key":            "encryption_key hunter2",
		"the URL of Redis":          "store redis redis://:{hunter2}@a",
		"a URL that is not one":     "store redis redis://:hunter2%zz@a",
		"a URL of another scheme":   "store redis http://:hunter2@a",
		"a password of Redis":       redis("password {hunter2}"),
		"a password of Sentinel":    redis("sentinel_password a{hunter2}"),
		"two passwords":             redis("password hunter2 hunter2"),
		"the secret of webhooks":    "notify https://app.example.com {\n\t\t\tsecret {hunter2}\n\t\t}",
		"a bad secret of webhooks":  "notify https://app.example.com {\n\t\t\tsecret whsec_hunter2\n\t\t}",
		"a password in notify":      "notify https://user:{hunter2}@app.example.com {\n\t\t\tsecret {env.TEST_SECRET}\n\t\t}",
		"a bad URL in notify":       "notify http://user:hunter2@app.example.com {\n\t\t\tsecret {env.TEST_SECRET}\n\t\t}",
		"a password in auth_server": "auth_server https://user:hunter2@auth.example.com",
	} {
		t.Run(name, func(t *testing.T) {
			text := withApp("client_id acme", option)
			if !strings.Contains(option, "encryption_key") {
				text = withApp("client_id acme", "encryption_key {env.TEST_KEY}", option)
			}
			config, err := adapt(text)
			if err == nil {
				var cfg *caddy.Config
				require.NoError(t, caddy.StrictUnmarshalJSON(config, &cfg))
				err = caddy.Validate(cfg)
			}
			require.Error(t, err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	// What the message advises works.
	require.NoError(t, validate(t, withApp("client_id acme", "client_secret `pa\\{hunter2}ss`")))
}

func TestJSONIsJudgedAsTheCaddyfileIs(t *testing.T) {
	app := `"pleo":{"client_id":"acme"%s}`
	http := `,"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"routes":[{"handle":[%s]}]}}}`
	proxy := func(options string) string {
		return fmt.Sprintf(http, `{"handler":"reverse_proxy","upstreams":[{"dial":"external.pleo.io:443"}],"transport":{"protocol":"pleo"`+options+`}}`)
	}
	for name, c := range map[string]struct{ apps, expected string }{
		"good":                      {fmt.Sprintf(app, `,"refresh_before":"2m","keep_alive":"20d"`) + proxy(`,"connection":"acme","replay_buffer":0`), ""},
		"an unknown field":          {fmt.Sprintf(app, `,"client_secrt":"x"`), "client_secrt"},
		"an unknown field below":    {fmt.Sprintf(app, "") + proxy(`,"conection":"acme"`), "conection"},
		"no client id":              {`"pleo":{}`, "client_id is missing"},
		"an environment":            {fmt.Sprintf(app, `,"environment":"test"`), "environment"},
		"a placeholder":             {fmt.Sprintf(app, `,"api_server":"{env.HOME}"`), "api_server: it must be a literal URL"},
		"a plain server":            {fmt.Sprintf(app, `,"api_server":"http://example.com"`), "api_server"},
		"tickets without a link":    {fmt.Sprintf(app, `,"require_ticket":true,"redirect_uri":"http://localhost/cb"`) + fmt.Sprintf(http, `{"handler":"pleo_authorise"}`), "require_ticket needs authorise_uri"},
		"an API's client":           {fmt.Sprintf(app, "") + fmt.Sprintf(http, `{"handler":"pleo_api","allow_clients":["x"]}`), "allow_clients"},
		"an API alone":              {strings.TrimPrefix(fmt.Sprintf(http, `{"handler":"pleo_api"}`), ","), "pleo_api needs the app pleo"},
		"a duration":                {fmt.Sprintf(app, `,"keep_alive":"90d"`), "keep_alive"},
		"an unknown store":          {fmt.Sprintf(app, `,"store":{"module":"postgres"}`), "store"},
		"Redis without address":     {fmt.Sprintf(app, `,"store":{"module":"redis"}`), "address is missing"},
		"URL and address":           {fmt.Sprintf(app, `,"store":{"module":"redis","url":"redis://a","addresses":["b:1"]}`), "exclude each other"},
		"a connection":              {fmt.Sprintf(app, "") + proxy(`,"connection":"a/b"`), "connection"},
		"a client":                  {fmt.Sprintf(app, "") + proxy(`,"allow_clients":["localhost"]`), "allow_clients"},
		"a host":                    {fmt.Sprintf(app, "") + proxy(`,"allow_hosts":["a:1"]`), "allow_hosts"},
		"a buffer":                  {fmt.Sprintf(app, "") + proxy(`,"replay_buffer":-1`), "replay_buffer"},
		"no check of certificates":  {fmt.Sprintf(app, "") + proxy(`,"tls":{"insecure_skip_verify":true}`), "tls_insecure_skip_verify"},
		"another server name":       {fmt.Sprintf(app, "") + proxy(`,"tls":{"server_name":"evil.example.com"}`), "tls_server_name"},
		"a server name by the call": {fmt.Sprintf(app, "") + proxy(`,"tls":{"server_name":"{http.request.host}"}`), "tls_server_name"},
		"ports without TLS":         {fmt.Sprintf(app, "") + proxy(`,"tls":{"except_ports":["80"]}`), "tls_except_ports"},
		"HTTP/3":                    {fmt.Sprintf(app, "") + proxy(`,"versions":["3"],"tls":{}`), "HTTP/3"},
		"TLS to a plain server":     {fmt.Sprintf(app, `,"api_server":"http://127.0.0.1:1"`) + proxy(`,"tls":{}`), "tls: api_server is plain HTTP"},
		"a transport alone":         {strings.TrimPrefix(proxy(""), ","), "transport pleo needs the app pleo"},
		"health alone":              {strings.TrimPrefix(fmt.Sprintf(http, `{"handler":"pleo_health"}`), ","), "pleo_health needs the app pleo"},
		"authorise without return":  {fmt.Sprintf(app, "") + fmt.Sprintf(http, `{"handler":"pleo_authorise"}`), "pleo_authorise needs redirect_uri"},
		"callback without return":   {fmt.Sprintf(app, "") + fmt.Sprintf(http, `{"handler":"pleo_callback"}`), "pleo_callback needs redirect_uri"},
	} {
		t.Run(name, func(t *testing.T) {
			var cfg *caddy.Config
			err := caddy.StrictUnmarshalJSON([]byte(`{"admin":{"disabled":true},"apps":{`+c.apps+`}}`), &cfg)
			require.NoError(t, err)
			err = caddy.Validate(cfg)
			if c.expected == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.expected)
		})
	}
}

func TestValidateAsksNobodyAndMakesNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var asked atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			_ = conn.Close()
		}
	}()
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	require.NoError(t, validate(t, withApp("client_id acme", "auth_server http://"+l.Addr().String(), "encryption_key {env.TEST_KEY}",
		"store redis redis://"+l.Addr().String())))
	require.Zero(t, asked.Load())

	dir := t.TempDir()
	config := fmt.Sprintf("{\n\tadmin off\n\tstorage file_system %s/data\n\tpleo {\n\t\tclient_id acme\n\t}\n}\n", dir)
	require.NoError(t, validate(t, config))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)

	require.NoError(t, load(t, config))
	defer func() { require.NoError(t, caddy.Stop()) }()
	info, err := os.Stat(filepath.Join(dir, "data", "pleo", "encryption_key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestAConfigurationStartsWhileRedisIsAway(t *testing.T) {
	w := newWorld(t)
	t.Setenv("TEST_KEY", pleoauth.GenerateKey())
	away := freeAddresses(t, 1)[0]
	w.start("encryption_key {env.TEST_KEY}\n\t\tstore redis redis://:hunter2@"+away, "", "")
	res := w.call("GET", "/v2/employees", nil)
	w.problem(res, 503, "store-unavailable")
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.NotContains(t, res.body, away)
	health := w.call("GET", "/healthz", nil)
	require.Equal(t, 200, health.StatusCode)
	require.Equal(t, "degraded", health.json(t)["status"])

	logged, err := os.ReadFile(w.log)
	require.NoError(t, err)
	require.Contains(t, string(logged), `"option":"store redis"`, "a password in the configuration is warned about")
	// Caddy itself shows the configuration; what this package logs must not.
	for line := range strings.Lines(string(logged)) {
		var entry struct{ Logger string }
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		if strings.HasPrefix(entry.Logger, "pleo") {
			require.NotContains(t, line, "hunter2")
		}
	}
}

func TestASecretInTheConfigurationIsWarnedAbout(t *testing.T) {
	w := newWorld(t)
	config := strings.Replace(w.caddyfile("encryption_key "+pleoauth.GenerateKey(), "", ""), "{env.TEST_CLIENT_SECRET}", "lite{ral s3c}ond", 1)
	require.NoError(t, load(t, config))
	logged, err := os.ReadFile(w.log)
	require.NoError(t, err)
	require.Contains(t, string(logged), `"option":"client_secret"`)
	require.Contains(t, string(logged), `"option":"second_client_secret"`)
	for line := range strings.Lines(string(logged)) {
		if strings.Contains(line, "a secret stands in the configuration") {
			require.NotRegexp(t, "lite|s3c", line)
		}
	}
	require.Contains(t, string(logged), `"option":"encryption_key"`)
}

// otherStorage is a storage that is not the file system.
type otherStorage struct{ certmagic.Storage }

func (otherStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.test_other", New: func() caddy.Module { return new(otherStorage) }}
}

func (s *otherStorage) CertMagicStorage() (certmagic.Storage, error) {
	if s == nil {
		return nil, errors.New("no storage")
	}
	return s, nil
}

func init() { caddy.RegisterModule(otherStorage{}) }

func TestTheEmbeddedStoreNeedsTheFileSystem(t *testing.T) {
	var cfg *caddy.Config
	require.NoError(t, caddy.StrictUnmarshalJSON([]byte(`{"admin":{"disabled":true},"storage":{"module":"test_other"},"apps":{"pleo":{"client_id":"acme"}}}`), &cfg))
	require.ErrorContains(t, caddy.Validate(cfg), "store caddy needs Caddy's storage to be the file system")
}
