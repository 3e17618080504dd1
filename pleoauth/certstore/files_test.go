package certstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/certstore"
)

// Caddy's storage is one without importing it.
var _ certstore.Storage = certmagic.Storage(nil)

var identity = pleoauth.Identity{Issuer: "https://auth.example.com", ClientID: "client"}

// newStore returns a store with everything below dir.
func newStore(dir string) *certstore.Store {
	store, err := certstore.New(&certmagic.FileStorage{Path: filepath.Join(dir, "data")}, filepath.Join(dir, "locks"), identity)
	if err != nil {
		panic(err) // both are given
	}
	return store
}

func put(t testing.TB, store pleoauth.Store, name string, r pleoauth.Record) {
	t.Helper()
	old, err := store.Read(t.Context(), name)
	require.NoError(t, err)
	_, err = store.Swap(t.Context(), name, old, r, pleoauth.SwapOptions{})
	require.NoError(t, err)
}

var connected = pleoauth.Record{State: pleoauth.StateConnected, Version: "v1"}

// files returns the paths of all files below dir.
func files(t testing.TB, dir string) (all []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	}))
	return all
}

func TestMakingAStoreTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, newStore(dir).Close())
	require.Empty(t, files(t, dir))
	_, err := certstore.New(nil, dir, identity)
	require.Error(t, err)
	_, err = certstore.New(&certmagic.FileStorage{}, "", identity)
	require.Error(t, err)
}

func TestNoTwoNamesShareAFileWhereCaseDoesNotCount(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	defer store.Close()
	names := []string{
		"acme", "ACME", "Acme", "a", "A", strings.Repeat("a", 128), strings.Repeat("A", 128),
		strings.Repeat("a", 64), strings.Repeat("a", 64) + "a", "CON", "a..b",
	}
	for _, name := range names {
		put(t, store, name, connected)
		_, err := store.Lock(t.Context(), name, pleoauth.LockOptions{Life: time.Minute})
		require.NoError(t, err)
	}
	seen := map[string]bool{}
	for _, path := range files(t, dir) {
		require.False(t, seen[strings.ToLower(path)], path)
		seen[strings.ToLower(path)] = true
		for segment := range strings.SplitSeq(path, string(filepath.Separator)) {
			require.LessOrEqual(t, len(segment), 200, "some file systems end at 255, encrypted ones sooner")
		}
	}
	require.Len(t, seen, 3*len(names), "a record and two lock files each")
}

// After the clock was put back, a note could keep callers away for long.
func TestNoteOfTheFutureAndABrokenOneKeepNoCallerAway(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	defer store.Close()
	lock, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
	require.NoError(t, err)
	_, err = store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute, Next: time.Minute})
	require.ErrorIs(t, err, pleoauth.ErrLocked)
	require.NoError(t, lock.Release(t.Context()))
	notes, err := filepath.Glob(filepath.Join(dir, "locks", "*", "*.next"))
	require.NoError(t, err)
	require.Len(t, notes, 1)
	now := time.Now().UnixMilli()
	for note, stands := range map[string]bool{
		fmt.Sprintf("%020d %020d", now-1000, now+60_000):       true,
		fmt.Sprintf("%020d %020d", now+3600_000, now+7200_000): false,
		fmt.Sprintf("%020d %020d", now-2000, now-1000):         false,
		"": false, "1": false, "note": false,
	} {
		require.NoError(t, os.WriteFile(notes[0], []byte(note), 0o600))
		lock, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute, Yield: true})
		if stands {
			require.ErrorIs(t, err, pleoauth.ErrLocked)
			continue
		}
		require.NoError(t, err, "%q", note)
		require.NoError(t, lock.Release(t.Context()))
	}
}

func TestFilesAreTheirOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	defer store.Close()
	put(t, store, "acme", connected)
	_, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
	require.NoError(t, err)
	_, err = store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute, Next: time.Minute})
	require.ErrorIs(t, err, pleoauth.ErrLocked)
	for _, path := range files(t, dir) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Zero(t, info.Mode().Perm()&0o077, path)
	}
}

func TestWhatACrashLeftBehindIsNoConnection(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	defer store.Close()
	put(t, store, "acme", connected)
	records := filepath.Dir(recordFile(t, dir))
	for _, name := range []string{"123456789", "61.tmp", ".json", "zz.json", "6162.JSON", "2e2e.json"} {
		require.NoError(t, os.WriteFile(filepath.Join(records, name), []byte("{"), 0o600))
	}
	names, next, err := store.List(t.Context(), "", 10)
	require.NoError(t, err)
	require.Equal(t, []string{"acme"}, names)
	require.Empty(t, next)
}

