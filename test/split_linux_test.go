package test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// splitTimes say how fast things go in a network that splits. The long selection
// has the defaults of Redis and of the proxy, and splits it for longer than the
// minute after which a master takes its replicas for gone. The short one has
// everything some five times faster.
type splitTimes struct {
	options             string // of the proxy
	redis               []string
	tokens, split, late time.Duration // how long tokens live, the network is split, and the right side may be put off
	lag                 int           // min-replicas-max-lag
}

func timesOfASplit() splitTimes {
	if *long {
		return splitTimes{tokens: 40 * time.Second, split: 100 * time.Second, late: 40 * time.Second, lag: 10}
	}
	return splitTimes{
		options: faultTimes, redis: []string{"repl-ping-replica-period 1", "repl-timeout 18"},
		tokens: 14 * time.Second, split: 34 * time.Second, late: 20 * time.Second, lag: 3,
	}
}

func TestFaultANetworkThatSplitsLosesNoGrantOnEitherSide(t *testing.T) {
	inOwnNamespaces(t, func(t *testing.T) {
		together(t, map[string]func(*testing.T){
			"as Redis comes": func(t *testing.T) { splitNetwork(t, "network split", nil) },
			"with min-replicas-to-write": func(t *testing.T) {
				splitNetwork(t, "network split, min-replicas-to-write 1", []string{
					"min-replicas-to-write 1", fmt.Sprintf("min-replicas-max-lag %d", timesOfASplit().lag),
				})
			},
		})
	})
}

// divided is a master of Redis, a Sentinel and a proxy on the left, and two
// replicas, two Sentinels and a proxy on the right. Pleo is the same for both.
type divided struct {
	*twoSides
	e                       *pleo
	master                  *redistest.Server
	replicas, sentinels     []*redistest.Server
	leftProxy, rightProxy   *proxy
	onBoth, onLeft, onRight []string // connections, by where they are called
}

func startDivided(t *testing.T, times splitTimes, redisConfig []string) *divided {
	t.Helper()
	d := &divided{twoSides: joinTwoSides(t), e: startPleo(t)}
	for _, one := range []side{d.left, d.right} {
		one.serve(t, strings.TrimPrefix(d.e.AuthURL, "http://"), d.e.Auth)
		one.serve(t, strings.TrimPrefix(d.e.APIURL, "http://"), d.e.API)
	}
	in := func(one side) []redistest.Option {
		return []redistest.Option{redistest.WithHost(one.address), redistest.WithNetwork(one.do)}
	}
	kept := append([]redistest.Option{redistest.WithAppendOnly(), redistest.WithConfig(redisConfig...), redistest.WithConfig(times.redis...)}, in(d.left)...)
	d.master = redistest.Start(t, kept...)
	for range 2 {
		kept[3], kept[4] = in(d.right)[0], in(d.right)[1]
		d.replicas = append(d.replicas, d.master.StartReplica(t, kept...))
	}
	var addresses []string
	for _, one := range []side{d.left, d.right, d.right} {
		sentinel := redistest.StartSentinelOf(t, d.master, in(one)...)
		d.sentinels, addresses = append(d.sentinels, sentinel), append(addresses, sentinel.Addr())
	}
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(d.sentinels, func(s *redistest.Server) bool {
			return !strings.Contains(s.Info(t, "sentinel"), "slaves=2,sentinels=3")
		})
	}, startTimeout, 10*tick, "the Sentinels know each other")

	c := config{store: sentinelStore(addresses), options: times.options}
	c.network = d.left
	d.leftProxy = startProxy(t, d.e, c)
	c.network, c.redirect = d.right, d.leftProxy.redirectURI()
	d.rightProxy = startProxy(t, d.e, c)
	return d
}

// sides are the proxies, each with the connections that are called there.
func (d *divided) sides() map[*proxy][]string {
	return map[*proxy][]string{
		d.leftProxy:  slices.Concat(d.onBoth, d.onLeft),
		d.rightProxy: slices.Concat(d.onBoth, d.onRight),
	}
}

