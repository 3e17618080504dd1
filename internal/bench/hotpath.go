package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
)

var (
	benchLine   = regexp.MustCompile(`(?m)^(Benchmark\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)
	benchFigure = regexp.MustCompile(`([\d.]+) (\S+)`)
)

// hotPath runs the Go benchmarks and keeps the medians.
func (b *bench) hotPath() error {
	count, length := "6", "500ms"
	if b.short {
		count, length = "1", "1x"
	}
	cmd := exec.CommandContext(b.ctx, "go", "test", "./pleoauth", "./caddymodule", "-run", "^$", //nolint:gosec // our own tests
		"-bench", "^(BenchmarkToken|BenchmarkTransport)$", "-benchmem", "-count", count, "-benchtime", length)
	cmd.Dir = b.root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out[max(0, len(out)-1000):])
	}
	figures := map[string]map[string][]float64{}
	var names []string
	for _, line := range benchLine.FindAllSubmatch(out, -1) {
		name := string(line[1])
		if figures[name] == nil {
			figures[name] = map[string][]float64{}
			names = append(names, name)
		}
		for _, figure := range benchFigure.FindAllSubmatch(line[2], -1) {
			value, err := strconv.ParseFloat(string(figure[1]), 64)
			if err != nil {
				return err
			}
			figures[name][string(figure[2])] = append(figures[name][string(figure[2])], value)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("no benchmark has run: %s", out)
	}
	middle := func(values []float64) float64 {
		if len(values) == 0 {
			return 0
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	b.results.HotPath = nil
	for _, name := range names {
		f := figures[name]
		b.results.HotPath = append(b.results.HotPath, page.HotPath{
			Name: name, Nanoseconds: middle(f["ns/op"]), CPU: middle(f["cpu-ns/op"]), Bytes: middle(f["B/op"]), Allocations: middle(f["allocs/op"]),
		})
	}
	return nil
}
