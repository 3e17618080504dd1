//go:build unix

package certstore_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// childDir is the environment variable that makes the test binary the other
// process of a test: the directory of the storage.
const childDir = "CERTSTORE_TEST_CHILD"

const increments = 100

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			_, _ = io.WriteString(os.Stdout, err.Error()+"\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child does what it is told on its standard input, a word a line, and says
// ok after each.
func child(dir string) error {
	store := newStore(dir)
	defer store.Close()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var err error
		switch lines.Text() {
		case "lock":
			_, err = store.Lock(context.Background(), "acme", pleoauth.LockOptions{Life: 300 * time.Millisecond})
		case "next":
			_, err = store.Lock(context.Background(), "acme", pleoauth.LockOptions{Life: time.Minute, Next: time.Minute})
			if errors.Is(err, pleoauth.ErrLocked) {
				err = nil
			}
		case "count":
			err = count(context.Background(), store)
		}
		if err != nil {
			return err
		}
		_, _ = io.WriteString(os.Stdout, "ok\n")
	}
	return nil
}

// count raises the generation by reading and swapping.
func count(ctx context.Context, store pleoauth.Store) error {
	for n := 0; n < increments; {
		old, err := store.Read(ctx, "acme")
		if err != nil {
			return err
		}
		next := old.Record
		next.State = pleoauth.StateConnected
		next.Generation++
		switch _, err = store.Swap(ctx, "acme", old, next, pleoauth.SwapOptions{}); {
		case err == nil:
			n++
		case !errors.Is(err, pleoauth.ErrConflict):
			return err
		}
	}
	return nil
}

// other is the other process.
type other struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func startOther(t *testing.T, dir string) *other {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &other{cmd: cmd, in: in, out: bufio.NewScanner(out)}
}

func (o *other) tell(t *testing.T, word string) {
	t.Helper()
	_, err := io.WriteString(o.in, word+"\n")
	require.NoError(t, err)
}

func (o *other) expectOK(t *testing.T) {
	t.Helper()
	require.True(t, o.out.Scan())
	require.Equal(t, "ok", strings.TrimSpace(o.out.Text()))
}

func TestTwoProcessesLoseNoChange(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	defer store.Close()
	o := startOther(t, dir)
	o.tell(t, "count")
	require.NoError(t, count(t.Context(), store))
	o.expectOK(t)
	got, err := store.Read(t.Context(), "acme")
	require.NoError(t, err)
	require.EqualValues(t, 2*increments, got.Generation)
}

func TestStoppedProcessKeepsItsLockAndADeadOneDoesNot(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	defer store.Close()
	o := startOther(t, dir)
	o.tell(t, "lock")
	o.expectOK(t)
	require.NoError(t, o.cmd.Process.Signal(syscall.SIGSTOP))
	_, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
	require.ErrorIs(t, err, pleoauth.ErrLocked)
	select {
	case <-time.After(600 * time.Millisecond): // twice the lock's life
	case <-t.Context().Done():
	}
	_, err = store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
	require.ErrorIs(t, err, pleoauth.ErrLocked, "nobody may come between a stopped process and what it was about to do")
	require.NoError(t, o.cmd.Process.Kill())
	require.Eventually(t, func() bool {
		_, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
}

func TestLockIsLeftToTheProcessThatIsNext(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	defer store.Close()
	o := startOther(t, dir)
	lock, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
	require.NoError(t, err)
	o.tell(t, "next")
	o.expectOK(t)
	require.NoError(t, lock.Release(t.Context()))
	_, err = store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute, Yield: true})
	require.ErrorIs(t, err, pleoauth.ErrLocked)
	o.tell(t, "next")
	o.expectOK(t)
	_, err = store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
	require.ErrorIs(t, err, pleoauth.ErrLocked, "the other process has the lock")
}

func TestLockOfAnotherProcessLapses(t *testing.T) {
	dir := t.TempDir()
	store := newStore(dir)
	defer store.Close()
	o := startOther(t, dir)
	o.tell(t, "lock")
	o.expectOK(t)
	require.Eventually(t, func() bool {
		_, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
}