func (d *divided) connections() []string { return slices.Concat(d.onBoth, d.onLeft, d.onRight) }

func splitNetwork(t *testing.T, row string, redisConfig []string) {
	times := timesOfASplit()
	d := startDivided(t, times, redisConfig)
	for i := range 4 {
		d.onBoth = append(d.onBoth, fmt.Sprint("both-", i))
		d.onLeft = append(d.onLeft, fmt.Sprint("left-", i))
		d.onRight = append(d.onRight, fmt.Sprint("right-", i))
	}
	d.e.SetAccessTokenLife(times.tokens)
	// At different times, so that some are due at any moment of the split.
	for _, name := range d.connections() {
		d.e.authorise(t, d.leftProxy, name, company(0))
		pass(t, time.Now().Add(times.tokens/2/time.Duration(len(d.connections()))))
	}
	for _, name := range d.connections() {
		for _, p := range []*proxy{d.leftProxy, d.rightProxy} {
			awaitUse(t, p, name)
		}
	}
	calls := d.startCalls(t)
	d.e.ResetCounters()

	began := time.Now()
	d.cut(t)
	pass(t, began.Add(times.split))
	d.heal(t)
	healed := time.Now()
	during := d.e.Counters()
	for p, names := range d.sides() {
		for _, name := range names {
			awaitUse(t, p, name)
		}
	}
	// A grant is alive only if it can be refreshed.
	d.e.SetAccessTokenLife(15 * time.Minute)
	d.e.Expire(pleotest.Target{Kind: pleotest.AccessToken})
	for p := range d.sides() {
		for _, name := range d.connections() {
			awaitUse(t, p, name)
		}
	}
	whole := time.Since(healed)
	answers := calls()

	figure(t, row, "seconds", times.split.Seconds())
	figure(t, row, "connections", len(d.connections()))
	figure(t, row, "refreshes while split", during.Refreshes)
	figure(t, row, "introspections while split", during.Introspections)
	left, right := outcomes(answers[d.leftProxy]), outcomes(answers[d.rightProxy])
	figure(t, row, "answers without the majority", left)
	figure(t, row, "answers with the majority", right)
	figure(t, row, "longest until all was in use on both sides", rounded(whole))
	c := d.e.Counters()
	figure(t, row, "replays", c.Replays)
	figure(t, row, "dead refresh tokens sent", c.DeadRefreshes)
	require.Zero(t, c.Replays)
	require.Zero(t, c.DeadRefreshes)
	for _, kind := range slices.Concat(slices.Collect(maps.Keys(left)), slices.Collect(maps.Keys(right))) {
		require.Contains(t, []string{"200", "503 store-unavailable", "503 refresh-unsettled", "503 refresh-failed"}, kind)
	}
	var lateFailures []made
	for _, m := range answers[d.rightProxy] {
		if m.status != http.StatusOK && m.due.After(began.Add(times.late)) && m.due.Before(healed) {
			lateFailures = append(lateFailures, m)
		}
	}
	require.Empty(t, outcomes(lateFailures), "the side with the majority serves once it has another master")
}

// startCalls calls each connection of each side a few times a second. The function
// that it returns ends that and returns the calls.
func (d *divided) startCalls(t *testing.T) func() map[*proxy][]made {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	t.Cleanup(end)
	var mu sync.Mutex
	var callers sync.WaitGroup
	all := map[*proxy][]made{}
	for p, names := range d.sides() {
		for _, name := range names {
			callers.Go(func() {
				pause := time.NewTicker(300 * time.Millisecond)
				defer pause.Stop()
				for {
					select {
					case <-ctx.Done():
						return
					case <-pause.C:
					}
					m := made{due: time.Now()}
					m.answer = send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(name)))
					m.end = time.Now()
					if m.status == http.StatusOK {
						m.body, m.header = nil, nil
					}
					mu.Lock()
					all[p] = append(all[p], m)
					mu.Unlock()
				}
			})
		}
	}
	return func() map[*proxy][]made {
		end()
		callers.Wait()
		return all
	}
}
