//go:build linux

// Command bench measures what the proxy costs beside Caddy alone and beside what
// people write by hand, side by side in one run, and writes what it has measured to
// docs/benchmarks. Run it in the repository's root, by `make bench`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
)

func main() {
	if stand.PlayRole(os.Args[1:]) {
		return
	}
	o := options{log: func(format string, a ...any) {
		fmt.Printf("%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, a...))
	}}
	flag.DurationVar(&o.time, "time", 12*time.Minute, "about how long it may take")
	flag.StringVar(&o.out, "out", "docs/benchmarks", "the `directory` that results and pages are written to")
	flag.StringVar(&o.scaling, "scaling", "docs/scaling.md", "the `page` on growth whose tables are filled")
	flag.StringVar(&o.root, "root", ".", "the repository's root")
	flag.StringVar(&o.binary, "binary", "", "a built pleo-auth-proxy; default: it is built")
	flag.IntVar(&o.connections, "connections", 100_000, "how many connections there are where there are many")
	flag.IntVar(&o.rounds, "rounds", minRounds, "how many rounds of calls there are at least")
	flag.IntVar(&o.most, "most", 1_000_000, "the most connections that the store is filled with")
	flag.StringVar(&o.parts, "parts", "", "only these, comma-separated: "+strings.Join(partNames(), ", ")+"; the others stay as they were measured")
	flag.StringVar(&o.profile, "profile", "", "a `directory` that CPU profiles of Caddy and of the proxy are written to")
	pages := flag.Bool("pages", false, "measure nothing, and make the pages anew of what was measured")
	flag.Parse()
	if *pages {
		results, err := page.Read(filepath.Join(o.out, "results.json"))
		if err == nil {
			err = page.WritePages(results, o.out, o.scaling)
		}
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// options say what is measured.
type options struct {
	time                              time.Duration
	out, scaling, root, binary, parts string
	connections, most, rounds         int
	profile                           string
	short                             bool // a moment of everything, to see that it works
	log                               func(format string, a ...any)
}

// part is a part of the run. It notes what it has measured in the results also
// where it ends with an error.
type part struct {
	name    string
	measure func(*bench) error
}

var parts = []part{
	{"calls", (*bench).calls},
	{"memory", (*bench).memory},
	{"refresh", (*bench).refresh},
	{"events", (*bench).events},
	{"growth", (*bench).growth},
	{"hotpath", (*bench).hotPath},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// bench is a run.
type bench struct {
	options
	ctx     context.Context //nolint:containedctx // it is the run's
	began   time.Time
	results *page.Results
}

func run(ctx context.Context, o options) error {
	b := &bench{options: o, ctx: ctx, began: time.Now()}
	file := filepath.Join(o.out, "results.json")
	b.results = &page.Results{}
	if o.parts != "" {
		if kept, err := page.Read(file); err == nil {
			b.results = kept
			b.results.Problems = nil
		}
	}
	b.results.When, b.results.Short, b.results.Machine = b.began.Format(time.DateOnly), o.short, machine()
	if o.binary == "" {
		dir, err := os.MkdirTemp("", "pleo-bench-bin-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // the system's to clean up then
		o.log("building pleo-auth-proxy")
		if b.binary, err = stand.Build(o.root, dir); err != nil {
			return err
		}
	}
	for _, p := range parts {
		if o.parts != "" && !slices.Contains(strings.Split(o.parts, ","), p.name) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o.log("== %s", p.name)
		if err := p.measure(b); err != nil {
			b.problem("%s: %v", p.name, err)
		}
	}
	b.results.Took = time.Since(b.began).Round(time.Second)
	if err := os.MkdirAll(o.out, 0o755); err != nil { //nolint:gosec // it is documentation
		return err
	}
	if err := b.results.Write(file); err != nil {
		return err
	}
	if err := page.WritePages(b.results, o.out, o.scaling); err != nil {
		return err
	}
	o.log("written to %s", o.out)
	return nil
}

// problem notes what could not be measured, loudly.
func (b *bench) problem(format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	b.log("!!!! %s", text)
	b.results.Problems = append(b.results.Problems, text)
}

// stand starts what is around the contenders of a part.
func (b *bench) stand() (*stand.Stand, error) { return stand.New(b.binary) }

// left returns how much of the run's time is left.
func (b *bench) left() time.Duration { return b.time - time.Since(b.began) }

func machine() page.Machine {
	m := page.Machine{
		Processor: stand.Processor(), Cores: runtime.NumCPU(), Kernel: stand.Kernel(), LoadBefore: stand.LoadAverage(),
		Versions: map[string]string{"Go": strings.TrimPrefix(runtime.Version(), "go")},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "github.com/caddyserver/caddy/v2" {
				m.Versions["Caddy"] = strings.TrimPrefix(d.Version, "v")
			}
		}
	}
	number := regexp.MustCompile(`\d+\.\d+\.\d+`)
	for name, args := range map[string][]string{"Redis": {"redis-server", "--version"}, "nginx": {"nginx", "-v"}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err == nil { //nolint:gosec,noctx // fixed commands
			m.Versions[name] = number.FindString(string(out))
		}
	}
	return m
}
