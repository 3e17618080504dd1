//go:build linux

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
	cmd := exec.CommandContext(b.ctx, "go", "test", "./pleoauth", "./caddymodule", "-run", "^$",
		"-bench", "^(BenchmarkToken|BenchmarkTransport)$", "-benchmem", "-count", "6", "-benchtime", "500ms")
	cmd.Dir = b.root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out[max(0, len(out)-1000):])
	}
	b.results.HotPath, err = benchmarks(out)
	return err
}

// benchmarks reads what go test -bench has written, and returns medians.
func benchmarks(out []byte) ([]page.HotPath, error) {
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
				return nil, err
			}
			figures[name][string(figure[2])] = append(figures[name][string(figure[2])], value)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no benchmark has run: %s", out)
	}
	middle := func(values []float64) float64 {
		if len(values) == 0 {
			return 0
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	var all []page.HotPath
	for _, name := range names {
		f := figures[name]
		all = append(all, page.HotPath{
			Name: name, Nanoseconds: middle(f["ns/op"]), CPU: middle(f["cpu-ns/op"]), Bytes: middle(f["B/op"]), Allocations: middle(f["allocs/op"]),
		})
	}
	return all, nil
}
