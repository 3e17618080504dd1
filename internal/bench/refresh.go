//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/load"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
)

// replicaCount is how many replicas there are where refreshes are measured.
const replicaCount = 5

// crowdDelay is how long the token endpoint takes while there is a crowd.
const crowdDelay = 200 * time.Millisecond

// refresh measures what replicas and callers see of refreshes.
func (b *bench) refresh() error {
	s, err := b.stand()
	if err != nil {
		return err
	}
	defer s.Close()
	b.results.Refresh = &page.Refresh{Replicas: replicaCount}
	return errors.Join(b.servedAfterStored(s, b.results.Refresh), b.crowds(s, b.results.Refresh))
}

// servedAfterStored measures how long other replicas take to serve what one has
// stored.
func (b *bench) servedAfterStored(s *stand.Stand, r *page.Refresh) error {
	n := 250
	if b.short {
		n = 5
	}
	seeder, err := s.Seeder(b.ctx, tokenLife)
	if err != nil {
		return err
	}
	if err := seeder.Seed(b.ctx, 0, n); err != nil {
		return err
	}
	all, closeAll, err := b.replicas(s, replicaCount)
	if err != nil {
		return err
	}
	defer closeAll()
	names := make([]string, n)
	for i := range names {
		names[i] = stand.Name(i)
	}
	if err := read(b.ctx, all, names); err != nil {
		return err
	}
	for i, name := range names {
		by := i % len(all)
		others := slices.Delete(slices.Clone(all), by, by+1)
		ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
		took, err := refreshAndServe(ctx, all[by], others, name)
		cancel()
		if err != nil {
			return err
		}
		for _, d := range took {
			r.Served = append(r.Served, milliseconds(d))
		}
		time.Sleep(5 * time.Millisecond) // idle
	}
	slices.Sort(r.Served)
	return nil
}

// crowds has callers arrive at once, at all replicas, when a token has expired.
func (b *bench) crowds(s *stand.Stand, r *page.Refresh) error {
	n, callers, life := 5, 1000, 3*time.Second
	if b.short {
		n, callers, life = 1, 50, 1500*time.Millisecond
	}
	seeder, err := s.Seeder(b.ctx, tokenLife)
	if err != nil {
		return err
	}
	if err := seeder.SeedDefault(b.ctx); err != nil {
		return err
	}
	var replicas []*stand.Caddy
	for range replicaCount {
		c, err := s.StartPleo()
		if err != nil {
			return err
		}
		defer c.Stop()
		replicas = append(replicas, c)
	}
	crowd := newCrowd(replicas, callers)
	defer crowd.close()
	for range n {
		measured, err := b.crowd(s, seeder, replicas, crowd, life)
		if err != nil {
			return err
		}
		b.log("%d callers on an expired token: %d refresh, slowest %.0f ms, with a valid one %.0f ms", callers, measured.Refreshes, measured.Slowest, measured.Valid)
		r.Crowds = append(r.Crowds, measured)
	}
	return nil
}

// crowd measures one crowd.
func (b *bench) crowd(s *stand.Stand, seeder *stand.Seeder, replicas []*stand.Caddy, callers *crowd, life time.Duration) (page.Crowd, error) {
	m := page.Crowd{Callers: len(callers.conns)}
	if _, failed, err := callers.call(""); failed > 0 { // opens the connections
		return m, err
	}
	// Everybody has the connection in memory, and uses it: it is refreshed at half of
	// its life. The token that comes of that nobody uses: it expires.
	callers.n++
	name := stand.Name(callers.n)
	seeder.Life = life
	s.Tokens.Life.Store(int64(life))
	s.Tokens.Delay.Store(0)
	before := s.Tokens.Refreshes.Load()
	if err := seeder.Seed(b.ctx, callers.n, callers.n+1); err != nil {
		return m, err
	}
	for i := range replicas {
		if err := callers.conns[i].Call(callers.request, name); err != nil {
			return m, err
		}
	}
	for deadline := time.Now().Add(3 * life); s.Tokens.Refreshes.Load() == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return m, errors.New("a token in use was not refreshed before its expiry")
		}
	}
	time.Sleep(life + life/4)
	s.Tokens.Life.Store(int64(time.Hour))
	s.Tokens.Delay.Store(int64(crowdDelay))
	before = s.Tokens.Refreshes.Load()
	refreshedBefore, err := refreshSeconds(replicas)
	if err != nil {
		return m, err
	}
	took, failed, callErr := callers.call(name)
	m.Refreshes, m.Failed = int(s.Tokens.Refreshes.Load()-before), failed
	m.Slowest, m.Median = milliseconds(load.Percentile(took, 100)), milliseconds(load.Percentile(took, 50))
	refreshed, err := refreshSeconds(replicas)
	if err != nil {
		return m, err
	}
	m.Refresh = round((refreshed - refreshedBefore) * 1000)
	var valid []time.Duration
	for range 3 {
		took, _, err := callers.call(name)
		callErr = errors.Join(callErr, err)
		valid = append(valid, load.Percentile(took, 100))
	}
	m.Valid = milliseconds(load.Percentile(valid, 50))
	return m, callErr
}

// refreshSeconds is how long refreshes have taken in all replicas together.
func refreshSeconds(replicas []*stand.Caddy) (sum float64, err error) {
	for _, c := range replicas {
		seconds, err := c.Metric("pleo_refresh_duration_seconds_sum")
		if err != nil {
			return 0, fmt.Errorf("the metrics of a replica: %w", err)
		}
		sum += seconds
	}
	return sum, nil
}

// crowd is callers who call at once.
type crowd struct {
	conns   []*load.Conn
	request *load.Request
	n       int // the last connection that was used up
}

func newCrowd(replicas []*stand.Caddy, callers int) *crowd {
	c := &crowd{request: load.NewRequest(stand.PathSmall, "", nil)}
	for i := range callers {
		c.conns = append(c.conns, load.NewConn(replicas[i%len(replicas)].Addr))
	}
	return c
}

func (c *crowd) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// call has everybody call at once and returns how long each waited.
func (c *crowd) call(connection string) (took []time.Duration, failed int, err error) {
	took, errs := make([]time.Duration, len(c.conns)), make([]error, len(c.conns))
	start := make(chan struct{})
	var group sync.WaitGroup
	var began time.Time
	for i, conn := range c.conns {
		group.Go(func() {
			<-start
			errs[i] = conn.Call(c.request, connection)
			took[i] = time.Since(began)
		})
	}
	began = time.Now()
	close(start)
	group.Wait()
	for _, e := range errs {
		if e != nil {
			failed, err = failed+1, e
		}
	}
	return took, failed, err
}
