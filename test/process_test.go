package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// startTimeout is how long a program may take to get ready, on a machine
	// that is busy with other tests.
	startTimeout = 60 * time.Second
	// patience is how long to wait for what takes moments.
	patience = 20 * time.Second
	// tick is how often a condition is looked at.
	tick = 10 * time.Millisecond
)

// process is a program under test. What it writes is kept.
type process struct {
	cmd            *exec.Cmd
	exited         chan struct{}
	err            error // set when exited is closed
	stdout, stderr output
}

// output is what a program has written so far.
type output struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

func (o *output) tail() string {
	all := o.String()
	return all[max(0, len(all)-3000):]
}

func startProcess(t *testing.T, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(program, args...), exited: make(chan struct{})}
	p.cmd.Env, p.cmd.SysProcAttr = env, endWithParent()
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.exited)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.exited
		if t.Failed() {
			t.Logf("the end of %s's output:\n%s%s", filepath.Base(program), p.stdout.tail(), p.stderr.tail())
		}
	})
	return p
}

// runProgram runs a program to its end and returns its exit code and all that
// it wrote.
func runProgram(t *testing.T, env []string, stdin io.Reader, program string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env, cmd.SysProcAttr, cmd.Stdin = env, endWithParent(), stdin
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), string(out)
	}
	require.NoError(t, err)
	return 0, string(out)
}

// signal sends a signal. A process that is to be stopped has been when it returns,
// where the system tells: some of its threads could go on for a moment.
func (p *process) signal(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s)
	if s != syscall.SIGSTOP {
		return
	}
	threads := fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid)
	for until := time.Now().Add(startTimeout); time.Now().Before(until); time.Sleep(time.Millisecond) {
		files, _ := filepath.Glob(threads)
		if !slices.ContainsFunc(files, runs) {
			return
		}
	}
}

// runs reports whether a thread, by its file in /proc, is not stopped.
func runs(file string) bool {
	stat, err := os.ReadFile(file)
	_, state, _ := strings.Cut(string(stat), ") ")
	return err == nil && !strings.HasPrefix(state, "T")
}

// stop asks the program to end and waits until it has.
func (p *process) stop(t *testing.T, s syscall.Signal) {
	t.Helper()
	p.signal(s)
	p.awaitExit(t)
}

func (p *process) awaitExit(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(startTimeout):
		require.FailNow(t, "the program does not end", p.stderr.tail())
	}
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// home returns a place for all that a program keeps, and the environment that
// makes it do so.
func home(t *testing.T) (dir string, env []string) {
	t.Helper()
	// Not t.TempDir: the name of a unix socket in it must not be long.
	dir, err := os.MkdirTemp("", "pleo-test-") //nolint:usetesting // see above
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir, []string{
		"HOME=" + dir,
		"PATH=" + os.Getenv("PATH"),
		"XDG_DATA_HOME=" + filepath.Join(dir, "data"),
		"XDG_CONFIG_HOME=" + filepath.Join(dir, "config"),
		"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"),
	}
}

var takenPorts = struct {
	sync.Mutex
	given map[int]bool
}{given: make(map[int]bool)}

// freePorts returns the first of n free ports in a row. They lie below the range
// from which the system takes ports by itself, and none is given out twice:
// Caddy listens with SO_REUSEPORT, so that two proxies could share one without
// noticing.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	takenPorts.Lock()
	defer takenPorts.Unlock()
	for range 1000 {
		first := 15_000 + rand.IntN(15_000)
		if portsFree(first, n) {
			for i := range n {
				takenPorts.given[first+i] = true
			}
			return first
		}
	}
	require.FailNow(t, "there are no free ports")
	return 0
}

func portsFree(first, n int) bool {
	for port := first; port < first+n; port++ {
		if takenPorts.given[port] {
			return false
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}
