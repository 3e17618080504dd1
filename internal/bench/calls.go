//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/load"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
)

const (
	// openShare is how much of Caddy's capacity an open loop asks for.
	openShare = 0.3
	// openConns is how many connections its calls share.
	openConns = 64
	postSize  = 10 << 10
	// minRounds is how many rounds each row gets at least.
	minRounds = 20
)

// contender is one of those that are compared.
type contender struct {
	name  string
	token string // that its caller sends; "": it puts one in
	names func() load.Names
	pids  []int
	conns []*load.Conn
	// every is how often it is measured: in each round, or in every second one.
	every int
	caddy *stand.Caddy // nil: it is none
}

// row is a kind of load.
type row struct {
	name, path  string
	body        []byte
	concurrency int  // of a closed loop
	open        bool // an open loop
}

func rows() []row {
	post := bytes.Repeat([]byte("x"), postSize)
	all := []row{}
	for _, c := range []int{1, 32, 256} {
		all = append(all, row{name: "GET 1 KB", path: stand.PathSmall, concurrency: c})
	}
	for _, c := range []int{1, 32, 256} {
		all = append(all, row{name: "POST 10 KB", path: stand.PathPost, body: post, concurrency: c})
	}
	return append(all,
		row{name: "stream 50 MB", path: stand.PathStream, concurrency: 2},
		row{name: "GET 1 KB, open loop", path: stand.PathSmall, open: true},
		row{name: "POST 10 KB, open loop", path: stand.PathPost, body: post, open: true})
}

// calls compares the contenders.
func (b *bench) calls() error {
	s, err := b.stand()
	if err != nil {
		return err
	}
	defer s.Close()
	all, err := b.contenders(s)
	if err != nil {
		return err
	}
	defer func() {
		for _, c := range all {
			for _, conn := range c.conns {
				conn.Close()
			}
		}
	}()
	calls := &page.Calls{Connections: b.connections, Processes: map[string]page.Process{}}
	b.results.Calls = calls
	for _, c := range all {
		calls.Contenders = append(calls.Contenders, c.name)
	}
	if err := b.profiles(s); err != nil {
		b.problem("profiles: %v", err)
	}
	rate, err := b.openRate(all)
	if err != nil {
		return err
	}
	if err := b.countCalls(s, all, calls); err != nil {
		b.problem("what calls cost beside time: %v", err)
	}
	for _, r := range rows() {
		measured := page.Row{Name: r.name, Concurrency: r.concurrency, Samples: map[string][]page.Sample{}}
		if r.open {
			measured.Rate = rate
		}
		calls.Rows = append(calls.Rows, measured)
	}
	b.play(s, all, calls)
	for _, c := range all {
		p := page.Process{RSS: stand.Memory("VmRSS", c.pids...)}
		if c.caddy != nil {
			if p.Heap, err = c.caddy.Heap(); err != nil {
				b.problem("heap of %s: %v", c.name, err)
			}
		}
		calls.Processes[c.name] = p
	}
	return nil
}

// play measures every row of every contender once a round, in another order each
// time, until the time for it is over.
func (b *bench) play(s *stand.Stand, all []*contender, calls *page.Calls) {
	budget := b.left() - b.elsewhere()
	weight := 0.0
	for _, r := range rows() {
		for _, c := range all {
			weight += slots(r) / float64(c.every)
		}
	}
	least := b.rounds
	slot := max(150*time.Millisecond, time.Duration(float64(budget)/float64(least)/weight))
	if b.short {
		least, slot, budget = 1, 30*time.Millisecond, 0
	}
	slot = min(slot, time.Second)
	calls.Slot = slot
	redis := s.RedisPID()
	end := time.Now().Add(budget)
	broken := map[string]bool{}
	for n := 0; (n < least || time.Now().Before(end)) && b.ctx.Err() == nil; n++ {
		calls.Rounds = n + 1
		for i, r := range rows() {
			for k := range all {
				c := all[(k+n)%len(all)]
				if n%2 == 1 { // and the other way round
					c = all[(len(all)-1-k+n)%len(all)]
				}
				if n%c.every != 0 || b.ctx.Err() != nil {
					continue
				}
				sample, err := measureOnce(c, r, calls.Rows[i].Rate, slot, redis)
				if err != nil && !broken[c.name+r.name] {
					broken[c.name+r.name] = true
					b.problem("%s, %s: %v", c.name, r.name, err)
				}
				if sample.RPS > 0 {
					sample.Round = n
					calls.Rows[i].Samples[c.name] = append(calls.Rows[i].Samples[c.name], sample)
				}
			}
		}
		if n%5 == 0 {
			b.log("round %d of %d at least, %s left", n+1, least, max(0, time.Until(end)).Round(time.Second))
		}
	}
}

