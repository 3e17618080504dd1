package test

import (
	"flag"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

var measureGate = flag.Bool("measure-gate", false, "measure the ways to announce a refresh, for minutes")

var discardLog = slog.New(slog.DiscardHandler)

const (
	// gateLife is how long tokens live: they are refreshed after half of it, so
	// that every second there is one around a refresh and one apart from it.
	gateLife        = 4 * time.Second
	gateConnections = 8
	// gateRate is what each connection gets of calls in a second.
	gateRate = 20
)

// gateWay is what becomes of the announcement of a refresh.
type gateWay string

const (
	gateTold    gateWay = "told"    // all replicas are told
	gateDrained gateWay = "drained" // all are told, and calls in flight may end first
	gateAlone   gateWay = "alone"   // only the replica that refreshes holds calls
)

// When the API looks whether a call's token lives.
const (
	judgedAtItsStart = "start"
	judgedAtItsEnd   = "end"
)

// gateCell is what is measured at a time.
type gateCell struct {
	way    gateWay
	takes  time.Duration // a call
	judged string
}

func (c gateCell) name() string { return fmt.Sprintf("%s, %v, %s", c.way, c.takes, c.judged) }

// gateMeasured is what came of a cell: sums over all rounds, and how long callers
// waited in each, around refreshes and apart from them.
type gateMeasured struct {
	calls, refreshes, refused int
	near, apart               [][]time.Duration
}

// The table in docs/gate.md is of `make measure-gate`; without that flag a moment
// of it shows that every way works.
func TestLoadWithEachWayToAnnounceARefreshIsServed(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	ways := []gateWay{gateTold, gateDrained, gateAlone}
	if !*measureGate {
		cells := make([]gateCell, len(ways))
		for i, way := range ways {
			cells[i] = gateCell{way, 50 * time.Millisecond, judgedAtItsEnd}
		}
		playAll(t, len(cells), cells, gateCell.name, func(t *testing.T, c gateCell) {
			var m gateMeasured
			measureCell(t, r, c, untilRefreshed, &m)
		})
		return
	}
	const rounds, length = 5, 6 * time.Second
	measured := map[gateCell]*gateMeasured{}
	for range rounds {
		for _, takes := range []time.Duration{50 * time.Millisecond, 300 * time.Millisecond} {
			for _, judged := range []string{judgedAtItsStart, judgedAtItsEnd} {
				for _, way := range ways {
					c := gateCell{way, takes, judged}
					if measured[c] == nil {
						measured[c] = &gateMeasured{}
					}
					t.Run(c.name(), func(t *testing.T) {
						measureCell(t, r, c, func(t *testing.T, _ *gateWorld) { pass(t, time.Now().Add(length)) }, measured[c])
					})
				}
			}
		}
	}
	for c, m := range measured {
		m.figures(t, c.name())
	}
}

// untilRefreshed waits for a refresh, however slow the machine is.
func untilRefreshed(t *testing.T, w *gateWorld) {
	require.Eventually(t, func() bool { return w.pleo.Counters().Refreshes > 0 }, startTimeout, tick)
}

// measureCell loads a world of its own until enough says so.
func measureCell(t *testing.T, r *redistest.Server, c gateCell, enough func(*testing.T, *gateWorld), m *gateMeasured) {
	w := newGateWorld(t, r, c)
	w.pleo.ResetCounters()
	l := startLoad(t, gateConnections*gateRate, func(i int) answer { return w.call(t, i) })
	enough(t, w)
	calls := l.end()
	w.close(t) // no refresh is under way when they are counted

	counters := w.pleo.Counters()
	failed := failedCalls(calls)
	if *measureGate { // in between other tests Redis can be slower than anybody would wait for
		require.Empty(t, failed)
	}
	require.Less(t, len(failed), len(calls), "%v", outcomes(calls))
	require.Equal(t, counters.RefreshRequests, counters.Refreshes)
	m.calls += len(calls)
	m.refreshes += counters.Refreshes
	m.refused += counters.DeadTokenCalls
	var near, apart []time.Duration
	for i, call := range calls {
		if w.near(w.nameOf(i), call.due) {
			near = append(near, call.took())
		} else {
			apart = append(apart, call.took())
		}
	}
	m.near, m.apart = append(m.near, near), append(m.apart, apart)
}

func (m *gateMeasured) figures(t *testing.T, row string) {
	t.Helper()
	figure(t, row, "calls", m.calls)
	figure(t, row, "refreshes", m.refreshes)
	figure(t, row, "401s per refresh", math.Round(100*float64(m.refused)/float64(max(1, m.refreshes)))/100)
	m.latencies(t, row, "around a refresh", m.near)
	m.latencies(t, row, "apart from one", m.apart)
}

// latencies notes the medians of the rounds: the machine has better and worse ones.
func (m *gateMeasured) latencies(t *testing.T, row, of string, rounds [][]time.Duration) {
	t.Helper()
	for name, p := range map[string]float64{"p50": 50, "p90": 90, "p99": 99} {
		each := make([]time.Duration, len(rounds))
		for i, round := range rounds {
			each[i] = percentile(round, p)
		}
		figure(t, row, of+" "+name+" ms", milliseconds(percentile(each, 50)))
	}
}
