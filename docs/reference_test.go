package docs_test

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/caddymodule"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// reference is a syntax block of the documents and the type that it configures.
type reference struct {
	comment, within string // the configuration, with OPTION in it
	config          reflect.Type
	// names are the options whose JSON fields are called otherwise, and what
	// fields there are without an option.
	names map[string]string
	// samples are options with an argument, as the parser takes them.
	samples map[string]string
}

var references = []reference{
	{
		comment: "syntax: pleo",
		within:  "{\npleo {\nOPTION\n}\n}\n",
		config:  reflect.TypeFor[caddymodule.App](),
		names: map[string]string{
			"encryption_keys": "encryption_key", "second_client_secret": "client_secret",
			"url": "", "secrets": "", "after": "", "timeout": "",
		}, // of notify, below
		samples: map[string]string{
			"require_env": "PATH",
			"environment": "staging", "auth_server": "https://auth.example.com", "api_server": "https://api.example.com",
			"issuer":    "https://auth.example.com/tenant",
			"client_id": "acme", "client_secret": "{env.SECRET}", "scopes": "users:read export:read",
			"redirect_uri": "https://integration.example.com/pleo/callback", "authorise_uri": "https://integration.example.com/pleo/authorise",
			"tls_trust_pool": "file /etc/pleo-auth-proxy/ca.pem",
			"store":          "redis redis://redis:6379/0", "encryption_key": "{env.KEY} {env.OLD_KEY}",
			"refresh_before": "2m", "refresh_timeout": "5s", "keep_alive": "20d", "allow_subject_change": "",
			"require_ticket":    "",
			"return_to_origins": "https://app.example.com", "notify": "https://app.example.com/pleo-events {\nsecret {env.SECRET}\n}",
		},
	},
	{
		comment: "syntax: notify",
		within:  "{\npleo {\nclient_id acme\nnotify {env.URL} {\nOPTION\n}\n}\n}\n",
		config:  reflect.TypeFor[caddymodule.Notify](),
		names:   map[string]string{"url": "", "secrets": "secret"},
		samples: map[string]string{"secret": "{env.SECRET} {env.OLD_SECRET}", "after": "5m", "timeout": "3s"},
	},
	{
		comment: "syntax: store redis",
		within:  "{\npleo {\nclient_id acme\nencryption_key {env.KEY}\nstore redis {\nOPTION\n}\n}\n}\n",
		config:  reflect.TypeFor[caddymodule.RedisStore](),
		names: map[string]string{
			"url": "", "addresses": "address",
			"ca_files": "ca", "certificate_file": "certificate", "key_file": "certificate",
		},
		samples: map[string]string{
			"address": "node-1:6379 node-2:6379", "master_name": "pleo", "cluster": "", "db": "2",
			"username": "app", "password": "{env.REDIS_PASSWORD}", "sentinel_username": "watcher", "sentinel_password": "{env.PASSWORD}",
			"key_prefix": "acme:", "wait_replicas": "2", "require_durable": "", "tls": "", "ca": "/etc/redis/ca.pem", "certificate": "/etc/redis/a.pem /etc/redis/a.key",
			"server_name": "redis.internal",
		},
	},
	{
		comment: "syntax: pleo_proxy",
		within:  "{\npleo {\nclient_id acme\n}\n}\nhttp://:7536 {\npleo_proxy {\nOPTION\n}\n}\n",
		config:  reflect.TypeFor[caddymodule.Transport](),
		samples: map[string]string{
			"connection": "{http.request.local.port}", "allow_clients": "10.0.0.0/8 192.0.2.1", "allow_hosts": "pleo.internal",
			"replay_buffer": "8MiB", "transport": "pleo {\ndial_timeout 3s\n}",
		},
	},
	{
		comment: "syntax: pleo_api",
		within:  "{\npleo {\nclient_id acme\n}\n}\nhttp://:7536 {\npleo_api {\nOPTION\n}\n}\n",
		config:  reflect.TypeFor[caddymodule.API](),
		samples: map[string]string{"allow_clients": "10.0.0.0/8 192.0.2.1", "allow_hosts": "pleo.internal"},
	},
	{
		comment: "syntax: pleo_status",
		within:  "{\npleo {\nclient_id acme\n}\n}\nhttp://:7536 {\npleo_status {\nOPTION\n}\n}\n",
		config:  reflect.TypeFor[caddymodule.Status](),
		samples: map[string]string{"allow_clients": "10.0.0.0/8 192.0.2.1", "allow_hosts": "pleo.internal"},
	},
}

func TestSyntaxIsTheParsers(t *testing.T) {
	for _, r := range references {
		t.Run(r.comment, func(t *testing.T) {
			documented := options(commented(t, r.comment))
			for _, name := range documented {
				sample, ok := r.samples[name]
				require.True(t, ok, "%s has no sample here", name)
				_, err := tryToAdapt(r.configure(name, sample))
				require.NoError(t, err, name)
			}
			_, err := tryToAdapt(r.configure("no_such_option", ""))
			require.ErrorContains(t, err, "no_such_option")

			for _, field := range fields(r.config) {
				name, other := r.names[field]
				if !other {
					name = field
				}
				if name != "" {
					require.Contains(t, documented, name, "an option that the syntax does not show")
				}
			}
		})
	}
}

// configure returns a configuration with the option, and those that it needs.
func (r reference) configure(name, sample string) string {
	option := name + " " + sample
	switch name {
	case "ca", "certificate", "server_name":
		option = "tls {\n" + option + "\n}"
	}
	if r.comment == "syntax: pleo" && name != "client_id" {
		option += "\nclient_id acme"
	}
	if r.comment == "syntax: notify" && name != "secret" {
		option += "\nsecret {env.SECRET}"
	}
	if r.comment == "syntax: store redis" && name != "address" {
		option += "\naddress redis:6379"
	}
	return strings.Replace(r.within, "OPTION", option, 1)
}

