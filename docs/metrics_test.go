package docs_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// registered are the metrics that the app adds to a configuration's registry.
func registered(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_DATA_HOME", dir)
	config, err := json.Marshal(map[string]any{
		"admin":   map[string]any{"disabled": true, "config": map[string]bool{"persist": false}},
		"storage": map[string]string{"module": "file_system", "root": dir},
		"apps":    map[string]any{"pleo": map[string]string{"client_id": "acme"}},
	})
	require.NoError(t, err)
	require.NoError(t, caddy.Load(config, true))
	defer func() { require.NoError(t, caddy.Stop()) }()
	ctx := caddy.ActiveContext()
	families, err := ctx.GetMetricsRegistry().Gather()
	require.NoError(t, err)
	ours := map[string]*dto.MetricFamily{}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "pleo_") {
			ours[family.GetName()] = family
		}
	}
	require.NotEmpty(t, ours)
	return ours
}

// labels returns the names of a family's labels, and all values of them.
func labels(family *dto.MetricFamily) (labelNames, values []string) {
	all := map[string]bool{}
	for _, metric := range family.GetMetric() {
		labelNames = nil
		for _, label := range metric.GetLabel() {
			labelNames = append(labelNames, label.GetName())
			all[label.GetValue()] = true
		}
	}
	delete(all, "") // what says nothing
	return labelNames, slices.Sorted(maps.Keys(all))
}

var metricRow = regexp.MustCompile("(?m)^\\| `(pleo_[a-z_]+)` \\| ([a-z]+) \\| ?([^|]*)\\|")

func TestTheTableOfMetricsIsWhatIsRegistered(t *testing.T) {
	families := registered(t)
	documented := map[string]bool{}
	for _, row := range metricRow.FindAllStringSubmatch(read(t, "metrics.md"), -1) {
		name := row[1]
		require.Contains(t, families, name, "a metric that is not registered")
		require.False(t, documented[name], "%s is there twice", name)
		documented[name] = true
		require.Equal(t, strings.ToLower(families[name].GetType().String()), row[2], name)
		labelNames, _ := labels(families[name])
		require.ElementsMatch(t, labelNames, names("`([a-z_]+)`", row[3]), name)
	}
	require.Equal(t, slices.Sorted(maps.Keys(families)), slices.Sorted(maps.Keys(documented)))
}

func TestEveryValueOfALabelIsDocumented(t *testing.T) {
	page := read(t, "metrics.md")
	for name, family := range registered(t) {
		if name == "pleo_build_info" {
			continue // its values are versions
		}
		_, values := labels(family)
		for _, value := range values {
			text := page
			if name == "pleo_calls_total" {
				text += read(t, "../README.md") // has the problems
			}
			require.Contains(t, text, "`"+value+"`", name)
		}
	}
}

// Alerts name metrics, labels and values that there are.
func TestAlertsAreAboutMetricsThatThereAre(t *testing.T) {
	families := registered(t)
	alerts := blocksOf(t, "promql")
	for _, alert := range alerts {
		found := regexp.MustCompile(`(pleo_[a-z_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(alert.text, -1)
		require.NotEmpty(t, found)
		for _, m := range found {
			require.Contains(t, families, m[1])
			labelNames, values := labels(families[m[1]])
			for _, pair := range regexp.MustCompile(`([a-z_]+)(=~?)"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
				require.Contains(t, labelNames, pair[1])
				for value := range strings.SplitSeq(pair[3], "|") {
					pattern := regexp.MustCompile("^(?:" + value + ")$")
					require.True(t, slices.ContainsFunc(values, pattern.MatchString), "%s: %s", m[1], value)
				}
			}
		}
	}
}
