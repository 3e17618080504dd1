package main

import (
	"fmt"
	"path/filepath"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// origin is the proxy as a browser sees it. Pleo allows plain HTTP to the host
// localhost only, so the browser's part of the demo is there.
func (s settings) origin() string { return fmt.Sprintf("http://localhost:%d", s.port) }

func (s settings) redirectURI() string { return s.origin() + "/pleo/callback" }

func startEmulator(s settings) (*pleotest.Server, error) {
	client := pleotest.DefaultClient()
	client.Name = "pleo-demo"
	client.RedirectURIs = []string{s.redirectURI()}
	pleo, err := pleotest.StartServer(
		pleotest.WithClient(client),
		pleotest.WithAuthAddress(fmt.Sprintf("127.0.0.1:%d", s.port+1)),
		pleotest.WithAPIAddress(fmt.Sprintf("127.0.0.1:%d", s.port+2)),
		pleotest.WithAccessTokenLife(s.life),
		pleotest.WithStateFile(filepath.Join(s.dir, "emulator.json")),
	)
	if err != nil {
		return nil, fmt.Errorf("starting the emulator (another -port may help): %w", err)
	}
	return pleo, nil
}
