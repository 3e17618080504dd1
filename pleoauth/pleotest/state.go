package pleotest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// stateFormat changes when the saved form does.
const stateFormat = 1

// saved is the state as it is kept in a file. Counters, faults and consent
// pages that are open are of the moment, and not kept.
type saved struct {
	Format   int                    `json:"format"`
	Clients  []Client               `json:"clients"`
	Families []*family              `json:"authorisations"`
	Codes    []*code                `json:"codes"`
	Jobs     map[string][]exportJob `json:"export_jobs"`
}

// Save writes the clients, authorisations, tokens and codes to a file, in one
// step: whoever reads it sees the old state or the new. The file is readable by
// its owner only, for it holds secrets and tokens in the clear.
func (e *Emulator) Save(path string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.saveTo(path)
}

// save keeps the state file current, where there is one. Called with e.mu held.
func (e *Emulator) save() {
	if e.settings.stateFile == "" {
		return
	}
	if e.saveErr = e.saveTo(e.settings.stateFile); e.saveErr != nil {
		e.log.Error("the state was not saved", "error", e.saveErr)
	}
}

// SaveError returns why the state file of [WithStateFile] could not be written
// the last time, or nil.
func (e *Emulator) SaveError() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.saveErr
}

func (e *Emulator) saveTo(path string) error {
	data, err := json.Marshal(saved{
		Format: stateFormat, Families: e.sortedFamilies(), Jobs: e.jobs, Clients: e.sortedClients(),
		Codes: slices.SortedFunc(maps.Values(e.codes), func(a, b *code) int { return cmp.Compare(a.Value, b.Value) }),
	})
	if err != nil {
		return fmt.Errorf("encoding the state: %w", err)
	}
	if err := writeAtomically(path, data); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	return nil
}

// writeAtomically relies on CreateTemp's mode, 0600.
func writeAtomically(path string, data []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, writeErr := file.Write(data)
	if err := errors.Join(writeErr, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// Load replaces the authorisations, tokens, codes and export jobs by those of a
// file that [Emulator.Save] wrote, and adds its clients.
func (e *Emulator) Load(path string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.load(path)
}

func (e *Emulator) loadIfThere(path string) error {
	if err := e.load(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (e *Emulator) load(path string) error {
	data, err := os.ReadFile(path) //nolint:gosec // the path is the caller's to choose
	if err != nil {
		return fmt.Errorf("loading the state: %w", err)
	}
	var s saved
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("loading the state from %s: %w", path, err)
	}
	if s.Format != stateFormat {
		return fmt.Errorf("loading the state from %s: format %d is not known", path, s.Format)
	}
	e.forget()
	for _, client := range s.Clients {
		e.clients[client.ID] = client
		e.rememberSecret(client)
	}
	for _, c := range s.Codes {
		e.codes[c.Value] = c
		e.remember(c.Value)
	}
	for _, f := range s.Families {
		e.families[f.ID] = f
		for _, t := range f.Tokens {
			t.family = f
			e.tokens[t.Value] = t
			e.remember(t.Value)
		}
	}
	if s.Jobs != nil {
		e.jobs = s.Jobs
	}
	e.save()
	return nil
}

func (e *Emulator) sortedClients() []Client {
	return slices.SortedFunc(maps.Values(e.clients), func(a, b Client) int { return cmp.Compare(a.ID, b.ID) })
}

func (e *Emulator) sortedFamilies() []*family {
	return slices.SortedFunc(maps.Values(e.families), func(a, b *family) int {
		return cmp.Or(a.Authorised.Compare(b.Authorised), cmp.Compare(a.ID, b.ID))
	})
}
