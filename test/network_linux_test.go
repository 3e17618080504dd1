package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// inOwnNamespaces runs a test once more in a process that may make networks, and
// takes over the figures that it measures. The test itself calls it with what it
// does there. Where a machine allows no namespaces the test is skipped; make says
// so in a loud line.
func inOwnNamespaces(t *testing.T, play func(*testing.T)) {
	t.Helper()
	if os.Getenv(namespaceEnv) != "" {
		code, out := runProgram(t, os.Environ(), nil, need(t, "ip"), "link", "set", "lo", "up")
		require.Zero(t, code, out)
		play(t)
		return
	}
	t.Parallel()
	need(t, "ip")
	need(t, "unshare")
	options, err := exec.CommandContext(t.Context(), "../scripts/namespaces").Output()
	if err != nil {
		t.Skip("this machine allows no network namespaces")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	measured := filepath.Join(t.TempDir(), "figures.json")
	arguments := append(strings.Fields(string(options)), self, "-test.run", "^"+t.Name()+"$", "-test.v", "-figures", measured)
	if *long {
		arguments = append(arguments, "-faults")
	}
	env := append(os.Environ(), namespaceEnv+"=1", builtEnv+"="+proxyBinary)
	code, out := runProgram(t, env, nil, "unshare", arguments...)
	require.Zero(t, code, out)
	require.Contains(t, out, "--- PASS: "+t.Name(), "it has run")
	text, err := os.ReadFile(measured)
	require.NoError(t, err)
	var rows map[string]map[string]any
	require.NoError(t, json.Unmarshal(text, &rows))
	for row, figures := range rows {
		for name, value := range figures {
			figure(t, row, name, value)
		}
	}
}

// namespace is a network that has a loopback of its own.
type namespace struct{ file *os.File }

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n, made := &namespace{}, make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- err
			return
		}
		var err error
		n.file, err = os.Open("/proc/thread-self/ns/net")
		made <- err
	}()
	require.NoError(t, <-made)
	t.Cleanup(func() { _ = n.file.Close() })
	n.ip(t, "link set lo up")
	return n
}

// do runs a function in the namespace: what it opens and what it starts belongs
// there.
func (n *namespace) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		own, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			panic(err)
		}
		defer own.Close()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
		f()
		if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
		runtime.UnlockOSThread()
	}()
	<-done
}

// ip runs a command of ip in the namespace.
func (n *namespace) ip(t *testing.T, arguments string) {
	t.Helper()
	var out []byte
	var err error
	n.do(func() {
		out, err = exec.CommandContext(t.Context(), "ip", strings.Fields(arguments)...).CombinedOutput()
	})
	require.NoError(t, err, "ip %s: %s", arguments, out)
}

// path names the namespace to ip.
func (n *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// serve serves a handler at a loopback port of the namespace.
func (n *namespace) serve(t *testing.T, address string, handler http.Handler) {
	t.Helper()
	var listener net.Listener
	var err error
	n.do(func() { listener, err = net.Listen("tcp", address) })
	require.NoError(t, err)
	server := &http.Server{Handler: handler} //nolint:gosec // it is called by the test alone
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}

// forward makes a port of the namespace's loopback a port of the test's, too.
func (n *namespace) forward(t *testing.T, port int) {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go n.join(client, address)
		}
	}()
}

func (n *namespace) join(client net.Conn, address string) {
	defer client.Close()
	var server net.Conn
	var err error
	n.do(func() { server, err = net.Dial("tcp", address) })
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

// twoSides are two networks that a bridge joins, each with an address.
type twoSides struct {
	bridge      *namespace
	left, right side
}

type side struct {
	*namespace
	address string
	port    string // of the bridge
}

func joinTwoSides(t *testing.T) *twoSides {
	t.Helper()
	s := &twoSides{
		bridge: newNamespace(t),
		left:   side{newNamespace(t), "10.77.0.1", "to-left"},
		right:  side{newNamespace(t), "10.77.0.2", "to-right"},
	}
	s.bridge.ip(t, "link add middle type bridge")
	s.bridge.ip(t, "link set middle up")
	for _, one := range []side{s.left, s.right} {
		s.bridge.ip(t, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", one.port, one.path()))
		s.bridge.ip(t, fmt.Sprintf("link set %s master middle up", one.port))
		one.ip(t, "address add "+one.address+"/24 dev eth0")
		one.ip(t, "link set eth0 up")
	}
	return s
}

// cut lets nothing through between the two any more, as a broken switch does:
// neither side is told.
func (s *twoSides) cut(t *testing.T) {
	t.Helper()
	s.bridge.ip(t, "link set to-left nomaster")
}

func (s *twoSides) heal(t *testing.T) {
	t.Helper()
	s.bridge.ip(t, "link set to-left master middle")
}
