package certstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"unicode/utf8"
)

// Storage is the part of Caddy's storage (certmagic.Storage) that is used.
// Load and List return an error that satisfies errors.Is(err, fs.ErrNotExist)
// for what is not there; Store replaces a value as a whole; Delete of what is
// not there succeeds; List returns whole keys.
//
// Caddy's own file storage writes to a temporary file, fsyncs it and renames
// it: nobody sees half a value, and nothing half-written survives a crash. It
// does not fsync the directory, so that after a power cut the value before may
// be back. For a mark or a rotated grant that is not good enough. Therefore a
// storage that tells the file of a key, in a method Filename as Caddy's does,
// has its directories fsynced after each change.
type Storage interface {
	Store(ctx context.Context, key string, value []byte) error
	Load(ctx context.Context, key string) ([]byte, error)
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, path string, recursive bool) ([]string, error)
}

// filenamer is what a storage on the file system offers besides.
type filenamer interface {
	Filename(key string) string
}

// storage adds to a Storage what records and flows need.
type storage struct {
	Storage
	// root is the key of the identity; directories below it are ours.
	root string
}

// loadMap returns the value of a key that is JSON of a map, nil if there is none.
func (s storage) loadMap(ctx context.Context, key string) (map[string]string, error) {
	value, err := s.load(ctx, key)
	if value == nil || err != nil {
		return nil, err
	}
	var fields map[string]string
	if json.Unmarshal(value, &fields) != nil || fields == nil {
		return nil, errMalformed
	}
	return fields, nil
}

// load returns a key's value, nil if there is none.
func (s storage) load(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	value, err := s.Load(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case value == nil:
		return []byte{}, nil
	}
	return value, nil
}

// storeMap keeps a map under a key, for good once it returns nil.
func (s storage) storeMap(ctx context.Context, key string, fields map[string]string) error {
	for field, value := range fields {
		if !utf8.ValidString(value) {
			// JSON would change it silently.
			return fmt.Errorf("field %s is not UTF-8", field)
		}
	}
	value, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.Store(ctx, key, value); err != nil {
		return err
	}
	return s.sync(key)
}

// remove deletes a key, for good once it returns nil.
func (s storage) remove(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.Delete(ctx, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.sync(key)
}

// sync makes the change of a key's file last, and that of the directories that
// may have been made for it.
func (s storage) sync(key string) error {
	files, ok := s.Storage.(filenamer)
	if !ok || runtime.GOOS == "windows" { // where directories cannot be fsynced
		return nil
	}
	last := filepath.Dir(filepath.Dir(files.Filename(s.root)))
	for dir := filepath.Dir(files.Filename(key)); ; dir = filepath.Dir(dir) {
		if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("fsync of a directory: %w", err)
		}
		if dir == last || dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the storage's own folder
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// list returns the keys below path, none if there is no such directory.
func (s storage) list(ctx context.Context, path string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	keys, err := s.List(ctx, path, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return keys, err
}
