package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// webhooks is an application that is told of connections. Each replica posts to
// a path of its own.
type webhooks struct {
	*httptest.Server
	mu   sync.Mutex
	got  []webhookMessage
	hold chan struct{} // nil: it answers at once
}

type webhookMessage struct {
	id, path string
	Type     string `json:"type"`
	Data     struct {
		Connection   string `json:"connection"`
		Reason       string `json:"reason"`
		AuthoriseURI string `json:"authorise_uri"`
	} `json:"data"`
}

func receiveWebhooks(t *testing.T) *webhooks {
	t.Helper()
	w := &webhooks{}
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	require.NoError(t, err)
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || verifier.Verify(body, r.Header) != nil {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		m := webhookMessage{id: r.Header.Get("webhook-id"), path: r.URL.Path}
		_ = json.Unmarshal(body, &m)
		w.mu.Lock()
		w.got = append(w.got, m)
		hold := w.hold
		w.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
	}))
	t.Cleanup(w.Close)
	return w
}

// holding has the application answer nothing until the function is called.
func (w *webhooks) holding() (release func()) {
	hold := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold = hold
	return sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.hold = nil
		close(hold)
	})
}

// await waits for so many messages.
func (w *webhooks) await(t *testing.T, n int) []webhookMessage {
	t.Helper()
	require.Eventually(t, func() bool { return len(w.messages()) >= n }, patience, tick, "message %d has not come", n)
	return w.messages()
}

func (w *webhooks) messages() []webhookMessage {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func messageTypes(messages []webhookMessage) []string {
	var types []string
	for _, m := range messages {
		types = append(types, m.Type)
	}
	return types
}

// tellingReplicas starts three proxies on one Redis that tell an application.
func tellingReplicas(t *testing.T, e *pleo, w *webhooks, timeout string) []*proxy {
	t.Helper()
	r := redistest.Start(t)
	replicas := make([]*proxy, 3)
	for i := range replicas {
		c := onRedis(r)
		c.options = fmt.Sprintf("notify %s/replica-%d {\nsecret {env.WEBHOOK_SECRET}\nafter 1s\ntimeout %s\n}", w.URL, i, timeout)
		c.env = []string{"WEBHOOK_SECRET=" + webhookSecret}
		replicas[i] = startProxy(t, e, c)
	}
	return replicas
}

func TestThreeReplicasTellOnceThatAGrantWasRevoked(t *testing.T) {
	t.Parallel()
	e, w := startPleo(t), receiveWebhooks(t)
	replicas := tellingReplicas(t, e, w, "20s")
	e.authorise(t, replicas[0], "default", company(0))
	w.await(t, 1)
	for _, p := range replicas {
		p.employees(t)
	}
	require.Positive(t, e.Revoke(pleotest.Target{}))
	for _, a := range callBoth(t, replicas, 30) {
		requireReauthorisation(t, a)
	}
	m := w.await(t, 2)[1]
	require.Equal(t, "default", m.Data.Connection)
	require.Equal(t, "revoked_or_expired", m.Data.Reason)
	require.Regexp(t, `^http://localhost:\d+/pleo/authorise\?connection=default$`, m.Data.AuthoriseURI)

	// Whatever another replica had to say would have come by the time of these.
	e.authorise(t, replicas[1], "default", company(0))
	w.await(t, 3)
	e.authorise(t, replicas[2], "other", company(0))
	got := w.await(t, 4)
	require.Equal(t, []string{"connected", "reauthorisation_required", "connected", "connected"}, messageTypes(got))
}

func TestTheMessageOfAKilledReplicaIsSentByAnother(t *testing.T) {
	t.Parallel()
	e, w := startPleo(t), receiveWebhooks(t)
	replicas := tellingReplicas(t, e, w, "2s")
	release := w.holding()
	defer release()
	e.authorise(t, replicas[0], "default", company(0))
	first := w.await(t, 1)[0]
	var number int
	_, err := fmt.Sscanf(first.path, "/replica-%d", &number)
	require.NoError(t, err)
	replicas[number].stop(t, syscall.SIGKILL)
	release()
	again := w.await(t, 2)[1]
	require.Equal(t, first.id, again.id)
	require.Equal(t, "connected", again.Type)
	require.False(t, strings.HasPrefix(again.path, first.path), "a dead replica cannot have sent it")
}

// pair is two replicas, one of which is stopped while it has the only live grant.
type pair struct {
	holder, other *proxy
	answer        *pleotest.ActiveFault // what Pleo answered the holder, held back
}

// stoppedHolder starts a pair and stops the holder in the middle of a refresh.
func stoppedHolder(t *testing.T, e *pleo, w *webhooks, name, after string, number int) pair {
	t.Helper()
	c := onRedis(redistest.Start(t))
	c.options = fmt.Sprintf("refresh_timeout 1s\nnotify %s/%s {\nsecret {env.WEBHOOK_SECRET}\nafter %s\n}", w.URL, name, after)
	c.env = []string{"WEBHOOK_SECRET=" + webhookSecret}
	p := pair{holder: startProxy(t, e, c), other: startProxy(t, e, c)}
	e.authorise(t, p.holder, "default", company(number))
	w.awaitFrom(t, name, 1)
	e.Expire(pleotest.Target{Company: company(number).Name, Kind: pleotest.AccessToken})
	p.answer = e.Fault(pleotest.Fault{
		Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Company: company(number).Name, Hold: pleotest.AfterProcessing,
	})
	go func() { _ = send(client, request(t, http.MethodGet, p.holder.URL+"/v2/employees", "")) }()
	await(t, p.answer)
	p.holder.signal(syscall.SIGSTOP)
	t.Cleanup(func() { p.goOn() })
	return p
}

// awaitLost waits until the replica that was left alone gives the grant up.
func (p pair) awaitLost(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		return send(client, request(t, http.MethodGet, p.other.URL+"/v2/employees", "")).status == http.StatusUnauthorized
	}, patience, 10*tick)
}

// goOn has the holder go on, and get its answer.
func (p pair) goOn() {
	p.answer.Release()
	p.holder.signal(syscall.SIGCONT)
}

// awaitFrom waits for so many messages to a path.
func (w *webhooks) awaitFrom(t *testing.T, name string, n int) []string {
	t.Helper()
	var got []webhookMessage
	require.Eventually(t, func() bool {
		got = slices.DeleteFunc(w.messages(), func(m webhookMessage) bool { return m.path != "/"+name })
		return len(got) >= n
	}, patience, tick, "message %d to %s has not come", n, name)
	return messageTypes(got)
}

func TestAGrantThatAStoppedReplicaBringsBackHasRecoveredIfItWasMissedForLong(t *testing.T) {
	t.Parallel()
	e, w := startPleo(t), receiveWebhooks(t)
	long := stoppedHolder(t, e, w, "long", "1s", 0)
	short := stoppedHolder(t, e, w, "short", "1h", 1)

	// From now on the other one, too, counts the time until the mark is over.
	_ = send(client, request(t, http.MethodGet, short.other.URL+"/v2/employees", ""))
	long.awaitLost(t)
	w.awaitFrom(t, "long", 2)
	long.goOn()
	require.Equal(t, []string{"connected", "reauthorisation_required", "recovered"}, w.awaitFrom(t, "long", 3))

	short.awaitLost(t)
	short.goOn()
	awaitServing(t, short.other)
	e.authorise(t, short.other, "another", company(2))
	require.Equal(t, []string{"connected", "connected"}, w.awaitFrom(t, "short", 2))
	require.Len(t, w.awaitFrom(t, "long", 3), 3)
}
