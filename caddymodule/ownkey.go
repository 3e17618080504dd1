package caddymodule

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// ownKeys returns the keys in a file, one a line. If there is no file, it makes
// one, with a key. Two processes that start at the same time get the same key: a
// link to a name that is there fails, so that the first one wins, and nobody sees
// half a file.
func ownKeys(path string) ([]string, error) {
	keys, err := readKeys(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "encryption_key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(pleoauth.GenerateKey() + "\n")
	// Grants that outlive the key would be lost.
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return readKeys(path)
}

func readKeys(path string) ([]string, error) {
	text, err := os.ReadFile(path) //nolint:gosec // beside the operator's own storage
	if err != nil {
		return nil, err
	}
	keys := strings.Fields(string(text))
	if _, err := pleoauth.NewKeyring(keys...); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // beside the operator's own storage
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
