package pleoauth_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// tally counts what an observer is told, by kind and value.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	took   map[string]time.Duration // the longest
}

func (c *tally) add(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[fmt.Sprintf(format, args...)]++
}

func (c *tally) waited(what string, d time.Duration) {
	c.add("%s", what)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took[what] = max(c.took[what], d)
}

// of returns what was counted of some kinds.
func (c *tally) of(kinds ...string) map[string]int {
	found := c.now()
	maps.DeleteFunc(found, func(what string, _ int) bool {
		kind, _, _ := strings.Cut(what, " ")
		return !slices.Contains(kinds, kind)
	})
	return found
}

// longest returns the longest of the times that were counted for something.
func (c *tally) longest(what string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.took[what]
}

// since returns what was counted after an earlier state.
func (c *tally) since(before map[string]int) map[string]int {
	now := c.now()
	for what, n := range before {
		if now[what] -= n; now[what] == 0 {
			delete(now, what)
		}
	}
	return now
}

func (c *tally) now() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

// observe has a replica's observer counted.
func observe(r *replica) *tally {
	c := &tally{counts: map[string]int{}, took: map[string]time.Duration{}}
	r.SetObserver(pleoauth.Observer{
		Hit:    func() { c.add("hit") },
		Missed: func(cause pleoauth.MissCause) { c.add("miss %s", cause) },
		Refreshed: func(result pleoauth.RefreshResult, after pleoauth.RefreshAfter, took time.Duration) {
			c.waited(fmt.Sprintf("refresh %s after %s", result, after), took)
		},
		Settled:     func(result pleoauth.SettleResult) { c.add("settle %s", result) },
		LockWaited:  func(d time.Duration) { c.waited("lock", d) },
		GateWaited:  func(d time.Duration) { c.waited("gate", d) },
		Refused:     func(cause pleoauth.RefusalCause) { c.add("refused %s", cause) },
		StoreFailed: func(op pleoauth.StoreOperation) { c.add("store %s", op) },
		Authorised:  func(result pleoauth.AuthorisationResult) { c.add("authorised %s", result) },
		Swept:       func(result pleoauth.SweepResult, due int) { c.add("swept %s %d", result, due) },
	})
	return c
}

func TestAnObserverIsToldOfEachCallAndRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		seen := observe(b)
		w.authorise(a, "default", "")
		for range 3 {
			w.token(b, "default")
		}
		require.Equal(t, map[string]int{"miss store": 1, "hit": 2}, seen.now())

		before := seen.now()
		require.NoError(t, b.Refresh(t.Context(), "default"))
		got := seen.since(before)
		require.Equal(t, 1, got["refresh stored after none"])
		require.Equal(t, 1, got["lock"])

		before = seen.now()
		_, err := b.Token(t.Context(), "nobody")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
		_, err = b.Token(t.Context(), "nobody")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
		require.Equal(t, map[string]int{"miss store": 1, "hit": 1}, seen.since(before), "an answer without a token is one from memory, too")
	})
}

func TestAnObserverIsToldWhatBecomesOfARefreshWhoseAnswerIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		fault    pleotest.Fault
		then     pleotest.Fault
		expected map[string]int
	}{
		"not processed": {
			fault:    pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.BeforeProcessing},
			expected: map[string]int{"refresh ambiguous after none": 1, "refresh stored after active": 1, "settle active": 2},
		},
		"processed": {
			fault:    pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.AfterProcessing},
			expected: map[string]int{"refresh ambiguous after none": 1, "settle inactive": 1, "settle lost_response": 1},
		},
		"and Pleo does not say": {
			fault:    pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.BeforeProcessing},
			then:     pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Skip: 1}, // Pleo is asked before the refresh, too
			expected: map[string]int{"refresh ambiguous after none": 1, "settle unknown": 1, "settle active": 1, "refresh stored after active": 1},
		},
		"and called active, but spent": {
			fault:    pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.BeforeProcessing},
			then:     pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Status: 400, Body: `{"error":"invalid_grant"}`},
			expected: map[string]int{"refresh ambiguous after none": 1, "settle active": 2, "refresh terminal after active": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a := w.replica()
				w.authorise(a, "default", "")
				w.token(a, "default")
				seen := observe(a)
				w.pleo.Fault(c.fault)
				if c.then.Endpoint != "" {
					w.pleo.Fault(c.then)
				}
				_ = a.Refresh(context.Background(), "default")
				time.Sleep(time.Minute)
				require.Equal(t, c.expected, seen.of("refresh", "settle"))
			})
		})
	}
}

func TestAnObserverIsToldEachResultOfARefresh(t *testing.T) {
	for result, fault := range map[pleoauth.RefreshResult]pleotest.Fault{
		pleoauth.RefreshStored:        {DelayBefore: time.Second},
		pleoauth.RefreshTerminal:      {Status: 400, Body: `{"error":"invalid_grant"}`},
		pleoauth.RefreshRateLimited:   {Status: 429},
		pleoauth.RefreshMisconfigured: {Status: 401, Body: `{"error":"invalid_client"}`},
		pleoauth.RefreshAmbiguous:     {Status: 502},
	} {
		t.Run(string(result), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a := w.replica()
				w.authorise(a, "default", "")
				w.token(a, "default")
				seen := observe(a)
				fault.Endpoint, fault.GrantType = pleotest.Token, pleotest.RefreshToken
				w.pleo.Fault(fault)
				go func() { _ = a.Refresh(context.Background(), "default") }()
				time.Sleep(2 * time.Second)
				what := "refresh " + string(result) + " after none"
				require.Equal(t, map[string]int{what: 1}, seen.of("refresh"))
				require.GreaterOrEqual(t, seen.longest(what), fault.DelayBefore)
			})
		})
	}
}

func TestARefreshWhoseServerCannotBeConnectedToIsCountedAndLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		w.token(a, "default")
		seen := observe(a)
		w.pleo.Close()
		require.ErrorIs(t, a.Refresh(t.Context(), "default"), pleoauth.ErrRefreshFailed)
		require.Equal(t, map[string]int{"refresh not_sent after none": 1}, seen.of("refresh"))
		require.Regexp(t, `level=WARN .*refresh failed.* connection=default generation=1 duration=\S+ result=not_sent`, w.log.String())
	})
}

func TestAnObserverIsToldWhyTokensAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		seen := observe(a)

		old := w.token(a, "default")
		_, err := a.Refused(t.Context(), "default", old)
		require.ErrorIs(t, err, pleoauth.ErrTokenAlive)
		require.NoError(t, a.Refresh(t.Context(), "default"))
		_, err = a.Refused(t.Context(), "default", old)
		require.NoError(t, err)
		token := w.token(a, "default")
		w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
		_, err = a.Refused(t.Context(), "default", token)
		require.NoError(t, err)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503})
		_, err = a.Refused(t.Context(), "default", w.token(a, "default"))
		require.ErrorIs(t, err, pleoauth.ErrRefreshUnsettled)
		require.Equal(t, map[string]int{"refused alive": 1, "refused replaced": 1, "refused dead": 1, "refused unknown": 1}, seen.of("refused"))
	})
}
