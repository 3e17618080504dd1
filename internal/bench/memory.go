//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/load"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
)

// memory measures what the proxy holds beyond Caddy alone.
func (b *bench) memory() error {
	s, err := b.stand()
	if err != nil {
		return err
	}
	defer s.Close()
	b.results.Memory = &page.Memory{}
	for _, measure := range []func(*stand.Stand, *page.Memory) error{b.idleHeaps, b.streams, b.perConnection} {
		if err := measure(s, b.results.Memory); err != nil {
			return err
		}
	}
	return nil
}

// idleHeaps measures Caddy with an idle site, and the proxy idle.
func (b *bench) idleHeaps(s *stand.Stand, m *page.Memory) error {
	starts := 5
	if b.short {
		starts = 1
	}
	for range starts {
		for _, of := range []struct {
			start      func() (*stand.Caddy, error)
			heap, live *[]float64
		}{
			{s.StartIdleCaddy, &m.IdleCaddy, &m.LiveCaddy},
			{func() (*stand.Caddy, error) { return s.StartPleo() }, &m.IdlePleo, &m.LivePleo},
		} {
			c, err := of.start()
			if err != nil {
				return err
			}
			live, err := c.HeapLive()
			if err != nil {
				return err
			}
			heap, err := c.Heap()
			if err != nil {
				return err
			}
			*of.heap, *of.live = append(*of.heap, heap), append(*of.live, live)
			c.Stop()
		}
	}
	return nil
}

// streams measures how far resident memory grows while long answers pass.
func (b *bench) streams(s *stand.Stand, m *page.Memory) error {
	rounds, length := 5, time.Second
	if b.short {
		rounds, length = 1, 300*time.Millisecond
	}
	seeder, err := s.Seeder(b.ctx, tokenLife)
	if err != nil {
		return err
	}
	if err := seeder.SeedDefault(b.ctx); err != nil {
		return err
	}
	for range rounds {
		for _, of := range []struct {
			start func() (*stand.Caddy, error)
			grown *[]float64
		}{
			{s.StartCaddy, &m.StreamCaddy},
			{func() (*stand.Caddy, error) { return s.StartPleo() }, &m.StreamPleo},
		} {
			c, err := of.start()
			if err != nil {
				return err
			}
			conns := []*load.Conn{load.NewConn(c.Addr), load.NewConn(c.Addr), load.NewConn(c.Addr), load.NewConn(c.Addr)}
			if err := conns[0].Call(load.NewRequest(stand.PathSmall, "", nil), ""); err != nil {
				return err
			}
			before := stand.Memory("VmRSS", c.PIDs()...)
			stand.ResetPeak(c.PIDs()...)
			measured := load.Closed(&load.Target{
				Request: load.NewRequest(stand.PathStream, "", nil), Names: none, Conns: conns,
				CPU: func() time.Duration { return 0 },
			}, len(conns), 0, length)
			*of.grown = append(*of.grown, float64(stand.Memory("VmHWM", c.PIDs()...)-before))
			c.Stop()
			for _, conn := range conns {
				conn.Close()
			}
			if measured.Err != nil {
				return measured.Err
			}
		}
	}
	return nil
}

// perConnection measures what a connection in use holds, here and in Redis.
func (b *bench) perConnection(s *stand.Stand, m *page.Memory) error {
	m.Counted, m.TokenBytes = b.connections, stand.AccessTokenSize+stand.RefreshTokenSize
	n := float64(b.connections)
	empty, err := s.RedisMemory(b.ctx)
	if err != nil {
		return err
	}
	seeder, err := s.Seeder(b.ctx, tokenLife)
	if err != nil {
		return err
	}
	if err := seeder.Seed(b.ctx, 0, b.connections); err != nil {
		return err
	}
	seeded, err := s.RedisMemory(b.ctx)
	if err != nil {
		return err
	}
	c, err := s.StartPleo()
	if err != nil {
		return err
	}
	defer c.Stop()
	before, err := c.HeapLive()
	if err != nil {
		return err
	}
	names := make([]string, b.connections)
	for i := range names {
		names[i] = stand.Name(i)
	}
	caller := &contender{}
	for range 64 {
		caller.conns = append(caller.conns, load.NewConn(c.Addr))
	}
	if err := b.warm(caller, names); err != nil {
		return fmt.Errorf("filling the memory: %w", err)
	}
	for _, conn := range caller.conns {
		conn.Close()
	}
	after, err := c.HeapLive()
	if err != nil {
		return err
	}
	subscribed, err := s.RedisMemory(b.ctx)
	if err != nil {
		return err
	}
	m.PerConnection = round((after - before) / n)
	m.RedisPerConnection = round(float64(seeded-empty) / n)
	m.RedisPerSubscription = round(float64(subscribed-seeded) / n)
	b.log("%.0f bytes for each connection in use, %.0f in Redis", m.PerConnection, m.RedisPerConnection)
	if b.profile != "" {
		return c.WriteHeapProfile(b.profile + "/heap.pprof")
	}
	return nil
}
