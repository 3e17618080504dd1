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

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
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

// fakeStats is a source with these figures.
type fakeStats struct{ stats pleoauth.Stats }

func (f fakeStats) Stats() pleoauth.Stats { return f.stats }

func (fakeStats) DurabilityRisks() []pleoauth.DurabilityRisk {
	return []pleoauth.DurabilityRisk{{Code: pleoauth.RiskSplit}}
}

func TestGaugesAddUpWhatTheSourcesOfAProcessTell(t *testing.T) {
	one := fakeStats{pleoauth.Stats{IntrospectionUnusable: 2, Waiting: 3, Alone: true, Paused: true, Unsaved: 1}}
	for _, c := range []struct {
		sources                                       []statsSource
		unusable, waiting, alone, paused, split, held float64
	}{
		{nil, 0, 0, 0, 0, 0, 0},
		{[]statsSource{fakeStats{}}, 0, 0, 0, 0, 1, 0},
		{[]statsSource{one, fakeStats{}}, 2, 3, 1, 1, 2, 1},
		{[]statsSource{one, one}, 4, 6, 1, 1, 2, 2},
	} {
		registry := prometheus.NewPedanticRegistry()
		require.NoError(t, registry.Register(newSourceGauges(func() []statsSource { return c.sources })))
		families, err := registry.Gather()
		require.NoError(t, err)
		got := map[string]float64{}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				name := family.GetName()
				for _, label := range metric.GetLabel() {
					name += " " + label.GetValue()
				}
				got[name] = metric.GetGauge().GetValue()
			}
		}
		for name, expected := range map[string]float64{
			"pleo_introspection_unusable_connections": c.unusable, "pleo_oauth_waiting_requests": c.waiting,
			"pleo_store_alone": c.alone, "pleo_oauth_paused": c.paused, "pleo_store_risks split": c.split, "pleo_unsaved_grants": c.held,
		} {
			require.Contains(t, got, name)
			require.InDelta(t, expected, got[name], 0, name)
		}
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