// options returns the names in a syntax block.
func options(syntax string) []string {
	var names []string
	lines := strings.Split(strings.TrimSpace(syntax), "\n")
	for _, line := range lines[1:] {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "}" && !strings.HasPrefix(name, "<") {
			names = append(names, name)
		}
	}
	return names
}

// fields returns the names of a type's own fields in JSON.
func fields(typ reflect.Type) []string {
	var names []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || name == "" {
			continue
		}
		names = append(names, name)
		if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct {
			names = append(names, fields(f.Type.Elem())...)
		}
	}
	return names
}

func TestFieldsAreDocumented(t *testing.T) {
	text := read(t, "configuration.md") + read(t, "notices.md") + read(t, "../README.md")
	for _, r := range references {
		for _, field := range fields(r.config) {
			require.Regexp(t, "[`.]"+field+"`", text)
		}
	}
}

func TestDefaultsAreTheCodes(t *testing.T) {
	for _, file := range []string{"../README.md", "configuration.md"} {
		for name, expected := range map[string]time.Duration{
			"refresh_before": pleoauth.DefaultRefreshBefore, "refresh_timeout": pleoauth.DefaultRefreshTimeout, "keep_alive": pleoauth.DefaultKeepAlive,
		} {
			m := regexp.MustCompile("(?m)^\\| `" + name + "` .* `([0-9a-z]+)` \\|$").FindStringSubmatch(read(t, file))
			require.NotNil(t, m, "%s: %s", file, name)
			actual, err := caddy.ParseDuration(m[1])
			require.NoError(t, err)
			require.Equal(t, expected, actual, "%s: %s", file, name)
		}
	}
	require.Regexp(t, "\\| `key_prefix` .* `"+redisstore.DefaultKeyPrefix+"` \\|", read(t, "configuration.md"))
}

func TestACLIsTheStores(t *testing.T) {
	require.Equal(t, redisstore.LeastACL, strings.Join(strings.Fields(commented(t, "acl: LeastACL")), " "))
	require.Equal(t, redisstore.LeastSentinelACL, strings.Join(strings.Fields(commented(t, "acl: LeastSentinelACL")), " "))
	require.Contains(t, read(t, "configuration.md"), "`"+redisstore.LeastClusterACL+"`")
}

// A server that has the documented lines, and a replica, is without a risk.
func TestTheDocumentedLinesOfRedisConfKeepGrantsAndOneSide(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(commented(t, "redis.conf: split")), "\n")
	server := redistest.Start(t, redistest.WithConfig(lines...))
	server.StartReplica(t)
	options, err := redisstore.ParseURL("redis://" + server.Addr())
	require.NoError(t, err)
	store, err := redisstore.New(options, pleoauth.Identity{})
	require.NoError(t, err)
	defer store.Close()
	risks, err := store.CheckDurability(t.Context(), pleoauth.DefaultRefreshTimeout+5*time.Second)
	require.NoError(t, err)
	require.Empty(t, risks)
}

// Every risk is in the table of the configuration, and in what is said of its metric.
func TestRisksOfTheStoreAreDocumented(t *testing.T) {
	for _, code := range []string{pleoauth.RiskEviction, pleoauth.RiskPersistence, pleoauth.RiskReplicas, pleoauth.RiskSplit} {
		require.Contains(t, read(t, "configuration.md"), "\n| `"+code+"` |")
		require.Regexp(t, "`pleo_store_risks` .*`"+code+"`", read(t, "metrics.md"))
		require.Regexp(t, "(?s)## PleoStoreUnsafe.{1,200}`"+code+"`", read(t, "operations.md"))
	}
}

// Every problem document is in the README's table or in that of the API's page,
// and nothing else is.
func TestProblemsAreDocumented(t *testing.T) {
	inCode := names(`problemType \+ "([a-z-]+)"`, source(t))
	require.NotEmpty(t, inCode)
	ofCalls := names("(?m)^\\| [45][0-9][0-9] \\| `([a-z-]+)` \\|", read(t, "../README.md"))
	ofAPI := names("`([a-z]+-[a-z-]+)`(?:,| \\|)", table(t, "api.md", "problems"))
	require.Subset(t, inCode, ofCalls)
	require.Subset(t, append(ofAPI, ofCalls...), inCode)
	require.Subset(t, inCode, ofAPI)
	for _, reason := range []pleoauth.Reason{pleoauth.ReasonRevokedOrExpired, pleoauth.ReasonLostResponse} {
		require.Contains(t, read(t, "../README.md"), "`"+string(reason)+"`")
	}
}

func TestModulesAreDocumented(t *testing.T) {
	_, section, ok := strings.Cut(read(t, "../README.md"), "### Modules")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, id := range caddy.Modules() {
		if strings.Contains(id, "pleo") {
			require.Contains(t, section, "`"+id+"`")
		}
	}
	for _, id := range names("`([a-z_.]*pleo[a-z_.]*)`", section) {
		_, err := caddy.GetModule(id)
		require.NoError(t, err)
	}
}

func TestCommandsExist(t *testing.T) {
	pleo := new(cobra.Command)
	caddycmd.Commands()["pleo"].CobraFunc(pleo)
	var known []string
	for _, c := range pleo.Commands() {
		known = append(known, c.Name())
	}
	for _, file := range append(documents(t), "../Caddyfile.example") {
		for _, command := range names(`pleo-auth-proxy pleo ([a-z-]+)`, read(t, file)) {
			require.True(t, slices.Contains(known, command), "%s: pleo %s", file, command)
		}
	}
}
