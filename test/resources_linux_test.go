package test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

var (
	resourceCalls = flag.Int("resource-calls", 1000, "how many calls to measure the proxy's needs with")
	resourceIdle  = flag.Duration("resource-idle", 0, "how long to watch the idle proxy for")
)

// usage is what a process has used so far.
type usage struct {
	resident, peak int64 // MiB
	cpu            time.Duration
}

func (p *process) usage(t *testing.T) usage {
	t.Helper()
	pid := p.cmd.Process.Pid
	status := readFile(t, fmt.Sprintf("/proc/%d/status", pid))
	mebibytes := func(field string) int64 {
		kilobytes, err := strconv.ParseInt(submatch(t, regexp.MustCompile(field+`:\s+(\d+) kB`), status)[1], 10, 64)
		require.NoError(t, err)
		return kilobytes / 1024
	}
	// After the name in brackets: utime and stime are the 14th and 15th field,
	// in ticks of 10 ms (proc(5)).
	_, rest, _ := strings.Cut(readFile(t, fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	fields := strings.Fields(rest)
	user, err := strconv.Atoi(fields[11])
	require.NoError(t, err)
	system, err := strconv.Atoi(fields[12])
	require.NoError(t, err)
	return usage{mebibytes("VmRSS"), mebibytes("VmHWM"), time.Duration(user+system) * 10 * time.Millisecond}
}

// What the manifests request and limit is enough. `-v` shows the figures that
// docs/kubernetes.md has.
func TestTheProxyNeedsNoMoreMemoryThanTheManifestsGiveIt(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	c := onRedis(redistest.Start(t))
	c.quiet = true
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	p.employees(t)
	idle := p.usage(t)
	time.Sleep(*resourceIdle) // 0 but for measuring
	watched := p.usage(t)

	const callers = 32
	var left, failed atomic.Int64
	left.Store(int64(*resourceCalls))
	began := time.Now()
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for left.Add(-1) >= 0 {
				if send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "")).status != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	calling.Wait()
	took, loaded := time.Since(began), p.usage(t)
	require.Zero(t, failed.Load())
	t.Logf("idle: %d MiB, %v of CPU in %v; after %d calls by %d callers: %d MiB, at most %d MiB; CPU per call: %v; calls per second: %.0f",
		idle.resident, watched.cpu-idle.cpu, *resourceIdle, *resourceCalls, callers, loaded.resident, loaded.peak,
		(loaded.cpu-watched.cpu)/time.Duration(*resourceCalls), float64(*resourceCalls)/took.Seconds())

	manifest, err := os.ReadFile("../deploy/kubernetes/base/application.yaml")
	require.NoError(t, err)
	// The sidecar stands first.
	found := submatch(t, regexp.MustCompile(`(?s)requests:.*?memory: (\d+)Mi.*?limits:.*?memory: (\d+)Mi`), string(manifest))
	for i, used := range []int64{idle.resident, loaded.peak} {
		given, err := strconv.ParseInt(found[i+1], 10, 64)
		require.NoError(t, err)
		require.LessOrEqual(t, used, given)
	}
}
