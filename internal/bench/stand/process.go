//go:build linux

// Package stand starts what the benchmarks compare, and what stands around it: an
// upstream, a token endpoint, Redis, and the contenders between.
package stand

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// startTimeout is how long a program may take to answer.
const startTimeout = 60 * time.Second

// RoleVariable names the environment variable that makes this program play
// another part than its own: an upstream or a proxy.
const RoleVariable = "PLEO_BENCH_ROLE"

// Process is a program that was started.
type Process struct {
	Addr   string
	cmd    *exec.Cmd
	exited chan struct{}
	log    tail
}

// tail keeps the end of what a program writes.
type tail struct {
	mu  sync.Mutex
	all []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, p...)
	t.all = t.all[max(0, len(t.all)-2000):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.all))
}

// start starts a program that keeps all that it writes in dir.
func start(dir, addr string, env []string, program string, args ...string) (*Process, error) {
	p := &Process{Addr: addr, exited: make(chan struct{})}
	p.cmd = exec.Command(program, args...) //nolint:gosec,noctx // it ends by Stop
	p.cmd.Env = append([]string{
		"HOME=" + dir, "PATH=" + os.Getenv("PATH"),
		"XDG_DATA_HOME=" + filepath.Join(dir, "data"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "config"),
	}, env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// Stop ends the program at once.
func (p *Process) Stop() {
	for _, child := range children(p.cmd.Process.Pid) {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// PIDs returns the ids of the process and its children.
func (p *Process) PIDs() []int {
	return append([]int{p.cmd.Process.Pid}, children(p.cmd.Process.Pid)...)
}

// errNotReady is returned when a program has ended, or does not get ready.
var errNotReady = errors.New("the program does not get ready")

// await waits until ready says so.
func (p *Process) await(ready func() bool) error {
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		if ready() {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%w: it has ended: %s", errNotReady, p.log.String())
		case <-time.After(2 * time.Millisecond):
		}
	}
	p.Stop()
	return fmt.Errorf("%w: %s", errNotReady, p.log.String())
}

// listens reports whether somebody accepts connections at addr.
func listens(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second) //nolint:noctx // it has a timeout
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

var healthClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// healthy reports whether addr answers /healthz with 200.
func healthy(addr string) bool {
	res, err := healthClient.Get("http://" + addr + "/healthz") //nolint:noctx // the client has a timeout
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// freeAddr returns an address of 127.0.0.1 whose port nobody has.
func freeAddr() (string, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // it was never used
	return l.Addr().String(), nil
}
