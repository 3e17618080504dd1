package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

const (
	// faultTimes make the protocol's times as short as they can be: a mark
	// lives for 6 seconds, a lock for 5.
	faultTimes = "refresh_timeout 1s"
	// settling is how long a connection may take to find its way again: a lock
	// and a mark that a dead process has left, one after the other, and a
	// machine that is busy.
	settling = 60 * time.Second
)

// stand is two replicas with one Redis and one emulator. The first has links on
// its ways to Redis and to the authorisation server; the second shares the
// latter, for both must know that server by the same name.
type stand struct {
	e               *pleo
	r               *redistest.Server
	toRedis, toPleo *link
	first, second   *proxy
}

func startStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{e: startPleo(t), r: redistest.Start(t, redistest.WithAppendOnly())}
	s.toPleo = linkToPleo(t, s.e)
	s.toRedis = startLink(t, s.r.Addr())
	c := onRedis(s.r)
	c.options = faultTimes
	s.second = startProxy(t, s.e, c)
	c.store = "redis " + s.r.URLAt(redistest.User, s.toRedis.addr())
	s.first = startProxy(t, s.e, c)
	return s
}

// linkToPleo puts a link before an emulator's authorisation server.
func linkToPleo(t *testing.T, e *pleo) *link {
	t.Helper()
	l := startLink(t, strings.TrimPrefix(e.AuthURL, "http://"))
	e.AuthURL = "http://" + l.addr()
	return l
}

// connect authorises connections at the second replica, so that the first has
// nothing of them in memory, and waits until their access tokens have expired.
func (s *stand) connect(t *testing.T, names ...string) {
	t.Helper()
	before := s.e.livingTokens()
	s.e.SetAccessTokenLife(time.Second)
	for _, name := range names {
		// With such short times a busy machine may say 'start again'.
		require.Eventually(t, func() bool {
			b := newBrowser(t)
			return b.comeBack(t, s.e.approve(t, b, s.second.origin(), name, company(0))).status == http.StatusOK
		}, patience, tick)
	}
	require.Eventually(t, func() bool { return s.e.livingTokens() <= before }, patience, tick)
	s.e.SetAccessTokenLife(15 * time.Minute)
}

// livingTokens counts the access tokens that live.
func (e *pleo) livingTokens() (n int) {
	for _, a := range e.Authorisations(pleotest.Target{}) {
		if a.AccessToken != "" {
			n++
		}
	}
	return n
}

// call has a replica make a call, in the background, whose answer nobody wants.
func (s *stand) call(t *testing.T, p *proxy, connection string) {
	t.Helper()
	now := make(chan struct{})
	close(now)
	s.callUntil(t, p, connection, now)
}

// callUntil goes on making calls until a channel is closed: a replica that has
// not recovered from the last fault yet may put the first ones off. It returns a
// channel that is closed once a call has been answered with data.
func (s *stand) callUntil(t *testing.T, p *proxy, connection string, enough <-chan struct{}) (answered <-chan struct{}) {
	t.Helper()
	done, served := make(chan struct{}), make(chan struct{})
	serve := sync.OnceFunc(func() { close(served) })
	go func() {
		defer close(done)
		pause := time.NewTicker(5 * tick)
		defer pause.Stop()
		for {
			if send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(connection))).status == http.StatusOK {
				serve()
			}
			select {
			case <-enough:
				return
			case <-t.Context().Done():
				return
			case <-pause.C:
			}
		}
	}()
	t.Cleanup(func() { <-done })
	return served
}

// fate is what has become of a connection.
type fate struct {
	lost    bool // reauthorisation-required, lost_response
	calls   int  // until it was known
	waited  time.Duration
	unknown []string // other answers than 200 and 503
}

// fateAt makes calls at a replica until one is answered with data, or says that
// the connection has to be authorised again because an answer was lost.
func fateAt(t *testing.T, p *proxy, connection string) fate {
	t.Helper()
	var f fate
	began := time.Now()
	require.Eventually(t, func() bool {
		a := send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(connection)))
		f.calls++
		f.waited = time.Since(began)
		switch a.status {
		case http.StatusOK:
			return true
		case http.StatusUnauthorized:
			f.lost = a.problem().Reason == "lost_response"
			if !f.lost {
				f.unknown = append(f.unknown, string(a.body))
			}
			return true
		case http.StatusServiceUnavailable:
		default:
			f.unknown = append(f.unknown, fmt.Sprint(a.status, a.err, string(a.body)))
		}
		return false
	}, settling, 5*tick, "%s: a connection hangs", connection)
	require.Empty(t, f.unknown, connection)
	return f
}

// awaitUse makes calls at a replica until one is answered with data, whatever the
// others say, and returns how long that took.
func awaitUse(t *testing.T, p *proxy, connection string) time.Duration {
	t.Helper()
	began, last := time.Now(), answer{}
	require.Eventually(t, func() bool {
		last = send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(connection)))
		return last.status == http.StatusOK
	}, settling, tick, "%s is not in use again", connection)
	return time.Since(began)
}

// problem is the answer as one of the proxy's own, if it is one.
func (a answer) problem() (p problem) {
	_ = json.Unmarshal(a.body, &p)
	return p
}

// atOnce plays rounds of a fault in groups, which go on at the same time, since
// they wait more than they work. It returns when all have ended.
func atOnce(t *testing.T, groups, rounds int, play func(t *testing.T, mine []int)) {
	t.Helper()
	groups = min(groups, rounds)
	var all sync.WaitGroup
	for group := range groups {
		var mine []int
		for round := group; round < rounds; round += groups {
			mine = append(mine, round)
		}
		all.Go(func() { t.Run(fmt.Sprint("group ", group+1), func(t *testing.T) { play(t, mine) }) })
	}
	all.Wait()
}

// together plays several kinds of a fault at the same time.
func together(t *testing.T, kinds map[string]func(*testing.T)) {
	t.Helper()
	var all sync.WaitGroup
	for name, play := range kinds {
		all.Go(func() { t.Run(name, play) })
	}
	all.Wait()
}
