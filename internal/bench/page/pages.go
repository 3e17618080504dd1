package page

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// WritePages writes what r says into a directory, and the tables of the page on growth
// into that.
func WritePages(r *Results, dir, scaling string) error {
	for name, text := range map[string]string{"README.md": Benchmarks(r), "calls.svg": Chart(r)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // it is documentation
			return err
		}
	}
	document, err := os.ReadFile(scaling) //nolint:gosec // the caller's choice
	if err != nil {
		return err
	}
	return os.WriteFile(scaling, []byte(Scaling(string(document), r)), 0o644) //nolint:gosec // it is documentation
}

// Benchmarks returns the page of the benchmarks.
func Benchmarks(r *Results) string {
	var b strings.Builder
	b.WriteString(`# Benchmarks

What the proxy costs beside Caddy alone, and beside what people write by hand. This page, its chart and
[results.json](results.json) are written by ` + "`make bench`" + `, which starts everything itself: nothing here is typed.
What grows with customers and replicas is in [scaling.md](../scaling.md), what callers see of a refresh
with and without the gate in [gate.md](../gate.md).

`)
	fmt.Fprintf(&b, "Measured on %s in %s: %d cores, %s, %s; %s. When it began, the machine's load was %.1f: ", r.When, r.Took, r.Machine.Cores,
		r.Machine.Processor, r.Machine.Kernel, versions(r.Machine.Versions), r.Machine.LoadBefore)
	if r.Machine.LoadBefore < 0.5 {
		b.WriteString("nothing else was running.\n")
	} else {
		b.WriteString("**other work was running**, so that ratios and processor time say something, and requests per second and latencies little.\n")
	}
	if r.Took < 10*time.Minute || r.Short {
		b.WriteString("\n**A short run.** `make bench` without a `BENCH_TIME` takes twelve minutes and has narrower intervals.\n")
	}
	if len(r.Problems) > 0 {
		b.WriteString("\nNot measured:\n\n")
		for _, p := range r.Problems {
			fmt.Fprintf(&b, "- %s\n", strings.Join(strings.Fields(p), " "))
		}
	}
	targetTable(&b, r)
	if r.Calls != nil {
		callTables(&b, r)
	}
	if r.Memory != nil {
		memoryTable(&b, r.Memory)
	}
	if r.Refresh != nil {
		refreshTable(&b, r.Refresh)
	}
	if len(r.HotPath) > 0 {
		hotPathTable(&b, r.HotPath)
	}
	return b.String()
}

func versions(of map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		all = append(all, name+" "+of[name])
	}
	return strings.Join(all, ", ")
}

var place = regexp.MustCompile(`(?s)(<!-- measured: ([a-z-]+) -->\n).*?(<!-- end -->)`)

// Scaling fills the places for figures in the page on growth.
func Scaling(document string, r *Results) string {
	return place.ReplaceAllStringFunc(document, func(match string) string {
		parts := place.FindStringSubmatch(match)
		return parts[1] + scalingTable(parts[2], r) + parts[3]
	})
}
