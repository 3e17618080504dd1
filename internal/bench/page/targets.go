package page

import (
	"fmt"
	"slices"
	"strings"
)

// target is what was aimed at, and what it came to.
type target struct {
	figure, aim, measured string
	verdict               verdict
	why                   string // of one that was missed
}

type verdict string

const (
	met     verdict = "met"
	unclear verdict = "not told apart" // the interval holds the target
	missed  verdict = "**missed**"
)

func atMost(value, most float64) verdict {
	if value <= most {
		return met
	}
	return missed
}

func targetTable(b *strings.Builder, r *Results) {
	b.WriteString("\n## Targets\n\nRatios are to Caddy alone with a constant header, in the same run. Of several rows the worst counts. *Not told apart*: the median misses the target, and its interval holds it.\n\n" +
		"| figure | target | measured | |\n| --- | --- | --- | --- |\n")
	var whys []string
	for _, t := range targets(r) {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", t.figure, t.aim, t.measured, t.verdict)
		if t.verdict != met && t.why != "" {
			whys = append(whys, fmt.Sprintf("- **%s**: %s", t.figure, t.why))
		}
	}
	if len(whys) > 0 {
		fmt.Fprintf(b, "\nWhat was not met, and why:\n\n%s\n", strings.Join(whys, "\n"))
	}
}

func targets(r *Results) (all []target) {
	for _, h := range r.HotPath {
		if of, ok := strings.CutPrefix(h.Name, "BenchmarkToken/connections="); ok {
			t := target{
				figure: "taking a valid token, parallel, " + of + " connections", aim: "≤ 150 ns, 0 allocations",
				measured: fmt.Sprintf("%s ns, %.0f allocations", number(h.Nanoseconds), h.Allocations), verdict: atMost(h.Nanoseconds, 150),
				why: "wall time, on all cores: where other work takes them, it counts as well. With 100,000 connections nearly each look-up waits for memory: the map, the entry, its view and its token lie in four places, and the caches hold a fraction of them.",
			}
			if h.Allocations > 0 {
				t.verdict = missed
			}
			all = append(all, t)
		}
	}
	if c := r.Calls; c != nil {
		all = append(all, target{
			figure: "Redis commands per call with a valid token", aim: "0",
			measured: fmt.Sprintf("%s (%d calls)", number(c.RedisCommandsPerCall), c.CallsCounted), verdict: atMost(c.RedisCommandsPerCall, 0),
		})
		closed := func(row Row) bool { return row.Rate == 0 }
		open := func(row Row) bool { return row.Rate > 0 }
		single := func(row Row) bool { return row.Concurrency == 1 }
		all = append(all,
			c.worst("CPU per call", "≤ 1.03", 1.03, cpu, 1, closed,
				"what the transport itself adds is in the Go benchmarks below, the network left out: its RoundTrip and no other function. The intervals say how well the rows are known, and fewer than twenty rounds, or a busy machine, say little."),
			c.worst("calls per second, each row", "≥ 0.97", 0.97, rps, -1, closed, "it follows processor time: see above."),
			c.worst("p99 at 30 % of capacity, open loop", "≤ 1.05", 1.05, p99, 1, open, "percentiles of single rounds differ by more than that between one and the same contender; the interval says how well it is known."),
			c.worst("p50 at concurrency 1", "≤ 1.05", 1.05, p50, 1, single, "see CPU per call."))
	}
	return append(all, append(refreshTargets(r), memoryTargets(r)...)...)
}

// worst judges the rows that are asked for, of all of the proxy's contenders. sign is
// 1 where less is better, -1 where more is.
func (c *Calls) worst(figure, aim string, limit float64, of func(Sample) float64, sign float64, rows func(Row) bool, why string) target {
	t := target{figure: figure + ", ours ÷ Caddy", aim: aim, verdict: met, why: why}
	var worst estimate
	var where string
	var all []float64
	found := false
	for _, row := range c.Rows {
		for _, name := range c.Contenders {
			if !rows(row) || !strings.HasPrefix(name, "pleo_proxy") {
				continue
			}
			e := estimateOf(ratios(row.Samples[name], row.Samples[Caddy], of))
			if e.of == 0 {
				continue
			}
			all = append(all, e.median)
			if !found || sign*e.median > sign*worst.median {
				worst, where, found = e, fmt.Sprintf("%s, %s", strings.TrimPrefix(name, "pleo_proxy, "), row.title()), true
			}
		}
	}
	if !found {
		t.verdict, t.measured = missed, "not measured"
		return t
	}
	t.measured = fmt.Sprintf("middle of %d rows %.3f; worst %s (%s; %d rounds)", len(all), median(all), worst, where, worst.of)
	if sign*worst.median > sign*limit {
		if t.verdict = missed; worst.low <= limit && limit <= worst.high {
			t.verdict = unclear
		}
	}
	return t
}

