package pleoauth

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// reseal seals the files that are there with the first key, and returns what came
// of each that had another one, by its name.
func (d *spill) reseal(keys *Keyring, purpose string) map[string]error {
	if d.dir == "" {
		return nil
	}
	files, err := os.ReadDir(d.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return map[string]error{filepath.Base(d.dir): err}
	}
	done := map[string]error{}
	for _, file := range files {
		if filepath.Ext(file.Name()) != spillSuffix {
			continue
		}
		if changed, err := d.resealFile(filepath.Join(d.dir, file.Name()), keys, purpose); changed || err != nil {
			done[file.Name()] = err
		}
	}
	return done
}

func (d *spill) resealFile(path string, keys *Keyring, purpose string) (changed bool, err error) {
	d.rekey.Lock()
	defer d.rekey.Unlock()
	sealed, err := os.ReadFile(path) //nolint:gosec // a name that os.ReadDir gave
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // the store has it by now
	}
	if err != nil || sealedWith(sealed) == keys.firstID() {
		return false, err
	}
	plain, err := keys.open(sealed, purpose)
	if err != nil {
		return false, err
	}
	return true, d.put(path, keys.seal(plain, purpose))
}