// recordFile returns the path of the only record.
func recordFile(t testing.TB, dir string) string {
	t.Helper()
	for _, path := range files(t, filepath.Join(dir, "data")) {
		if strings.Contains(path, "records") {
			return path
		}
	}
	t.Fatal("no record")
	return ""
}

func TestFileThatIsNoRecordIsNeitherReadNorReplaced(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "cut off": `{"format":"1","re`, "no object": `[]`, "null": `null`, "numbers": `{"format":1,"rev":2}`,
		"another format": `{"format":"2","rev":"r"}`, "no revision": `{"format":"1","state":"connected"}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			store := newStore(dir)
			defer store.Close()
			absent, err := store.Read(t.Context(), "acme")
			require.NoError(t, err)
			put(t, store, "acme", connected)
			require.NoError(t, os.WriteFile(recordFile(t, dir), []byte(content), 0o600))
			_, err = store.Read(t.Context(), "acme")
			require.ErrorIs(t, err, pleoauth.ErrRecordUnreadable)
			_, err = store.Swap(t.Context(), "acme", absent, connected, pleoauth.SwapOptions{})
			require.Error(t, err)
			got, err := os.ReadFile(recordFile(t, dir))
			require.NoError(t, err)
			require.Equal(t, content, string(got))
			names, _, err := store.List(t.Context(), "", 10)
			require.NoError(t, err)
			require.Equal(t, []string{"acme"}, names, "it would never be found otherwise")
		})
	}
}

func TestTextThatJSONWouldChangeIsRefused(t *testing.T) {
	store := newStore(t.TempDir())
	defer store.Close()
	old, err := store.Read(t.Context(), "acme")
	require.NoError(t, err)
	_, err = store.Swap(t.Context(), "acme", old, pleoauth.Record{State: pleoauth.StateConnected, Subject: "a\xff"}, pleoauth.SwapOptions{})
	require.ErrorContains(t, err, "subject")
}

func TestFailedWriteIsToldAndPublishesNothing(t *testing.T) {
	failing := &failingStorage{Storage: &certmagic.FileStorage{Path: t.TempDir()}}
	store, err := certstore.New(failing, t.TempDir(), identity)
	require.NoError(t, err)
	defer store.Close()
	heard := make(chan pleoauth.Notice, 10)
	store.Listen(func(n pleoauth.Notice) { heard <- n })
	require.NoError(t, store.Watch(t.Context(), "acme"))
	put(t, store, "acme", connected)
	old, err := store.Read(t.Context(), "acme")
	require.NoError(t, err)
	failing.err = errors.New("disk full")
	notice := pleoauth.Notice{Kind: pleoauth.NoticeChanged, Connection: "acme"}
	_, err = store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{Notice: notice})
	require.ErrorIs(t, err, failing.err)
	require.False(t, errors.Is(err, pleoauth.ErrConflict) || errors.Is(err, pleoauth.ErrLockLost))
	failing.err = nil
	_, err = store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{Notice: notice})
	require.NoError(t, err, "its lock file was given back")
	require.Equal(t, notice, <-heard)
	require.Empty(t, heard)
}

func TestSwapThatFailsBeforeTheFileIsReplacedProvesThatNothingWasWritten(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	defer store.Close()
	put(t, store, "acme", connected)
	old, err := store.Read(t.Context(), "acme")
	require.NoError(t, err)
	path := recordFile(t, dir)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	requireNotWritten := func(ctx context.Context, next pleoauth.Record) error {
		_, err := store.Swap(ctx, "acme", old, next, pleoauth.SwapOptions{})
		require.ErrorIs(t, err, pleoauth.ErrNotWritten)
		now, errRead := os.ReadFile(path)
		require.NoError(t, errRead)
		require.Equal(t, before, now)
		return err
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, requireNotWritten(ended, connected), context.Canceled)
	_ = requireNotWritten(t.Context(), pleoauth.Record{State: pleoauth.StateConnected, Subject: "a\xff"})
	require.NoError(t, os.WriteFile(path, []byte("{}"), 0o600))
	before = []byte("{}")
	require.ErrorIs(t, requireNotWritten(t.Context(), connected), pleoauth.ErrRecordUnreadable)
	require.NoError(t, store.Close())
	_ = requireNotWritten(t.Context(), connected)
}

func TestSwapWhoseFileCannotBeWrittenTellsWhetherItWasReplaced(t *testing.T) {
	files := &certmagic.FileStorage{Path: t.TempDir()}
	full := errors.New("disk full")
	for name, c := range map[string]struct {
		storage func(*failingStorage) certstore.Storage
		late    bool
		proves  bool
	}{
		"before the file is replaced":    {func(s *failingStorage) certstore.Storage { return failingFiles{s, files} }, false, true},
		"after the file is replaced":     {func(s *failingStorage) certstore.Storage { return failingFiles{s, files} }, true, false},
		"a storage that is not of files": {func(s *failingStorage) certstore.Storage { return s }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			failing := &failingStorage{Storage: files, late: c.late}
			store, err := certstore.New(c.storage(failing), t.TempDir(), identity)
			require.NoError(t, err)
			defer store.Close()
			put(t, store, "acme", connected)
			old, err := store.Read(t.Context(), "acme")
			require.NoError(t, err)
			failing.err = full
			_, err = store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{})
			require.ErrorIs(t, err, full)
			require.Equal(t, c.proves, errors.Is(err, pleoauth.ErrNotWritten))
			now, err := store.Read(t.Context(), "acme")
			require.NoError(t, err)
			require.Equal(t, c.late, now.Revision != old.Revision)
		})
	}
}

// failingFiles is a failingStorage on the file system.
type failingFiles struct {
	*failingStorage
	files *certmagic.FileStorage
}

func (s failingFiles) Filename(key string) string { return s.files.Filename(key) }

// failingStorage fails with err, if late is set only after it has stored.
type failingStorage struct {
	certstore.Storage
	err  error
	late bool
}

func (s *failingStorage) Store(ctx context.Context, key string, value []byte) error {
	if s.err != nil && !s.late {
		return s.err
	}
	return errors.Join(s.Storage.Store(ctx, key, value), s.err)
}

func TestAbandonedFlowsAreRemoved(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(dir)
		defer store.Close()
		for i := range 50 {
			require.NoError(t, store.PutFlow(t.Context(), fmt.Sprint(i), []byte("data"), 10*time.Minute))
		}
		time.Sleep(9 * time.Minute) // the bubble's clock
		require.NoError(t, store.PutFlow(t.Context(), "late", []byte("data"), 10*time.Minute))
		require.Len(t, files(t, filepath.Join(dir, "data")), 51)
		time.Sleep(2 * time.Minute)
		require.NoError(t, store.PutFlow(t.Context(), "new", []byte("data"), 10*time.Minute))
		require.Len(t, files(t, filepath.Join(dir, "data")), 2)
		_, err := store.Flow(t.Context(), "late")
		require.NoError(t, err)
	})
}

func TestFlowsAreBounded(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	require.NoError(t, store.PutFlow(t.Context(), "id", []byte("data"), time.Hour))
	flows := filepath.Dir(files(t, filepath.Join(dir, "data"))[0])
	require.NoError(t, store.Close())
	content := fmt.Sprintf(`{"expires":"%d","data":""}`, time.Now().Add(time.Hour).UnixMilli())
	for i := range 10_000 {
		require.NoError(t, os.WriteFile(filepath.Join(flows, fmt.Sprintf("%064x.json", i)), []byte(content), 0o600))
	}
	store = newStore(dir)
	defer store.Close()
	require.ErrorContains(t, store.PutFlow(t.Context(), "one more", nil, time.Hour), "too many flows")
	_, err := store.TakeFlow(t.Context(), "id")
	require.NoError(t, err)
}

// Whatever is in a file, it is a record, or none, or an error that says so.
func FuzzFiles(f *testing.F) {
	for _, seed := range []string{"", "{}", "null", "[]", `{"format":"1"}`, `{"rev":"x","format":"1","state":"connected"}`, `{"expires":"9999999999999","data":"eA=="}`, `{"rev":1}`, strings.Repeat(`{"a":`, 2000)} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	storage := &certmagic.FileStorage{Path: filepath.Join(dir, "data")}
	store, err := certstore.New(storage, filepath.Join(dir, "locks"), identity)
	require.NoError(f, err)
	snapshot, err := store.Read(f.Context(), "acme")
	require.NoError(f, err)
	_, err = store.Swap(f.Context(), "acme", snapshot, pleoauth.Record{State: pleoauth.StateConnected, Version: "v", Issuer: identity.Issuer, ClientID: identity.ClientID}, pleoauth.SwapOptions{})
	require.NoError(f, err)
	require.NoError(f, store.PutFlow(f.Context(), "id", []byte("data"), time.Hour))
	var files []string
	require.NoError(f, filepath.WalkDir(filepath.Join(dir, "data"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	}))
	require.GreaterOrEqual(f, len(files), 2)
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, file := range files {
			require.NoError(t, os.WriteFile(file, content, 0o600))
		}
		if _, err := store.Read(t.Context(), "acme"); err != nil {
			require.ErrorIs(t, err, pleoauth.ErrRecordUnreadable)
		}
		_, _, err := store.List(t.Context(), "", 10)
		require.True(t, err == nil || errors.Is(err, pleoauth.ErrRecordUnreadable), "%v", err)
		_, _ = store.Flow(t.Context(), "id")
	})
}
