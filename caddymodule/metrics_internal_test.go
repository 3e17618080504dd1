package caddymodule

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

func TestMetricsCanBeRegisteredAgainAndWithSeveralConfigurations(t *testing.T) {
	m := newProcessMetrics()
	first, cancelFirst := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancelFirst()
	second, cancelSecond := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancelSecond()
	for range 2 {
		require.NoError(t, m.register(first.GetMetricsRegistry()))
		require.NoError(t, m.register(second.GetMetricsRegistry()))
	}
	m.calls.refused.Inc()
	for _, registry := range []*prometheus.Registry{first.GetMetricsRegistry(), second.GetMetricsRegistry()} {
		families, err := registry.Gather()
		require.NoError(t, err)
		i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "pleo_calls_total" })
		require.NotEqual(t, -1, i)
		sum := 0.0
		for _, metric := range families[i].GetMetric() {
			sum += metric.GetCounter().GetValue()
		}
		require.InDelta(t, 1, sum, 0)
	}
}

func TestAMetricOfOursThatIsSomebodyElsesIsAnError(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pleo_refusals_total", Help: "Of another kind.",
	}, []string{"planet"})))
	require.ErrorContains(t, newProcessMetrics().register(registry), "registering metrics")
}

func TestMetricsFollowTheConventions(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, newProcessMetrics().register(registry))
	families, err := registry.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	for _, family := range families {
		require.Regexp(t, `^pleo_[a-z_]+$`, family.GetName())
		require.Regexp(t, `^[A-Z].*\.$`, family.GetHelp())
	}
}

// Every problem that the code can answer with has a counter.
func TestEveryProblemIsCounted(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	var found []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || file == "apiproblems.go" { // the latter answer no calls to Pleo
			continue
		}
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`problemType \+ "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1) {
			found = append(found, m[1])
		}
	}
	slices.Sort(found)
	require.ElementsMatch(t, slices.Compact(found), problemTypes)
}

func TestStripesLoseNothing(t *testing.T) {
	var s stripes
	var adding sync.WaitGroup
	for range 8 {
		adding.Go(func() {
			for range 1000 {
				s.add()
			}
		})
	}
	adding.Wait()
	require.EqualValues(t, 8000, s.sum())
	require.Zero(t, testing.AllocsPerRun(100, s.add))
}

func BenchmarkHit(b *testing.B) {
	b.Run("striped", func(b *testing.B) {
		var s stripes
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				s.add()
			}
		})
	})
	b.Run("one counter", func(b *testing.B) {
		var n atomic.Uint64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				n.Add(1)
			}
		})
	})
}
