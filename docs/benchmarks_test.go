package docs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
)

// No figure of the benchmarks is typed: `make bench` writes what it has measured, and
// the pages are made of that.
func TestTheBenchmarksPagesAreWhatWasMeasured(t *testing.T) {
	results, err := page.Read("benchmarks/results.json")
	require.NoError(t, err)
	require.False(t, results.Short, "a moment of everything is no measurement")
	const remedy = "run: go run ./internal/bench -pages"
	require.Equal(t, page.Benchmarks(results), read(t, "benchmarks/README.md"), remedy)
	require.Equal(t, page.Chart(results), read(t, "benchmarks/calls.svg"), remedy)
	scaling := read(t, "scaling.md")
	require.Equal(t, page.Scaling(scaling, results), scaling, remedy)
	for _, place := range []string{"growth", "memory", "events", "extrapolation"} {
		require.Contains(t, scaling, "<!-- measured: "+place+" -->")
	}
}
