package test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// traffic is calls that go on while things break: one caller at each replica,
// who calls again as soon as the answer is there, and a moment later.
type traffic struct {
	mu      sync.Mutex
	answers map[string]int
	end     context.CancelFunc
	callers sync.WaitGroup
}

func startTraffic(t *testing.T, connection string, replicas ...*proxy) *traffic {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	f := &traffic{answers: map[string]int{}, end: end}
	for _, p := range replicas {
		f.callers.Go(func() {
			pause := time.NewTicker(20 * time.Millisecond)
			defer pause.Stop()
			for ctx.Err() == nil {
				a := send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(connection)).WithContext(ctx))
				if ctx.Err() == nil {
					f.note(a)
				}
				<-pause.C
			}
		})
	}
	t.Cleanup(f.stop)
	return f
}

func (f *traffic) note(a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what := fmt.Sprint(a.status)
	if p := a.problem(); p.Type != "" {
		what += " " + strings.TrimPrefix(p.Type, "urn:pleo-auth-proxy:")
	} else if a.err != nil {
		what = a.err.Error()
	}
	f.answers[what]++
}

func (f *traffic) stop() {
	f.end()
	f.callers.Wait()
}

// judge ends the traffic and returns how many calls there were, and how many were
// put off. All others must have been answered with data, and none been told to
// authorise.
func (f *traffic) judge(t *testing.T, what string) (calls, putOff int) {
	t.Helper()
	f.stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	for kind, n := range f.answers {
		calls += n
		switch kind {
		case "200":
		case "503 store-unavailable", "503 refresh-unsettled", "503 refresh-failed":
			putOff += n
		default:
			require.Fail(t, "an answer that nobody should get", "%s: %s, %d times; all: %v", what, kind, n, f.answers)
		}
	}
	return calls, putOff
}

// trial is what comes of a store that fails again and again under load.
type trial struct {
	mu                             sync.Mutex
	rounds, calls, putOff, replays int
	longest                        time.Duration
}

func (y *trial) close(e *pleo) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.replays += e.Counters().Replays
}

func (y *trial) figures(t *testing.T, row string) {
	t.Helper()
	figure(t, row, "times", y.rounds)
	figure(t, row, "calls meanwhile", y.calls)
	figure(t, row, "of them put off with 503", y.putOff)
	figure(t, row, "longest until refreshes went on", rounded(y.longest))
	figure(t, row, "replays", y.replays)
	require.Zero(t, y.replays)
}

// shortLife is so short that refreshes go on all the time, and calls notice when
// they do not.
const shortLife = 3 * time.Second

// replicasOn starts three replicas on a store, with a connection in use.
func replicasOn(t *testing.T, store string) (*pleo, []*proxy) {
	t.Helper()
	e := startPleo(t, pleotest.WithAccessTokenLife(shortLife))
	var replicas []*proxy
	for range 3 {
		replicas = append(replicas, startProxy(t, e, config{store: store, options: faultTimes}))
	}
	e.authorise(t, replicas[0], "default", company(0))
	for _, p := range replicas {
		awaitUse(t, p, "default")
	}
	return e, replicas
}

// inMidRefresh has a fault happen while Pleo has a refresh in hand, before or
// after it has processed it, and calls go on. late says that Pleo answers only
// once the fault is over. It returns how long it took from there until all
// replicas were in use and had got another pair or two.
func (y *trial) inMidRefresh(t *testing.T, e *pleo, replicas []*proxy, what string, stage pleotest.Stage, late bool, fault, repair func() error) {
	t.Helper()
	f := startTraffic(t, "default", replicas...)
	hold := e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: stage})
	await(t, hold)
	require.NoError(t, fault())
	if !late {
		hold.Release()
	}
	require.NoError(t, repair())
	hold.Release()
	began, before := time.Now(), e.Counters().Refreshes
	require.Eventually(t, func() bool { return e.Counters().Refreshes >= before+2 }, settling, tick, what)
	took := time.Since(began)
	for _, p := range replicas {
		awaitUse(t, p, "default")
	}
	calls, putOff := f.judge(t, what)
	y.mu.Lock()
	defer y.mu.Unlock()
	y.rounds, y.longest = y.rounds+1, max(y.longest, took)
	y.calls, y.putOff = y.calls+calls, y.putOff+putOff
}

// stages are when Pleo has a refresh in hand.
var stages = []pleotest.Stage{pleotest.BeforeProcessing, pleotest.AfterProcessing}
