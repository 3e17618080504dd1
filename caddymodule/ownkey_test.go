package caddymodule

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestAKeyIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pleo", "encryption_key")
	var wg sync.WaitGroup
	keys, errs := make([][]string, 20), make([]error, 20)
	for i := range keys {
		wg.Go(func() { keys[i], errs[i] = ownKeys(path) })
	}
	wg.Wait()
	for i, key := range keys {
		require.NoError(t, errs[i])
		require.Equal(t, keys[0], key, "whoever starts at the same time gets the same key")
	}
	_, err := pleoauth.NewKeyring(keys[0]...)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1, "no temporary file is left")
}

func TestABrokenKeyFileIsAnErrorAndStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "encryption_key")
	require.NoError(t, os.WriteFile(path, []byte("c2hvcnQ="), 0o600))
	_, err := ownKeys(path)
	require.ErrorContains(t, err, "encryption_key")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "c2hvcnQ=", string(content))
}

func TestAKeyFileMayHaveSeveralKeysWhileTheyAreBeingChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "encryption_key")
	next, old := pleoauth.GenerateKey(), pleoauth.GenerateKey()
	require.NoError(t, os.WriteFile(path, []byte(next+"\n"+old+"\n"), 0o600))
	keys, err := ownKeys(path)
	require.NoError(t, err)
	require.Equal(t, []string{next, old}, keys)
}
