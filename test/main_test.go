// Package test tries the built programs as their users do: real processes, real
// sockets, a real Redis, and an emulator in Pleo's place.
package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The programs under test, built once for all tests.
var proxyBinary, demoBinary string

// builtEnv names the proxy's binary to a process that a test starts of itself.
const builtEnv = "PLEO_TEST_PROXY_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if built := os.Getenv(builtEnv); built != "" { // a part of a test that runs in a process of its own
		proxyBinary = built
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "pleo-test-bin-")
	if err != nil {
		return giveUp(err)
	}
	defer os.RemoveAll(dir)
	// Without the race detector, whatever the tests themselves are built with:
	// that shares the build cache with everything else, and times are real ones.
	build := exec.Command("go", "build", "-o", dir, "./cmd/pleo-auth-proxy", "./cmd/pleo-demo")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return giveUp(fmt.Errorf("building the programs: %w\n%s", err, out))
	}
	proxyBinary, demoBinary = filepath.Join(dir, "pleo-auth-proxy"), filepath.Join(dir, "pleo-demo")
	return m.Run()
}

func giveUp(err error) int {
	fmt.Fprintln(os.Stderr, "test:", err)
	return 1
}
