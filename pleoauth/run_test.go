package pleoauth_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// The store's end is noticed when it happens, not when a refresh is due: what
// it may have forgotten is over by then.
func TestAStoreThatWasAwayBeforeARefreshIsDueDelaysItByNothing(t *testing.T) {
	for name, seen := range map[string]bool{"seen to refuse": true, "only seen to be another": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, pleotest.WithAccessTokenLife(time.Minute))
				w.store.single = true
				r := w.replica()
				w.authorise(r, "default", "")
				time.Sleep(5 * time.Second)
				if seen {
					r.store.setAway(true)
					time.Sleep(4 * time.Second)
				}
				w.store.failover(0)
				r.store.setAway(false)
				time.Sleep(30 * time.Second)
				w.token(r, "default")
				time.Sleep(time.Second)
				require.Equal(t, 1, w.pleo.Counters().Refreshes)
				require.Equal(t, 4, w.pleo.Counters().Introspections, "of the subject and the fresh refresh token; and of both tokens, for what the old run may have forgotten")
			})
		})
	}
}

func TestAMarkForAnEarlierRunCountsFromWhenTheStoreBeganToRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithAccessTokenLife(time.Minute))
		w.store.single = true
		r := w.replica()
		w.authorise(r, "default", "")
		time.Sleep(25 * time.Second)
		r.store.setAway(true)
		r.store.queue.put(pleoauth.Notice{Kind: pleoauth.NoticeLost})
		time.Sleep(29 * time.Second)
		w.store.failover(0)
		r.store.setAway(false)
		for range 60 { // the token expires in these
			w.token(r, "default")
			time.Sleep(100 * time.Millisecond)
		}
		require.Equal(t, 1, w.pleo.Counters().Refreshes)
	})
}

func TestTheMastersOfAClusterAreNotTakenForOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store.master = func(name string) string { return "." + name }
		r := w.replica()
		reads := countReads(r) // before its first use
		for _, name := range []string{"one", "two", "three"} {
			w.authorise(r, name, "")
		}
		time.Sleep(time.Second)
		reads.Store(0)
		for _, name := range []string{"one", "two", "three", "one", "two", "three"} {
			_, err := r.Connection(t.Context(), name)
			require.NoError(t, err)
		}
		time.Sleep(10 * time.Minute)
		require.EqualValues(t, 6, reads.Load(), "no record is read again")
		require.NotContains(t, w.log.String(), "replaced")
	})
}

func TestACallerWhoStopsWaitingIsToldTheRestOfTheMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayBefore: 2 * time.Minute})
		time.Sleep(15 * time.Minute)
		_, err := r.Token(t.Context(), "default")
		var refused *pleoauth.TokenError
		require.ErrorAs(t, err, &refused)
		require.ErrorIs(t, err, pleoauth.ErrRefreshUnsettled)
		require.InDelta(t, 5, refused.RetryAfter.Seconds(), 0.5, "the mark stands for 15 s, of which the caller has waited 10")
	})
}

// closedConn tells when it is closed.
type closedConn struct {
	net.Conn
	sent   atomic.Bool
	once   sync.Once
	closed chan struct{}
}

func (c *closedConn) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "POST /oauth/token ") {
		c.sent.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *closedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestARequestThatHangsIsClosedBeforeTheTokenIsSentAgainEvenByALaterFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var mu sync.Mutex
		var conns []*closedConn
		r := w.replicaDialling(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := w.dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, before := range conns {
				select {
				case <-before.closed:
				default:
					if before.sent.Load() && strings.Contains(w.log.String(), "done again") {
						return nil, errors.New("the request before still hangs")
					}
				}
			}
			c := &closedConn{Conn: conn, closed: make(chan struct{})}
			conns = append(conns, c)
			return c, nil
		})
		w.authorise(r, "default", "")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.BeforeProcessing, DelayBefore: time.Hour})
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503})
		require.ErrorIs(t, r.Refresh(t.Context(), "default"), pleoauth.ErrRefreshUnsettled)
		time.Sleep(2 * time.Minute) // the first flight has ended, its request goes on, and the sweep begins another
		require.Equal(t, 1, w.pleo.Counters().Refreshes)
		require.NotContains(t, w.log.String(), "still hangs")
	})
}
