//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
)

// sweepSize is how many connections a replica's sweep takes on at a time.
const sweepSize = 64

// growth measures what more connections in Redis cost a replica.
func (b *bench) growth() error {
	s, err := b.stand()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Redis.ConfigSet(b.ctx, "appendonly", "no").Err(); err != nil {
		return err
	}
	b.results.Growth = &page.Growth{}
	have := 0
	for _, n := range []int{10, 1000, 100_000, 1_000_000} {
		if n > b.most {
			if !b.short {
				b.problem("growth: %d connections were left out (-most %d)", n, b.most)
			}
			continue
		}
		seeder, err := s.Seeder(b.ctx, tokenLife)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := seeder.Seed(b.ctx, have, n); err != nil {
			return err
		}
		b.log("%d connections in Redis, the last %d in %s", n, n-have, time.Since(began).Round(100*time.Millisecond))
		have = n
		row, err := b.growthOf(s, n)
		if err != nil {
			return fmt.Errorf("%d connections: %w", n, err)
		}
		b.results.Growth.Rows = append(b.results.Growth.Rows, row)
	}
	return nil
}

func (b *bench) growthOf(s *stand.Stand, n int) (page.GrowthRow, error) {
	row := page.GrowthRow{Connections: n}
	starts, sweeps := 5, 20
	if b.short {
		starts, sweeps = 1, 2
	}
	for range starts {
		began := time.Now()
		c, err := s.StartPleo()
		if err != nil {
			return row, err
		}
		row.Start = append(row.Start, milliseconds(time.Since(began)))
		if row.Heap, err = c.Heap(); err != nil {
			return row, err
		}
		row.RSS = stand.Memory("VmRSS", c.PIDs()...)
		c.Stop()
	}
	var err error
	if row.RedisMemory, err = s.RedisMemory(b.ctx); err != nil {
		return row, err
	}
	if row.SweepIdle, row.SweepCommands, err = b.sweeps(s, sweeps, 0); err != nil {
		return row, err
	}
	if err := s.MakeDue(b.ctx, true); err != nil {
		return row, err
	}
	if row.SweepDue, _, err = b.sweeps(s, sweeps, min(n, sweepSize)); err != nil {
		return row, err
	}
	return row, s.MakeDue(b.ctx, false)
}

// sweeps asks for what is due, as the sweep does, and expects that many.
func (b *bench) sweeps(s *stand.Stand, n, expected int) (took []float64, commands float64, err error) {
	store, err := s.Store()
	if err != nil {
		return nil, 0, err
	}
	defer store.Close() //nolint:errcheck // it was read from
	before, err := s.Commands(b.ctx)
	if err != nil {
		return nil, 0, err
	}
	for range n {
		began := time.Now()
		names, err := store.Due(b.ctx, sweepSize)
		if err != nil {
			return nil, 0, err
		}
		took = append(took, milliseconds(time.Since(began)))
		if len(names) != expected {
			return nil, 0, fmt.Errorf("%d connections were due, not %d", len(names), expected)
		}
	}
	after, err := s.Commands(b.ctx)
	if err != nil {
		return nil, 0, err
	}
	between := stand.CommandsBetween(before, after)
	return took, (between["zrangebyscore"] + between["time"]) / float64(n), nil
}
