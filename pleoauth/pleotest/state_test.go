package pleotest_test

import (
	"encoding/base64"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestARestartIsStillConnected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	before := start(t, pleotest.WithStateFile(path))
	spent := before.connect("")
	a := before.token(refresh(spent.Refresh))
	code := before.code(pleotest.Companies()[1].ID)
	before.Close()
	require.NoError(t, before.SaveError())

	after := start(t, pleotest.WithStateFile(path))
	require.Equal(t, http.StatusOK, after.call(a.Access, "/v2/employees").Status)
	require.Equal(t, http.StatusOK, after.token(exchange(code)).Status)
	a = after.token(refresh(a.Refresh))
	require.Equal(t, http.StatusOK, a.Status)
	require.Contains(t, after.Secrets(), spent.Refresh)
	after.token(refresh(spent.Refresh))
	require.Equal(t, 1, after.Counters().Replays, "it is remembered what was spent")
	require.False(t, after.alive(a.Refresh))
}

func TestTheStateFileIsItsOwnersAloneAndReplacedWhole(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "state.json")
	i := start(t)
	i.connect("")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	require.NoError(t, i.Save(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	}
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left behind")
	require.Error(t, i.Save(filepath.Join(folder, "no", "such", "folder")))
}

func TestLoadReplacesWhatThereWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	i := start(t)
	old := i.connect("")
	require.NoError(t, i.Save(path))
	later := i.connect("")
	job := i.send(http.MethodPost, "/v3/export-jobs", later.Access, strings.NewReader(`{}`))
	require.Equal(t, http.StatusForbidden, job.Status)
	require.NoError(t, i.Load(path))
	require.True(t, i.alive(old.Refresh))
	require.False(t, i.alive(later.Refresh))
}

func TestWhatCannotBeLoadedIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	i := start(t)
	require.ErrorIs(t, i.Load(path), fs.ErrNotExist)
	for _, content := range []string{"", "{", `{"format":99}`} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		require.Error(t, i.Load(path))
		_, err := pleotest.NewEmulator(pleotest.WithStateFile(path))
		require.Error(t, err)
	}
}

// log is a log that is written from many goroutines.
type log struct {
	sync.Mutex
	strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.Builder.Write(b)
}

func TestSecretsListsWhatMustNotLeak(t *testing.T) {
	var output log
	i := start(t, pleotest.WithLogger(slog.New(slog.NewJSONHandler(&output, nil))))
	code := i.code("")
	first := i.token(exchange(code))
	second := i.token(refresh(first.Refresh))
	i.token(refresh("a-token-that-was-never-issued"))
	i.token(refresh(first.Refresh))
	i.call("an-unknown-access-token", "/v1/companies")
	i.postAs(i.ClientID, "a-wrong-secret", "/oauth/token", refresh("x"))

	secrets := i.Secrets()
	basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(i.ClientID) + ":" + url.QueryEscape(i.ClientSecret)))
	for _, want := range []string{
		code, first.Access, first.Refresh, second.Access, second.Refresh, verifier, state, i.ClientSecret, basic,
		url.QueryEscape(second.Refresh), "a-token-that-was-never-issued", "an-unknown-access-token", "a-wrong-secret",
	} {
		require.Contains(t, secrets, want)
	}
	require.NotContains(t, secrets, "")
	require.NotContains(t, secrets, "x")
	i.Close()
	require.Contains(t, output.String(), "refreshed")
	for _, secret := range secrets {
		require.NotContains(t, output.String(), secret)
	}
}

func TestAStateFileThatCannotBeWrittenIsReportedAndServedWithout(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "folder")
	require.NoError(t, os.Mkdir(folder, 0o700))
	i := start(t, pleotest.WithStateFile(filepath.Join(folder, "state.json")))
	require.NoError(t, os.RemoveAll(folder))
	require.Equal(t, http.StatusOK, i.call(i.connect("").Access, "/v2/employees").Status)
	require.Error(t, i.SaveError())
}
