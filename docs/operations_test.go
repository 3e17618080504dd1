package docs_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// queries are the expressions of the alerts and of the dashboard's panels.
func queries(t *testing.T) string {
	t.Helper()
	return read(t, "../deploy/prometheus/rules.yaml") + read(t, "../deploy/grafana/pleo-auth-proxy.json")
}

func TestEachAlertHasItsSectionAndEachSectionItsAlert(t *testing.T) {
	rules, page := read(t, "../deploy/prometheus/rules.yaml"), read(t, "operations.md")
	alerts := names(`(?m)^ +- alert: (\w+)$`, rules)
	require.NotEmpty(t, alerts)
	require.Equal(t, alerts, names(`(?m)^## (\w+)$`, page))
	for section := range strings.SplitSeq(page, "\n## ") {
		name, text, _ := strings.Cut(section, "\n")
		if !slices.Contains(alerts, name) {
			continue
		}
		for _, part := range []string{"**What happened.**", "**Look at**", "**Do"} {
			require.Contains(t, text, part, name)
		}
		require.Contains(t, rules, "/docs/operations.md#"+strings.ToLower(name)+"\n")
		require.Contains(t, read(t, "../deploy/prometheus/rules_test.yaml"), "name: "+name+" fires\n")
		require.Contains(t, read(t, "../deploy/prometheus/rules_test.yaml"), "name: "+name+" stays silent\n")
	}
}

func TestAlertsAndPanelsAreAboutMetricsThatAreDocumented(t *testing.T) {
	families := registered(t)
	known := map[string]bool{}
	for name, family := range families {
		known[name] = true
		if family.GetType() == dto.MetricType_HISTOGRAM {
			known[name+"_bucket"] = true
		}
	}
	for _, name := range names("(?m)^\\| `((?:caddy|probe)_[a-z_]+)` \\|", read(t, "operations.md")) {
		known[name] = true
	}
	used := map[string]bool{}
	for _, name := range names(`\b((?:pleo|caddy|probe)_[a-z_]+)`, queries(t)) {
		require.True(t, known[name], "%s is not documented", name)
		used[strings.TrimSuffix(name, "_bucket")] = true
	}
	// And all of ours are of use to somebody.
	for _, name := range slices.Sorted(maps.Keys(families)) {
		require.True(t, used[name], "neither an alert nor a panel has %s", name)
	}
}

// A value that a metric never has would make an alert that cannot fire.
func TestAlertsAreAboutValuesThatThereAre(t *testing.T) {
	families := registered(t)
	pairs := regexp.MustCompile(`(pleo_[a-z_]+)\{([^}]*)\}`).FindAllStringSubmatch(read(t, "../deploy/prometheus/rules.yaml"), -1)
	require.NotEmpty(t, pairs)
	for _, m := range pairs {
		_, values := labels(families[m[1]])
		for _, pair := range regexp.MustCompile(`[a-z_]+=~?"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
			for value := range strings.SplitSeq(pair[1], "|") {
				require.Contains(t, values, value, m[1])
			}
		}
	}
}
