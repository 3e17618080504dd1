package page

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// number writes a figure with three digits.
func number(f float64) string {
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return ""
	case a >= 100:
		return fmt.Sprintf("%.0f", f)
	case a >= 10:
		return fmt.Sprintf("%.1f", f)
	case a >= 1 || a == 0:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.3f", f)
}

func (e estimate) String() string {
	if e.of == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f (%.3f–%.3f)", e.median, e.low, e.high)
}

// middle writes a median and the quartiles around it.
func middle(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s–%s)", number(median(values)), number(quantile(values, 0.25)), number(quantile(values, 0.75)))
}

func (r Row) title() string {
	if r.Rate > 0 {
		return fmt.Sprintf("%s: %s calls a second", r.Name, number(r.Rate))
	}
	return fmt.Sprintf("%s, concurrency %d", r.Name, r.Concurrency)
}

func callTables(b *strings.Builder, r *Results) {
	c := r.Calls
	b.WriteString("\n## Calls\n\n![Processor time per 10,000 calls of each contender](calls.svg)\n\n")
	fmt.Fprintf(b, "All contenders stand before the same upstream and are called by the same client, over loopback and plain HTTP. %d rounds; in each one "+
		"every contender has its turn in every row, in another order, for %s (twice that for streams and open loops). The first line, the last "+
		"and nginx are measured in every second round. Figures are medians of the rounds, with quartiles in brackets; ratios are of the same round, "+
		"with the interval that holds their median nineteen times in twenty. Times are in µs, processor time is that of the proxy's "+
		"processes, user and system, in seconds per 10,000 calls, and Redis's beside it.\n\n", c.Rounds, c.Slot.Round(time.Millisecond))
	b.WriteString("An open loop calls at a fixed rate, 30 % of what Caddy alone can do, whatever becomes of the calls before; its latencies " +
		"count from when a call was due.\n")
	for _, row := range c.Rows {
		fmt.Fprintf(b, "\n### %s\n\n| contender | calls/s | p50 | p99 | CPU | Redis CPU | CPU ÷ Caddy | calls/s ÷ Caddy | p50 ÷ Caddy | p99 ÷ Caddy |\n", row.title())
		b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
		base := row.Samples[Caddy]
		for _, name := range c.Contenders {
			s := row.Samples[name]
			if len(s) == 0 {
				fmt.Fprintf(b, "| %s | not measured | | | | | | | | |\n", name)
				continue
			}
			redis := ""
			if name == Nginx || name == RedisProxy {
				redis = number(median(figures(s, redisCPU)))
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |", name, middle(figures(s, rps)), middle(figures(s, p50)), middle(figures(s, p99)), middle(figures(s, cpu)), redis)
			for _, figure := range []func(Sample) float64{cpu, rps, p50, p99} {
				if name == Caddy {
					b.WriteString(" 1 |")
					continue
				}
				fmt.Fprintf(b, " %s |", estimateOf(ratios(s, base, figure)))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n### What they hold, and allocate\n\nAfter all rounds; heap in use after a collection.\n\n" +
		"| contender | resident MB | heap in use, MB | objects allocated per call | bytes allocated per call |\n| --- | --- | --- | --- | --- |\n")
	for _, name := range c.Contenders {
		p, a := c.Processes[name], c.Allocated[name]
		heap, objects, bytes := "", "", ""
		if p.Heap > 0 {
			heap, objects, bytes = number(p.Heap/1e6), number(a.Objects), number(a.Bytes)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", name, number(float64(p.RSS)/1e6), heap, objects, bytes)
	}
	distance(b, c)
}

// distance says what of a call's way is whose.
func distance(b *strings.Builder, c *Calls) {
	for _, row := range c.Rows {
		if row.Concurrency != 1 || !strings.HasPrefix(row.Name, "GET") {
			continue
		}
		at := func(name string, figure func(Sample) float64) float64 {
			return median(figures(row.Samples[name], figure))
		}
		if len(row.Samples[Nginx]) == 0 || len(row.Samples[OursOne]) == 0 || len(row.Samples[Caddy]) == 0 {
			continue
		}
		fmt.Fprintf(b, "\n### The distance to nginx\n\nA single caller waits %s µs for nginx with Lua and Redis, %s for Caddy and %s for the proxy. "+
			"Of the %s µs between nginx and the proxy, %s are Caddy's and %s are the proxy's own. "+
			"Profiles say what Caddy's are: system calls, goroutines that wake each other (net/http has two for each connection to the upstream and hands each call "+
			"from one to the other), the reverse proxy's copy of the header, and the collection of the objects that each call allocates. "+
			"What the proxy adds lies in one function, the transport's RoundTrip: three questions about the caller, a look into a map, and a copy of the header. "+
			"nginx does all of a call in one thread, without a collector, and asks Redis by a socket that is open already: on loopback that is cheap. "+
			"It refreshes no token.\n",
			number(at(Nginx, p50)), number(at(Caddy, p50)), number(at(OursOne, p50)), number(at(OursOne, p50)-at(Nginx, p50)),
			number(at(Caddy, p50)-at(Nginx, p50)), number(at(OursOne, p50)-at(Caddy, p50)))
	}
}

func megabytes(values []float64) string {
	scaled := make([]float64, len(values))
	for i, v := range values {
		scaled[i] = v / 1e6
	}
	return middle(scaled)
}

func memoryTable(b *strings.Builder, m *Memory) {
	fmt.Fprintf(b, "\n## Memory\n\nIn MB, medians of %d starts and %d rounds, with quartiles. Streams: by how much resident memory grew at most while four answers of 50 MB passed at a time.\n\n"+
		"| | Caddy alone | the proxy |\n| --- | --- | --- |\n", len(m.IdlePleo), len(m.StreamPleo))
	fmt.Fprintf(b, "| heap in use, idle, after a collection | %s | %s |\n", megabytes(m.IdleCaddy), megabytes(m.IdlePleo))
	fmt.Fprintf(b, "| live objects in it | %s | %s |\n", megabytes(m.LiveCaddy), megabytes(m.LivePleo))
	fmt.Fprintf(b, "| streams | %s | %s |\n", megabytes(m.StreamCaddy), megabytes(m.StreamPleo))
	fmt.Fprintf(b, "\nWith %d connections in use, each one holds %s bytes, of which %d are its pair of tokens. A connection that is in Redis and not in use holds none.\n",
		m.Counted, number(m.PerConnection), m.TokenBytes)
}

func refreshTable(b *strings.Builder, r *Refresh) {
	fmt.Fprintf(b, "\n## Refreshes\n\nWith %d replicas. From when a replica gives a new grant to the store until another, idle one hands out its token, in ms: "+
		"p50 %s, p99 %s, at most %s (%d measured).\n", r.Replicas, number(quantile(r.Served, 0.5)), number(quantile(r.Served, 0.99)), number(quantile(r.Served, 1)), len(r.Served))
	if len(r.Crowds) == 0 {
		return
	}
	b.WriteString("\nCallers at once, at all replicas, on a token that has expired; times in ms. The token endpoint takes 200 ms.\n\n" +
		"| callers | refreshes | failed | the refresh | slowest with a valid token | slowest caller | beyond refresh and crowd |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, c := range r.Crowds {
		fmt.Fprintf(b, "| %d | %d | %d | %s | %s | %s | %s |\n", c.Callers, c.Refreshes, c.Failed, number(c.Refresh), number(c.Valid), number(c.Slowest), number(c.beyond()))
	}
}

// beyond is how much longer the slowest caller waited than the refresh took, and the
// same crowd with a valid token.
func (c Crowd) beyond() float64 { return c.Slowest - c.Refresh - c.Valid }

func hotPathTable(b *strings.Builder, all []HotPath) {
	b.WriteString("\n## Go benchmarks\n\nTaking a token, and a call in Caddy's transport and in the proxy's with the network left out. Medians.\n\n" +
		"| benchmark | ns/op | CPU ns/op | B/op | allocs/op |\n| --- | --- | --- | --- | --- |\n")
	for _, h := range all {
		cpu := ""
		if h.CPU > 0 {
			cpu = number(h.CPU)
		}
		fmt.Fprintf(b, "| %s | %s | %s | %.0f | %.0f |\n", h.Name, number(h.Nanoseconds), cpu, h.Bytes, h.Allocations)
	}
}