// elsewhere is what the other parts need of the time.
func (b *bench) elsewhere() time.Duration {
	if b.parts == "calls" {
		return 0
	}
	return min(b.time/2, 4*time.Minute)
}

// slots is how much longer than others a row is measured, where there are few calls
// a second, or they take long.
func slots(r row) float64 {
	switch {
	case r.open, r.path == stand.PathStream:
		return 2
	case r.concurrency >= 256:
		return 1.5
	}
	return 1
}

// measureOnce measures a contender in a row for a moment.
func measureOnce(c *contender, r row, rate float64, slot time.Duration, redis int) (page.Sample, error) {
	slot = time.Duration(float64(slot) * slots(r))
	warm := min(slot/6, 100*time.Millisecond)
	t := &load.Target{
		Request: load.NewRequest(r.path, c.token, r.body), Names: c.names, Conns: c.conns,
		CPU: func() time.Duration { return stand.CPUTime(c.pids...) },
	}
	redisBefore := stand.CPUTime(redis)
	began := time.Now()
	var m load.Measured
	if r.open {
		t.Conns = c.conns[:openConns]
		m = load.Open(t, rate, warm, slot-warm)
	} else {
		m = load.Closed(t, r.concurrency, warm, slot-warm)
	}
	redisCPU := stand.CPUTime(redis) - redisBefore
	n := float64(len(m.Latencies))
	if n == 0 {
		return page.Sample{}, m.Err
	}
	calls := n * float64(time.Since(began)) / float64(m.Took) // the warming up included
	return page.Sample{
		RPS: round(n / m.Took.Seconds()), CPU: round(m.CPU.Seconds() / n * 10_000),
		P50: round(microseconds(load.Percentile(m.Latencies, 50))), P99: round(microseconds(load.Percentile(m.Latencies, 99))),
		RedisCPU: round(redisCPU.Seconds() / calls * 10_000), Failed: m.Failed,
	}, m.Err
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func milliseconds(d time.Duration) float64 { return round(float64(d.Nanoseconds()) / 1e6) }

// round leaves four digits: more would be noise.
func round(f float64) float64 {
	if f == 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(f))))
	return math.Round(f*scale) / scale
}

// openRate returns the rate of open loops: a share of what Caddy alone can do.
func (b *bench) openRate(all []*contender) (float64, error) {
	i := slices.IndexFunc(all, func(c *contender) bool { return c.name == page.Caddy })
	if i < 0 {
		return 0, errors.New("without Caddy alone there is nothing to compare with")
	}
	slot := time.Second
	if b.short {
		slot = 50 * time.Millisecond
	}
	var capacity []float64
	for range 3 {
		sample, err := measureOnce(all[i], rows()[1], 0, slot, 0)
		if err != nil {
			return 0, fmt.Errorf("the capacity of Caddy alone: %w", err)
		}
		capacity = append(capacity, sample.RPS)
	}
	slices.Sort(capacity)
	b.log("Caddy alone serves %.0f calls a second; open loops get %.0f", capacity[1], capacity[1]*openShare)
	return round(capacity[1] * openShare), nil
}
