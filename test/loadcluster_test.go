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

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// replicaName is what a replica is called at Redis, as its user, and at the API,
// as its User-Agent.
func replicaName(n int) string { return fmt.Sprint("replica-", n) }

// withReplicaUsers makes a Redis know the users of n replicas.
func withReplicaUsers(n int) redistest.Option {
	names := make([]string, n)
	for i := range names {
		names[i] = replicaName(i)
	}
	return redistest.WithUsers(names...)
}

// namedReplica is the configuration of a replica that can be told from others.
func namedReplica(r *redistest.Server, n int) config {
	c := config{store: "redis " + r.URLFor(replicaName(n))}
	c.proxy, c.quiet = "header_up User-Agent "+replicaName(n), true
	return c
}

// use is when an access token was first and last seen at the API.
type use struct{ first, last time.Time }

// tokenWatch sees which replica uses which access token, and when.
type tokenWatch struct {
	mu sync.Mutex
	// order has the tokens as they were first seen, used each by replica.
	order []string
	used  map[string]map[string]use
}

// watchTokens watches until the emulator's end. It is a fault that never happens.
func watchTokens(e *pleo) *tokenWatch {
	w := &tokenWatch{used: map[string]map[string]use{}}
	e.Fault(pleotest.Fault{Endpoint: pleotest.API, Times: pleotest.Always, Match: w.see})
	return w
}

func (w *tokenWatch) see(r *http.Request) bool {
	now, token := time.Now(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.used[token] == nil {
		w.order, w.used[token] = append(w.order, token), map[string]use{}
	}
	u, known := w.used[token][r.UserAgent()]
	if !known {
		u.first = now
	}
	u.last = now
	w.used[token][r.UserAgent()] = u
	return false
}

// tokens returns what each token's replicas did, in the order of tokens.
func (w *tokenWatch) tokens() []map[string]use {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]map[string]use, len(w.order))
	for i, token := range w.order {
		all[i] = w.used[token]
	}
	return all
}

// adoption is how a new grant came to the replicas.
type adoption struct {
	stored time.Time // when Redis had it
	by     string    // the replica that stored it
	reads  map[string]time.Time
	// control is when the test's own subscriber had heard of it and asked Redis.
	control time.Time
}

const controlKey = "control"

// startControl subscribes to the changes of the one record there is, and asks
// Redis for something at each: as little as a replica can do. What that takes is
// the machine's share.
func startControl(t *testing.T, r *redistest.Server) {
	t.Helper()
	c := redisClient(t, r)
	subscription := c.PSubscribe(t.Context(), "*:notice:default")
	_, err := subscription.Receive(t.Context())
	require.NoError(t, err)
	var done sync.WaitGroup
	done.Go(func() {
		for message := range subscription.Channel() {
			if strings.Contains(message.Payload, changedNotice) {
				_ = c.Get(context.WithoutCancel(t.Context()), controlKey).Err() // there is no such key
			}
		}
	})
	t.Cleanup(func() {
		_ = subscription.Close()
		done.Wait()
	})
}

// changedNotice is in the notice that is published with a new grant.
const changedNotice = `"kind":"changed"`

// watchAdoptions watches the writes and reads of the one record there is.
func watchAdoptions(t *testing.T, r *redistest.Server) *monitor {
	t.Helper()
	return startMonitor(t, r, func(c command) bool {
		if c.args[0] == "get" && c.args[1] == controlKey {
			return true
		}
		return c.client == "lua" && strings.EqualFold(c.args[0], "publish") && strings.Contains(c.args[2], changedNotice) || c.args[0] == "evalsha"
	})
}

// adoptions returns what a monitor saw, one for each change, the first of which
// is the authorisation.
func adoptions(commands []command, users map[string]string) []adoption {
	var all []adoption
	var writer string
	for _, c := range commands {
		switch {
		case c.client == "lua":
			all = append(all, adoption{stored: c.at, by: writer, reads: map[string]time.Time{}})
		case c.args[0] == "get":
			if len(all) > 0 {
				all[len(all)-1].control = c.at
			}
		case len(c.args) == 4 && strings.Contains(c.args[3], ":record:"): // a read: nothing but the key
			if len(all) == 0 {
				continue
			}
			reads, reader := all[len(all)-1].reads, users[c.client]
			if _, again := reads[reader]; !again {
				reads[reader] = c.at
			}
		default:
			writer = users[c.client]
		}
	}
	return all
}

// startReplicas starts n replicas that can be told from each other, with a
// connection that all have in use.
func startReplicas(t *testing.T, e *pleo, r *redistest.Server, n int, change func(*config)) []*proxy {
	t.Helper()
	replicas := make([]*proxy, n)
	for i := range replicas {
		c := namedReplica(r, i)
		if change != nil {
			change(&c)
		}
		replicas[i] = startProxy(t, e, c)
	}
	e.authorise(t, replicas[0], "default", company(0))
	for _, p := range replicas {
		require.Equal(t, http.StatusOK, get(t, p.URL+"/v1/companies").status)
	}
	return replicas
}

// shorten has a proxy obtain a token that lives from now for the given time, and
// lets those after it live for long.
func (e *pleo) shorten(t *testing.T, p *proxy, life time.Duration) {
	t.Helper()
	e.SetAccessTokenLife(life)
	a := p.admin(t, http.MethodPost, "/pleo/connections/default/refresh", "", nil)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	e.SetAccessTokenLife(15 * time.Minute)
}
