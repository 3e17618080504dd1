package certstore_test

import (
	"testing"

	"github.com/caddyserver/certmagic"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/certstore"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/storetest"
)

func TestCaddysFileStorageConforms(t *testing.T) {
	storage, locks := &certmagic.FileStorage{Path: t.TempDir()}, t.TempDir()
	storetest.Run(t, func(t *testing.T, id pleoauth.Identity) pleoauth.Store {
		store, err := certstore.New(storage, locks, id)
		require.NoError(t, err)
		return store
	}, storetest.Features{})
}
