package test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// memory is what a process has resident, in bytes.
func (p *process) memory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(t, err)
	kilobytes, err := strconv.Atoi(submatch(t, regexp.MustCompile(`VmRSS:\s+(\d+) kB`), string(status))[1])
	require.NoError(t, err)
	return kilobytes << 10
}

// flood makes many requests, several at a time, and counts answers by status.
func flood(t *testing.T, requests int, one func(i int) answer) map[int]int {
	t.Helper()
	const atOnce = 16
	statuses := map[int]int{}
	counts := make([]map[int]int, atOnce)
	herd(atOnce, func(k int) answer {
		counts[k] = map[int]int{}
		for i := k; i < requests; i += atOnce {
			counts[k][one(i).status]++
		}
		return answer{}
	})
	for _, c := range counts {
		for status, n := range c {
			statuses[status] += n
		}
	}
	return statuses
}

var writesOf = regexp.MustCompile(`cmdstat_(?:set|hset|zadd|del|getdel|publish|incr|expire|pexpire|sadd|lpush|rpush|xadd):calls=(\d+)`)

// writes counts the writing commands that Redis has carried out.
func writes(t *testing.T, r *redistest.Server) (n int) {
	t.Helper()
	stats, err := r.Client(t).Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	for _, m := range writesOf.FindAllStringSubmatch(stats, -1) {
		calls, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		n += calls
	}
	return n
}

func TestAuthorisationsThatAreStartedAndAbandonedCannotFillRedis(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	c := onRedis(r)
	c.quiet = true
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	target := "return_to=/" + strings.Repeat("%26", 600)
	statuses := flood(t, 10_500, func(int) answer {
		return send(client, request(t, http.MethodGet, p.origin()+"/pleo/authorise?"+target, ""))
	})
	require.Equal(t, map[int]int{http.StatusFound: 9_999, http.StatusServiceUnavailable: 501}, statuses)

	refused := get(t, p.origin()+"/pleo/authorise")
	require.Equal(t, http.StatusServiceUnavailable, refused.status)
	require.NotEmpty(t, refused.header.Get("Retry-After"))
	require.Empty(t, refused.header.Get("Set-Cookie"))
	size, err := r.Client(t).DBSize(t.Context()).Result()
	require.NoError(t, err)
	require.Less(t, size, int64(10_100))
	used := submatch(t, regexp.MustCompile(`used_memory:(\d+)`), r.Client(t).Info(t.Context(), "memory").Val())[1]
	require.Less(t, len(used), len("100000000"), "Redis uses %s bytes", used)
	require.Less(t, len(p.stderr.String()), 100_000, "nor is the log filled")

	// Grants are kept alive as before.
	require.Equal(t, http.StatusOK, p.admin(t, http.MethodPost, "/pleo/connections/default/refresh", "", nil).status)
	p.employees(t)
}

func TestNamesAndStatesThatAreMadeUpCostRedisNoWrite(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	c := onRedis(r)
	c.quiet = true
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	p.employees(t)
	before, keys := writes(t, r), r.Client(t).DBSize(t.Context()).Val()
	require.Positive(t, before)

	const each = 6000
	require.Equal(t, map[int]int{http.StatusUnauthorized: each}, flood(t, each, func(i int) answer {
		return send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(fmt.Sprintf("made-up-%d", i))))
	}))
	require.Equal(t, map[int]int{http.StatusBadRequest: 1000}, flood(t, 1000, func(i int) answer {
		return send(client, request(t, http.MethodGet, p.origin()+"/pleo/callback?code=x&state="+fmt.Sprintf("%042dA", i), "")) // could be one
	}))
	for i := range 20 {
		name := fmt.Sprintf("admin-%d", i)
		require.Equal(t, http.StatusNotFound, p.admin(t, http.MethodGet, "/pleo/connections/"+name, "", nil).status)
		require.Equal(t, http.StatusNotFound, p.admin(t, http.MethodDelete, "/pleo/connections/"+name, "", nil).status)
	}
	require.Equal(t, keys, r.Client(t).DBSize(t.Context()).Val())
	require.Equal(t, before, writes(t, r))
	require.Zero(t, e.Counters().ExchangeRequests-1)
	p.employees(t)
}

