//go:build linux

package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/load"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
)

// profileSeconds is how long each profile is.
const profileSeconds = 10

// profiles writes CPU profiles of Caddy alone and of the proxy, under the same load.
func (b *bench) profiles(s *stand.Stand) error {
	if b.profile == "" {
		return nil
	}
	caddy, err := s.StartCaddy()
	if err != nil {
		return err
	}
	ours, err := s.StartPleo()
	if err != nil {
		return err
	}
	for name, c := range map[string]*stand.Caddy{"caddy": caddy, "pleo": ours} {
		t := &load.Target{
			Request: load.NewRequest(stand.PathSmall, "", nil), Names: none, CPU: func() time.Duration { return 0 },
		}
		for range 32 {
			t.Conns = append(t.Conns, load.NewConn(c.Addr))
		}
		done := make(chan load.Measured, 1)
		go func() { done <- load.Closed(t, len(t.Conns), time.Second, (profileSeconds+1)*time.Second) }()
		profile, err := c.Profile(profileSeconds)
		m := <-done
		for _, conn := range t.Conns {
			conn.Close()
		}
		if err != nil {
			return err
		}
		b.log("%s: %d calls profiled", name, len(m.Latencies))
		if err := os.WriteFile(filepath.Join(b.profile, name+".pprof"), profile, 0o644); err != nil { //nolint:gosec // no secret is in it
			return err
		}
	}
	return nil
}
