//go:build linux

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/load"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
)

// tokenLife is how long tokens live where nothing is to be refreshed.
const tokenLife = 24 * time.Hour

// zipfExponent is how skewed the skewed choice is: with 1.1 and 100,000
// connections, the first has a tenth of the calls.
const zipfExponent = 1.1

// contenders starts all. One that cannot be started is a problem, and the others
// go on.
func (b *bench) contenders(s *stand.Stand) ([]*contender, error) {
	seeder, err := s.Seeder(b.ctx, tokenLife)
	if err != nil {
		return nil, err
	}
	seeder.Tokens = true
	b.log("seeding %d connections", b.connections)
	if err := errors.Join(seeder.SeedDefault(b.ctx), seeder.Seed(b.ctx, 0, b.connections)); err != nil {
		return nil, err
	}
	names := make([]string, b.connections)
	for i := range names {
		names[i] = stand.Name(i)
	}
	var all []*contender
	add := func(c *contender, p *stand.Process, err error) *contender {
		if err != nil {
			b.problem("%s: %v", c.name, err)
			return nil
		}
		c.pids, c.every = p.PIDs(), max(1, c.every)
		for range 256 {
			c.conns = append(c.conns, load.NewConn(p.Addr))
		}
		all = append(all, c)
		return c
	}
	add(&contender{name: page.Direct, token: stand.ConstantToken(), names: none, every: 2}, s.Upstream, nil)
	caddy, err := s.StartCaddy()
	add(&contender{name: page.Caddy, names: none, caddy: caddy}, processOf(caddy), err)
	one, err := s.StartPleo()
	add(&contender{name: page.OursOne, names: none, caddy: one}, processOf(one), err)
	many, err := s.StartPleo()
	uniform := add(&contender{name: fmt.Sprintf(page.OursMany, b.connections), names: uniformly(names), caddy: many}, processOf(many), err)
	if uniform != nil {
		add(&contender{name: fmt.Sprintf(page.OursZipf, b.connections), names: skewed(names), caddy: many}, processOf(many), nil)
		if err := b.warm(uniform, names); err != nil {
			b.problem("%s: filling the memory: %v", uniform.name, err)
		}
	}
	nginx, err := s.StartNginx()
	add(&contender{name: page.Nginx, names: uniformly(names), every: 2}, nginx, err)
	redisProxy, err := s.StartRedisProxy()
	add(&contender{name: page.RedisProxy, names: uniformly(names), every: 2}, redisProxy, err)
	return all, nil
}

func processOf(c *stand.Caddy) *stand.Process {
	if c == nil {
		return nil
	}
	return c.Process
}

// warm calls each connection once, so that it is in memory.
func (b *bench) warm(c *contender, names []string) error {
	began := time.Now()
	var next atomic.Int64
	errs := make([]error, 64)
	request := load.NewRequest(stand.PathSmall, "", nil)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			for errs[i] == nil && b.ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(names) {
					return
				}
				errs[i] = c.conns[i].Call(request, names[n])
			}
		})
	}
	group.Wait()
	b.log("%d connections read into memory in %s", len(names), time.Since(began).Round(100*time.Millisecond))
	return errors.Join(errs...)
}

// none chooses no connection: the default one.
func none() load.Names { return func() string { return "" } }

func uniformly(names []string) func() load.Names {
	return func() load.Names { return func() string { return names[rand.IntN(len(names))] } } //nolint:gosec // a load
}

// skewed chooses few names often and most of them seldom. Which are the frequent
// ones has nothing to do with their order.
func skewed(names []string) func() load.Names {
	names = slices.Clone(names)
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] }) //nolint:gosec // a load
	return func() load.Names {
		zipf := rand.NewZipf(rand.New(rand.NewPCG(rand.Uint64(), 1)), zipfExponent, 1, uint64(len(names)-1)) //nolint:gosec // a load
		return func() string { return names[zipf.Uint64()] }
	}
}

// countCalls counts what calls cost beside time: commands to Redis, and memory that
// is allocated.
func (b *bench) countCalls(s *stand.Stand, all []*contender, calls *page.Calls) error {
	length := 2 * time.Second
	if b.short {
		length = 100 * time.Millisecond
	}
	calls.Allocated = map[string]page.Allocated{}
	for _, c := range all {
		if c.caddy == nil {
			continue
		}
		before, err := s.Commands(b.ctx)
		if err != nil {
			return err
		}
		objects, bytes, err := c.caddy.Allocated()
		if err != nil {
			return err
		}
		m := load.Closed(&load.Target{
			Request: load.NewRequest(stand.PathSmall, "", nil), Names: c.names, Conns: c.conns,
			CPU: func() time.Duration { return 0 },
		}, 32, 0, length)
		objectsAfter, bytesAfter, err := c.caddy.Allocated()
		if err != nil {
			return err
		}
		after, err := s.Commands(b.ctx)
		if err != nil {
			return err
		}
		n := float64(max(1, len(m.Latencies)))
		calls.Allocated[c.name] = page.Allocated{Objects: round((objectsAfter - objects) / n), Bytes: round((bytesAfter - bytes) / n)}
		b.log("%s: %.1f objects, %.0f bytes allocated per call", c.name, (objectsAfter-objects)/n, (bytesAfter-bytes)/n)
		if c.name == fmt.Sprintf(page.OursMany, b.connections) {
			calls.CallsCounted = len(m.Latencies)
			calls.RedisCommandsPerCall = stand.CommandsBetween(before, after).Calls() / n
		}
		if m.Err != nil {
			return fmt.Errorf("%s: %w", c.name, m.Err)
		}
	}
	return nil
}
