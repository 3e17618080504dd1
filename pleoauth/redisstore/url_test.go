package redisstore_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

func TestURLsBecomeOptions(t *testing.T) {
	for url, want := range map[string]redisstore.Options{
		"redis://redis":                          {Addresses: []string{"redis:6379"}},
		"redis://redis:6380/":                    {Addresses: []string{"redis:6380"}},
		"redis://redis:6380/3":                   {Addresses: []string{"redis:6380"}, DB: 3},
		"redis://[::1]/0":                        {Addresses: []string{"[::1]:6379"}},
		"redis://:p%40ss@redis/0":                {Addresses: []string{"redis:6379"}, Password: "p@ss"},
		"redis://user:pass@redis":                {Addresses: []string{"redis:6379"}, Username: "user", Password: "pass"},
		"unix:///run/redis.sock":                 {Addresses: []string{"/run/redis.sock"}},
		"unix://user:pass@/run/redis.sock?db=12": {Addresses: []string{"/run/redis.sock"}, Username: "user", Password: "pass", DB: 12},
	} {
		t.Run(url, func(t *testing.T) {
			got, err := redisstore.ParseURL(url)
			require.NoError(t, err)
			require.Equal(t, want.Addresses, got.Addresses)
			require.Equal(t, []any{want.Username, want.Password, want.DB}, []any{got.Username, got.Password, got.DB})
			require.Nil(t, got.TLS)
		})
	}
}

func TestRedissIsTLS(t *testing.T) {
	o, err := redisstore.ParseURL("rediss://redis:6390")
	require.NoError(t, err)
	require.NotNil(t, o.TLS)
	require.False(t, o.TLS.InsecureSkipVerify)
}

func TestURLsThatCannotWorkAreErrorsWithoutThePassword(t *testing.T) {
	for _, url := range []string{
		"", "redis", "redis:", "redis://", "http://redis", "redis:6379", "redis://:s3cr3t@", "s3cr3t://redis",
		"redis://user:s3cr3t@redis/zero", "redis://user:s3cr3t@redis/-1", "redis://user:s3cr3t@redis/1/2",
		"redis://user:s3cr3t@redis:port", "redis://user:12/s3cr3t@redis", "redis://user:12?s3cr3t@redis",
		"redis://user:12#s3cr3t@redis", "redis://user:s3cr3t%zz@redis", "redis://user:s3cr3t@redis?x=s3cr3t",
		"redis://us er:s3cr3t@redis", "redis://user@redis", "unix://s3cr3t", "unix://host/s3cr3t", "unix:///x?s3cr3t=1",
		"unix:///x?db=s3cr3t", "redis://redis:6379\x7fs3cr3t",
	} {
		t.Run(url, func(t *testing.T) {
			_, err := redisstore.ParseURL(url)
			require.ErrorIs(t, err, redisstore.ErrOptions)
			require.NotContains(t, err.Error(), "s3cr3t")
		})
	}
}

func FuzzParseURLNeverRepeatsThePassword(f *testing.F) {
	f.Add("pass")
	f.Add("p/a?s#s@:")
	f.Fuzz(func(t *testing.T, password string) {
		// Long enough not to be part of the messages by chance.
		secret := "s3cr3t" + password + "s3cr3t"
		if _, err := redisstore.ParseURL("redis://user:" + secret + "@redis:6379/0"); err != nil {
			require.NotContains(t, err.Error(), "s3cr3t")
		}
	})
}

func TestOptionsThatCannotWorkAreNamed(t *testing.T) {
	one := []string{"redis:6379"}
	for text, o := range map[string]redisstore.Options{
		"address is missing":                   {},
		"exclude each other":                   {Addresses: one, MasterName: "m", Cluster: true},
		"several addresses":                    {Addresses: []string{"a:1", "b:1"}},
		"db is negative":                       {Addresses: one, DB: -1},
		"no db but 0":                          {Addresses: one, DB: 1, Cluster: true},
		"key_prefix":                           {Addresses: one, KeyPrefix: "{pleo}:"},
		"command_timeout":                      {Addresses: one, CommandTimeout: -1},
		"ping_interval":                        {Addresses: one, PingInterval: -1},
		"pool_size":                            {Addresses: one, PoolSize: -1},
		"wait_replicas":                        {Addresses: one, WaitReplicas: new(-1)},
		"username without password":            {Addresses: one, Username: "user"},
		"an address is not of the form host:p": {Addresses: []string{"user:s3cr3t@redis:6379"}},
	} {
		_, err := redisstore.New(o, pleoauth.Identity{})
		require.ErrorIs(t, err, redisstore.ErrOptions)
		require.ErrorContains(t, err, text)
		require.NotContains(t, err.Error(), "s3cr3t")
	}
}

func TestOptionsNeverPrintAPassword(t *testing.T) {
	o := redisstore.Options{Addresses: []string{"redis:6379"}, Password: "s3cr3t", SentinelPassword: "s3cr3t"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("options", "options", o)
	for _, text := range []string{
		fmt.Sprint(o), fmt.Sprintf("%v %+v %#v %s %q %d", o, o, o, o, o, o), fmt.Sprintf("%+v", []any{&o}), log.String(),
	} {
		require.NotContains(t, text, "s3cr3t")
		require.Contains(t, text, "redis:6379")
	}
}
