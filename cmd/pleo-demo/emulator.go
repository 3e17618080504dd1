package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// origin is the proxy as a browser sees it. Pleo allows plain HTTP to the host
// localhost only, so the browser's part of the demo is there.
func (s settings) origin() string { return fmt.Sprintf("http://localhost:%d", s.port) }

func (s settings) redirectURI() string {
	if s.emulator {
		return s.redirect
	}
	return s.origin() + "/pleo/callback"
}

// host is where the emulator listens: on loopback, beside a proxy that trusts
// it in plain HTTP.
func (s settings) host() string {
	if s.emulator {
		return s.listen
	}
	return "127.0.0.1"
}

// emulatorURL is a server of the emulator as the proxy and the browser see it,
// whatever address it listens on.
func (s settings) emulatorURL(n int) string { return fmt.Sprintf("http://127.0.0.1:%d", s.port+n) }

func startEmulator(s settings) (*pleotest.Server, error) {
	client := pleotest.DefaultClient()
	client.Name = "pleo-demo"
	client.RedirectURIs = []string{s.redirectURI()}
	pleo, err := pleotest.StartServer(
		pleotest.WithClient(client),
		pleotest.WithAuthAddress(net.JoinHostPort(s.host(), strconv.Itoa(s.port+1))),
		pleotest.WithAPIAddress(net.JoinHostPort(s.host(), strconv.Itoa(s.port+2))),
		pleotest.WithURLs(s.emulatorURL(1), s.emulatorURL(2)),
		pleotest.WithAccessTokenLife(s.life),
		pleotest.WithStateFile(filepath.Join(s.dir, "emulator.json")),
	)
	if err != nil {
		return nil, fmt.Errorf("starting the emulator (another -port may help): %w", err)
	}
	return pleo, nil
}
