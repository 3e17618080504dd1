package pleoauth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// spill keeps pairs that the store has not taken on the local disk, sealed, so
// that they outlive the process. The zero value keeps nothing.
type spill struct {
	dir string
	// rekey keeps a pair that is removed from coming back sealed anew.
	rekey sync.RWMutex
	// unreadable are the files that have been complained of.
	unreadable sync.Map
	// useless is why the directory could not be written to when that was last tried.
	useless atomic.Pointer[error]
}

// spilled is a file's content, before it is sealed.
type spilled struct {
	Connection string      `json:"connection"`
	Grant      sealedGrant `json:"grant"`
	Seq        int64       `json:"seq"`
	Generation int64       `json:"generation"`
	Lineage    string      `json:"lineage"`
	Version    string      `json:"version"`
	Subject    string      `json:"subject,omitempty"`
	// Introspection is the record's verdict.
	Introspection Verdict   `json:"introspection,omitempty"`
	Obtained      time.Time `json:"obtained"`
	ExpiresIn     int64     `json:"expires_in_ms"`
}

const spillSuffix = ".pair"

// path is the same for a pair wherever and whenever it is spilled.
func (d *spill) path(name string, p *pair) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%s", name, p.lineage, p.generation, p.version))
	return filepath.Join(d.dir, hex.EncodeToString(sum[:16])+spillSuffix)
}

func (s *Source) spillPurpose() string {
	return "spill\x00" + s.config().AuthServer + "\x00" + s.config().ClientID
}

// write puts the pair on the disk before it returns.
func (d *spill) write(s *Source, name string, p *pair) error {
	if d.dir == "" {
		return errors.New("no directory is configured")
	}
	d.rekey.RLock()
	defer d.rekey.RUnlock()
	plain, err := json.Marshal(spilled{
		Connection: name,
		Grant:      sealedGrant{p.grant.AccessToken, p.grant.RefreshToken, p.grant.Scope, p.grant.NoRefreshToken},
		Seq:        p.seq, Generation: p.generation, Lineage: p.lineage, Version: p.version, Subject: p.subject, Introspection: p.introspection,
		Obtained: p.obtained, ExpiresIn: p.grant.ExpiresIn.Milliseconds(),
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	return d.put(d.path(name, p), s.keyring().seal(plain, s.spillPurpose()))
}

// try finds out whether the directory can be written to, before a pair has to be.
func (d *spill) try() error {
	err := os.MkdirAll(d.dir, 0o700)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(d.dir, "new-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	d.useless.Store(&err)
	return err
}

// unusable returns what [spill.try] has found.
func (d *spill) unusable() error {
	if err := d.useless.Load(); err != nil {
		return *err
	}
	return nil
}

// put makes a file with the content, or replaces it, in one step.
func (d *spill) put(path string, content []byte) error {
	f, err := os.CreateTemp(d.dir, "new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it is gone by then if all went well
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(d.dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // the operator's own directory
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// remove takes a pair off the disk once it is stored or superseded.
func (d *spill) remove(name string, p *pair) {
	if d.dir != "" {
		d.rekey.RLock()
		defer d.rekey.RUnlock()
		_ = os.Remove(d.path(name, p))
	}
}

// readSpill takes up the pairs that an earlier process left, before their
// connections are served or settled, and what another on the same disk has left
// since: the one before this, that could not store what Pleo answered as it ended.
func (s *Source) readSpill() {
	if s.spill.dir == "" {
		return
	}
	files, err := os.ReadDir(s.spill.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		s.logger().Error("the directory for held grants cannot be read", "error", err)
		return
	}
	newest := map[string]*pair{}
	for _, file := range files {
		if filepath.Ext(file.Name()) != spillSuffix {
			continue
		}
		name, p, err := s.openSpilled(filepath.Join(s.spill.dir, file.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has been stored since
		}
		if err != nil {
			if _, told := s.spill.unreadable.LoadOrStore(file.Name(), nil); !told {
				s.logger().Error("a held grant on disk cannot be read; it is left there", "file", file.Name(), "error", err)
			}
			continue
		}
		known := newest[name]
		if known != nil && compareOrder(known.seq, known.generation, p.seq, p.generation) > 0 {
			known, p = p, known
		}
		if known != nil {
			s.spill.remove(name, known) // superseded by the other
		}
		newest[name] = p
	}
	for name, p := range newest {
		c := s.connection(name)
		c.mu.Lock()
		v := c.view.Load()
		older := v == nil || compareOrder(v.seq, v.generation, p.seq, p.generation) < 0
		if older {
			s.putView(c, s.viewOfPair(p))
		}
		c.mu.Unlock()
		if older {
			s.restore(c, p)
		}
	}
}

func (s *Source) openSpilled(path string) (string, *pair, error) {
	sealed, err := os.ReadFile(path) //nolint:gosec // a name that os.ReadDir gave
	if err != nil {
		return "", nil, err
	}
	plain, err := s.keyring().open(sealed, s.spillPurpose())
	if err != nil {
		return "", nil, err
	}
	var f spilled
	if err := json.Unmarshal(plain, &f); err != nil || CheckConnection(f.Connection) != nil {
		return "", nil, fmt.Errorf("%w: its content is of another format", ErrSealed)
	}
	// The file's time is another process's wall clock. It decides nothing but
	// until when the access token is tried, and Pleo proves that.
	age := min(max(time.Since(f.Obtained), 0), maxLife)
	return f.Connection, &pair{
		grant: Grant{
			AccessToken: f.Grant.AccessToken, RefreshToken: f.Grant.RefreshToken, Scope: f.Grant.Scope,
			NoRefreshToken: f.Grant.NoRefreshToken, ExpiresIn: time.Duration(f.ExpiresIn) * time.Millisecond,
		},
		seq: f.Seq, generation: f.Generation, lineage: f.Lineage, version: f.Version, subject: f.Subject, introspection: f.Introspection,
		obtained: time.Now().Add(-age),
	}, nil
}