func refreshTargets(r *Results) (all []target) {
	if r.Refresh == nil {
		return nil
	}
	if len(r.Refresh.Crowds) > 0 {
		c := slices.MaxFunc(r.Refresh.Crowds, func(a, b Crowd) int { return int(1000 * (a.beyond() - b.beyond())) })
		v := atMost(c.beyond(), 50)
		refreshes := 0
		for _, crowd := range r.Refresh.Crowds {
			refreshes = max(refreshes, crowd.Refreshes)
			if crowd.Refreshes != 1 || crowd.Failed > 0 {
				v = missed
			}
		}
		all = append(all, target{
			figure: fmt.Sprintf("%d callers in %d replicas on an expired token", c.Callers, r.Refresh.Replicas),
			aim:    "1 refresh; slowest ≤ the refresh + the crowd's time with a valid token + 50 ms", verdict: v,
			measured: fmt.Sprintf("%d refresh; %s ms beyond refresh and crowd in the worst of %d crowds", refreshes, number(c.beyond()), len(r.Refresh.Crowds)),
			why:      "on a busy machine the same crowd takes half as long or twice as long from one time to the next, with a valid token as well.",
		})
	}
	if len(r.Refresh.Served) > 0 {
		p := quantile(r.Refresh.Served, 0.99)
		all = append(all, target{
			figure: "stored → served in other replicas, idle", aim: "p99 ≤ 5 ms",
			measured: fmt.Sprintf("p50 %s ms, p99 %s ms", number(quantile(r.Refresh.Served, 0.5)), number(p)), verdict: atMost(p, 5),
			why: "it is two ways through Redis, a notice and a read, and one decryption; what is beyond the median is waiting for a processor.",
		})
	}
	return all
}

func memoryTargets(r *Results) (all []target) {
	if m := r.Memory; m != nil {
		beyond := m.PerConnection - float64(m.TokenBytes)
		heap := (median(m.IdlePleo) - median(m.IdleCaddy)) / 1e6
		stream := (median(m.StreamPleo) - median(m.StreamCaddy)) / 1e6
		all = append(all,
			target{
				figure: "memory per cached connection beyond its token", aim: "≤ 512 bytes",
				measured: number(beyond) + " bytes", verdict: atMost(beyond, 512),
				why: "a connection in use is an entry with its locks, a view with its times and the header's value, the pair that is kept so that a store that has forgotten it gets it back, a timer, and a subscription: its channel's name stands in this package's map and in the Redis client's. Far less would take one timer for all and a subscription by shard, which is a change of the protocol's code.",
			},
			target{
				figure: "heap in use after a collection, idle, beyond Caddy alone", aim: fmt.Sprintf("≤ 2 MB (median of %d starts)", len(m.IdlePleo)),
				measured: number(heap) + " MB", verdict: atMost(heap, 2),
			},
			target{
				figure: "50 MB stream: memory beyond Caddy alone", aim: "none (less than 1 MB)",
				measured: number(stream) + " MB", verdict: atMost(stream, 1),
				why: "resident memory grows in steps of what the collector lets it; nothing is kept of an answer.",
			})
	}
	if g := r.Growth; g != nil && len(g.Rows) > 1 {
		few, many := g.Rows[0], g.Rows[len(g.Rows)-1]
		spread := quantile(few.Start, 1) - quantile(few.Start, 0)
		t := target{
			figure: fmt.Sprintf("start to ready, %d connections in Redis and %d", many.Connections, few.Connections), aim: "no different (within the spread of starts)",
			measured: fmt.Sprintf("%s and %s ms", number(median(many.Start)), number(median(few.Start))), verdict: atMost(median(many.Start)-median(few.Start), spread),
		}
		if many.Connections < 1_000_000 {
			t.measured += ", a million was left out"
			t.verdict = unclear
		}
		all = append(all, t)
	}
	return all
}
