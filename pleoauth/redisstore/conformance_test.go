package redisstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/storetest"
)

// opener opens stores with the same options.
func opener(o redisstore.Options) storetest.Open {
	return func(t *testing.T, id pleoauth.Identity) pleoauth.Store {
		store, err := redisstore.New(o, id)
		require.NoError(t, err)
		return store
	}
}

// options returns those of a server's URL.
func options(t testing.TB, url string) redisstore.Options {
	t.Helper()
	o, err := redisstore.ParseURL(url)
	require.NoError(t, err)
	// A busy machine is slow; what is late here is not lost.
	o.CommandTimeout = time.Minute
	return o
}

// All stores under test log in as a user with the least rights: what it cannot do
// fails, and what works with it works with more.
func TestSingleServerConforms(t *testing.T) {
	server := redistest.Start(t)
	storetest.Run(t, opener(options(t, server.URL())), storetest.Features{SharedNotices: true})
}
