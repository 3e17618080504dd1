package test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// made is one call of a load, measured from when it was due: a caller that
// could not be served in time waits, too.
type made struct {
	due, end time.Time
	answer
}

func (m made) took() time.Duration { return m.end.Sub(m.due) }

// outcome is an answer in a word: its status, and what kind of problem it is if
// it is one of the proxy's own.
func (a answer) outcome() string {
	if a.err != nil {
		return "no answer"
	}
	if a.header.Get("Content-Type") != "application/problem+json" {
		return fmt.Sprint(a.status)
	}
	var p problem
	_ = json.Unmarshal(a.body, &p)
	text := fmt.Sprint(a.status, " ", strings.TrimPrefix(p.Type, "urn:pleo-auth-proxy:"))
	if p.Reason != "" {
		text += " " + p.Reason
	}
	return text
}

// load makes calls at a constant rate, whatever becomes of those before: an open
// loop, as many callers make who know nothing of each other.
type load struct {
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	calls []made
}

// startLoad starts a load of so many calls a second.
func startLoad(t *testing.T, rate int, call func(i int) answer) *load {
	t.Helper()
	l := &load{stop: make(chan struct{}), done: make(chan struct{})}
	go l.run(rate, call)
	t.Cleanup(func() { l.end() })
	return l
}

func (l *load) run(rate int, call func(i int) answer) {
	defer close(l.done)
	var callers sync.WaitGroup
	defer callers.Wait()
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 0; ; i++ {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-l.stop:
			return
		}
		callers.Go(func() {
			a := call(i)
			m := made{due, time.Now(), a}
			if a.status == http.StatusOK {
				m.body, m.header = nil, nil // a minute of them is much
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.calls = append(l.calls, m)
		})
	}
}

// seen returns the calls that have been answered so far.
func (l *load) seen() []made {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// end lets no further call begin, waits for those under way, and returns all, in
// the order in which they were due.
func (l *load) end() []made {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	<-l.done
	calls := l.seen()
	slices.SortFunc(calls, func(a, b made) int { return a.due.Compare(b.due) })
	return calls
}

// openLoop is a load of a given length.
func openLoop(t *testing.T, rate int, length time.Duration, call func(i int) answer) []made {
	t.Helper()
	l := startLoad(t, rate, call)
	select {
	case <-time.After(length):
	case <-l.done:
	}
	return l.end()
}

// apart lets a test run beside others, unless it is there for its figures.
func apart(t *testing.T) {
	t.Helper()
	if !*long {
		t.Parallel()
	}
}

// callReplicas calls each of them in turn.
func callReplicas(t *testing.T, replicas ...*proxy) func(i int) answer {
	return func(i int) answer {
		return send(client, request(t, http.MethodGet, replicas[i%len(replicas)].URL+"/v1/companies", ""))
	}
}

// outcomes counts answers by what they are.
func outcomes(calls []made) map[string]int {
	counted := map[string]int{}
	for _, c := range calls {
		counted[c.outcome()]++
	}
	return counted
}

// failedCalls returns those that were not answered 200.
func failedCalls(calls []made) []made {
	return slices.DeleteFunc(slices.Clone(calls), func(m made) bool { return m.err == nil && m.status == http.StatusOK })
}

func latencies(calls []made) []time.Duration {
	all := make([]time.Duration, len(calls))
	for i, c := range calls {
		all[i] = c.took()
	}
	return all
}

// percentile returns the value that p hundredths do not exceed, 100 for the
// largest, and 0 of none.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, int(math.Ceil(p/100*float64(len(sorted))))-1)]
}

// milliseconds is a duration for a figure.
func milliseconds(d time.Duration) float64 { return math.Round(float64(d.Microseconds())/10) / 100 }

// figureLatencies notes how long callers waited.
func figureLatencies(t *testing.T, row, of string, all []time.Duration) {
	t.Helper()
	figure(t, row, of+" p50 ms", milliseconds(percentile(all, 50)))
	figure(t, row, of+" p99 ms", milliseconds(percentile(all, 99)))
	figure(t, row, of+" max ms", milliseconds(percentile(all, 100)))
}