// Whoever may start an authorisation may also come back with a code that is
// none, on a name that is none: nothing stays of that.
func TestCodesThatAreMadeUpLeaveNoRecord(t *testing.T) {
	onBothStores(t, func(t *testing.T, c config) {
		e := startPleo(t)
		p := startProxy(t, e, c)
		for i := range 5 {
			b := newBrowser(t)
			q := sentTo(t, b.open(t, fmt.Sprintf("%s/pleo/authorise?connection=made-up-%d", p.origin(), i)))
			a := b.open(t, p.origin()+"/pleo/callback?code=none&state="+q.Get("state"))
			require.Equal(t, http.StatusBadGateway, a.status)
		}
		require.NotContains(t, string(p.admin(t, http.MethodGet, "/pleo/connections", "", nil).body), "made-up")
		for _, file := range filesUnder(t, p.dir) {
			require.NotContains(t, file, fmt.Sprintf("%x", "made-up"))
		}
	})
}

// hostile are answers that harm a reader who believes them.
func hostile(t *testing.T) map[string]pleotest.Fault {
	t.Helper()
	var bomb bytes.Buffer
	packed := gzip.NewWriter(&bomb)
	for range 64 {
		_, err := packed.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, packed.Close())
	return map[string]pleotest.Fault{
		"giant":         {Status: 200, Body: `{"access_token":"` + strings.Repeat("x", 8<<20) + `"}`},
		"deep":          {Status: 200, Body: strings.Repeat(`{"a":[`, 1<<20)},
		"gzip bomb":     {Status: 200, Body: bomb.String(), Header: http.Header{"Content-Encoding": {"gzip"}}},
		"giant header":  {Status: 200, Body: "{}", Header: http.Header{"X-Large": {strings.Repeat("x", 2<<20)}}},
		"wrong types":   {Status: 200, Body: `{"access_token":{"a":1},"refresh_token":[],"expires_in":true,"active":"yes"}`},
		"another type":  {Status: 200, Body: "<html>", Header: http.Header{"Content-Type": {"text/html"}}},
		"control bytes": {Status: 200, Body: `{"access_token":"a\r\nX-Evil: 1","refresh_token":"b","expires_in":900,"active":true}`},
		"a huge number": {Status: 200, Body: `{"access_token":"a b","refresh_token":"b","expires_in":1e999,"active":1e999}`},
		"nothing":       {Status: 200},
	}
}

// A server that gives bytes away one by one, or none, is waited for no longer
// than a user would.
func TestNoSlowAnswerKeepsABrowserOrAQuestionForLong(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{options: "refresh_timeout 1s", quiet: true})
	b := newBrowser(t)
	e.authoriseWith(t, b, p.origin(), "default", company(0))
	slow := e.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Hold: pleotest.BeforeProcessing})
	defer slow.Release()
	began := time.Now()
	require.Equal(t, http.StatusOK, b.open(t, e.approve(t, b, p.origin(), "other", company(0))).status, "the API says whose it is")
	require.GreaterOrEqual(t, time.Since(began), 4*time.Second)
	p.employees(t, on("other"))
}

func TestNoAnswerOfAHostileServerTakesTheProcessDown(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{options: "refresh_timeout 1s", quiet: true})
	e.authorise(t, p, "default", company(0))
	before := p.memory(t)
	answers := hostile(t)
	connection := func(name string) string { return strings.ReplaceAll(name, " ", "-") }
	for name, f := range answers {
		b := newBrowser(t)
		back := e.approve(t, b, p.origin(), connection(name), company(0))
		f.Endpoint = pleotest.Token
		e.Fault(f)
		a := b.open(t, back)
		require.Equal(t, http.StatusBadGateway, a.status, name)
		require.Less(t, len(a.body), 10_000, name)
	}
	for name, f := range answers {
		// Introspection answers so, too, when it is asked whose company it is. Pleo may be
		// working on the first code: until that is over the browser waits.
		b := newBrowser(t)
		back := e.approve(t, b, p.origin(), connection(name), company(0))
		f.Endpoint, f.Times = pleotest.Introspect, 1
		e.Fault(f)
		require.Equal(t, http.StatusOK, b.comeBack(t, back).status, "%s: the API says it", name)
		record := "/pleo/connections/" + connection(name)
		require.Contains(t, string(p.admin(t, http.MethodGet, record, "", nil).body), company(0).URN(), name)
		require.Equal(t, http.StatusNoContent, p.admin(t, http.MethodDelete, record, "", nil).status)
	}
	require.Less(t, p.memory(t)-before, 100<<20)
	p.employees(t)
}
