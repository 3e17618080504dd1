//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
)

func TestMain(m *testing.M) {
	stand.PlayRole(os.Args[1:])
	os.Exit(m.Run())
}

// No figure is judged here: on a machine that is busy with other tests it would say
// nothing.
func TestAMomentOfEveryPartIsMeasuredAndWritten(t *testing.T) {
	out := t.TempDir()
	scaling := filepath.Join(out, "scaling.md")
	document, err := os.ReadFile("../../docs/scaling.md")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(scaling, document, 0o600))
	const connections = 100
	require.NoError(t, run(t.Context(), options{
		time: time.Second, short: true, out: out, scaling: scaling, root: "../..", connections: connections, most: 1000,
		parts: "calls,memory,refresh,events,growth", log: t.Logf,
	}))

	r, err := page.Read(filepath.Join(out, "results.json"))
	require.NoError(t, err)
	problems := slices.DeleteFunc(slices.Clone(r.Problems), func(p string) bool {
		return strings.Contains(p, stand.ErrNotInstalled.Error())
	})
	require.Empty(t, problems)
	require.True(t, r.Short)
	for _, name := range []string{
		page.Direct, page.Caddy, page.OursOne, fmt.Sprintf(page.OursMany, connections), fmt.Sprintf(page.OursZipf, connections), page.RedisProxy,
	} {
		require.Contains(t, r.Calls.Contenders, name)
		require.Positive(t, r.Calls.Processes[name].RSS, name)
		for _, row := range r.Calls.Rows {
			for _, s := range row.Samples[name] {
				require.Positive(t, s.RPS, "%s, %s", name, row.Name)
				require.Positive(t, s.CPU, "%s, %s", name, row.Name)
				require.LessOrEqual(t, s.P50, s.P99, "%s, %s", name, row.Name)
			}
		}
	}
	require.NotEmpty(t, r.Calls.Rows[0].Samples[page.OursOne])
	require.Zero(t, r.Calls.RedisCommandsPerCall)
	require.Positive(t, r.Memory.PerConnection)
	require.NotEmpty(t, r.Memory.StreamPleo)
	require.NotEmpty(t, r.Refresh.Served)
	require.Equal(t, 1, r.Refresh.Crowds[0].Refreshes)
	require.Zero(t, r.Refresh.Crowds[0].Failed)
	require.Len(t, r.Events.Rows, 2)
	require.Positive(t, r.Events.Rows[1].Notices)
	require.Len(t, r.Growth.Rows, 2)

	written, err := os.ReadFile(filepath.Join(out, "README.md"))
	require.NoError(t, err)
	require.Equal(t, page.Benchmarks(r), string(written))
	require.Contains(t, string(written), "| Redis commands per call with a valid token | 0 | 0")
	filled, err := os.ReadFile(scaling)
	require.NoError(t, err)
	require.NotContains(t, string(filled), "Not measured")
	require.FileExists(t, filepath.Join(out, "calls.svg"))
}

func TestMediansOfGoBenchmarksAreRead(t *testing.T) {
	got, err := benchmarks([]byte("goos: linux\n" +
		"BenchmarkToken/connections=1-2 \t 10\t 50.5 ns/op\t 0 B/op\t 0 allocs/op\n" +
		"BenchmarkToken/connections=1-2 \t 10\t 90.5 ns/op\t 0 B/op\t 0 allocs/op\n" +
		"BenchmarkToken/connections=1-2 \t 10\t 60.5 ns/op\t 0 B/op\t 0 allocs/op\n" +
		"BenchmarkTransport/pleo/GET-2 \t 10\t 3000 ns/op\t 2000 cpu-ns/op\t 1040 B/op\t 5 allocs/op\nPASS\n"))
	require.NoError(t, err)
	require.Equal(t, []page.HotPath{
		{Name: "BenchmarkToken/connections=1", Nanoseconds: 60.5},
		{Name: "BenchmarkTransport/pleo/GET", Nanoseconds: 3000, CPU: 2000, Bytes: 1040, Allocations: 5},
	}, got)
	_, err = benchmarks([]byte("FAIL\n"))
	require.Error(t, err)
}
