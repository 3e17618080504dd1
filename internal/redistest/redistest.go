// Package redistest runs real Redis servers for tests: single ones, Sentinel
// set-ups and Clusters, on ports of 127.0.0.1 that it finds itself.
//
// A test that needs Redis must not pass without it, so a missing redis-server
// fails the test and says what to install.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a server may take to answer.
const startTimeout = 20 * time.Second

// loopback is where servers listen, if nothing else is said.
const loopback = "127.0.0.1"

// ErrNotInstalled is returned when there is no redis-server on the PATH.
var ErrNotInstalled = errors.New("redis-server is not on the PATH: install it (Debian: apt-get install redis-server)")

// Option changes how a server is started.
type Option func(*Server)

// WithConfig adds lines to the server's redis.conf.
func WithConfig(lines ...string) Option {
	return func(s *Server) { s.config = append(s.config, lines...) }
}

// WithAppendOnly makes the server keep every write on disk, fsynced, so that
// it has it again after Kill and Restart.
func WithAppendOnly() Option {
	return WithConfig("appendonly yes", "appendfsync always")
}

// WithSentinel starts the server as a Sentinel.
func WithSentinel() Option {
	return func(s *Server) { s.sentinel = true }
}

// WithHost makes the server listen at an address beside 127.0.0.1 and name it in
// [Server.Addr], for servers in networks of their own.
func WithHost(host string) Option {
	return func(s *Server) { s.host = host }
}

// WithNetwork starts the server, and opens every connection of this package's to
// it, by way of a function that runs another one in a network namespace.
func WithNetwork(do func(func())) Option {
	return func(s *Server) { s.do = do }
}

// Server is one redis-server process.
type Server struct {
	dir      string
	host     string
	do       func(func())
	config   []string
	sentinel bool
	users    []string
	rules    []string
	port     int
	tls      bool
	tlsPort  int
	cmd      *exec.Cmd
	exited   chan struct{}
	started  bool // once
}

// Start starts a server in a directory of the test's own and stops it when the
// test ends. It fails the test if that cannot be done.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	s, err := New(t.TempDir(), options...)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(func() {
		s.requireNothingRefused(t)
		s.Kill()
	})
	return s
}

// New starts a server in dir, for use without a test, as in TestMain; the
// caller ends it with Kill. It returns [ErrNotInstalled] if there is no
// redis-server.
func New(dir string, options ...Option) (*Server, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, ErrNotInstalled
	}
	s := &Server{dir: dir, host: loopback, do: func(f func()) { f() }}
	for _, option := range options {
		option(s)
	}
	if err := s.startOn(s.choosePorts); err != nil {
		return nil, err
	}
	return s, nil
}

// Addr returns the server's host and port.
func (s *Server) Addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// Port returns the server's port.
func (s *Server) Port() int { return s.port }

// URL returns the URL of the server's database 0, for [User].
func (s *Server) URL() string { return s.URLFor(User) }

// URLFor is URL for another user of [WithUsers].
func (s *Server) URLFor(user string) string { return s.URLAt(user, s.Addr()) }

// URLAt is URLFor a server that is reached at another address, a proxy's.
func (*Server) URLAt(user, address string) string {
	return fmt.Sprintf("redis://%s:%s@%s/0", user, Password, address)
}

// Dir returns the directory that the server works in.
func (s *Server) Dir() string { return s.dir }

func (s *Server) start() error {
	conf := filepath.Join(s.dir, "redis.conf")
	// A Sentinel rewrites its file: what it has learnt must survive a restart.
	if !s.sentinel || !s.started {
		if err := s.configure(conf); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(filepath.Join(s.dir, "redis.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{conf}
	if s.sentinel {
		args = append(args, "--sentinel")
	}
	cmd := exec.Command("redis-server", args...) //nolint:gosec // arguments of the test's own
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = s.dir, log, log, endWithParent()
	if s.do(func() { err = cmd.Start() }); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	s.cmd, s.exited = cmd, exited
	if err := s.waitReady(); err != nil {
		s.Kill()
		return fmt.Errorf("%w; the end of its log: %s", err, s.logTail())
	}
	s.started = true
	return nil
}

// configure writes the server's configuration file.
func (s *Server) configure(path string) error {
	lines := []string{"bind " + loopback, fmt.Sprintf("port %d", s.port), fmt.Sprintf("dir %q", s.dir)}
	if s.host != loopback {
		lines = append(lines, "bind "+loopback+" "+s.host, "protected-mode no")
	}
	if !s.sentinel {
		// A replica need not wait for others to come.
		lines = append(lines, `save ""`, "repl-diskless-sync-delay 0")
	}
	if s.tls {
		lines = append(lines, fmt.Sprintf("tls-port %d", s.tlsPort))
	}
	lines = append(append(lines, s.userLines()...), s.config...)
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func (s *Server) waitReady() error {
	deadline := time.Now().Add(startTimeout)
	for time.Now().Before(deadline) {
		select {
		case <-s.exited:
			return errors.New("redis-server has ended")
		case <-time.After(10 * time.Millisecond):
		}
		if s.answers() {
			return nil
		}
	}
	return errors.New("redis-server does not answer")
}

// dial opens a connection in the server's network.
func (s *Server) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	s.do(func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
	return conn, err
}

// answers reports whether this very process answers: another server may have
// taken the port, and ours may be about to end.
func (s *Server) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := s.dial(ctx, "tcp", s.Addr())
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\nINFO server\r\nQUIT\r\n")); err != nil {
		return false
	}
	answer, _ := io.ReadAll(conn)
	return !bytes.HasPrefix(answer, []byte("-LOADING")) &&
		bytes.Contains(answer, fmt.Appendf(nil, "process_id:%d\r\n", s.cmd.Process.Pid))
}

func (s *Server) logTail() string {
	log, _ := os.ReadFile(filepath.Join(s.dir, "redis.log"))
	return string(log[max(0, len(log)-600):])
}

// Stop ends the server in order and waits for its end.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would and waits for its end. Killing a
// server that has ended does nothing.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(signal syscall.Signal) {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(signal)
	select {
	case <-s.exited:
	case <-time.After(startTimeout):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}

// Restart ends the server in order, if it still runs, and starts it again in
// the same directory and on the same port.
func (s *Server) Restart() error {
	s.Stop()
	return s.start()
}

// Pause stops the server without ending it: connections stay open and nothing
// answers.
func (s *Server) Pause() error { return s.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue lets a paused server go on.
func (s *Server) Continue() error { return s.cmd.Process.Signal(syscall.SIGCONT) }
