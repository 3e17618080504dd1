package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// pods are the two proxies of the manifests, on one Redis.
type pods struct{ callback, sidecar *process }

func (c *cluster) startPods(t *testing.T) pods {
	t.Helper()
	return pods{c.startPod(t, "pleo-callback", "callback's 9180"), c.startPod(t, "example-application", "9180")}
}

func (p pods) stop(t *testing.T) {
	t.Helper()
	p.callback.stop(t, syscall.SIGTERM)
	p.sidecar.stop(t, syscall.SIGTERM)
}

// connect authorises eight more connections and returns the names of all.
func (c *cluster) connect(t *testing.T, e *pleo, before []string) []string {
	t.Helper()
	all := slices.Clone(before)
	for range 8 {
		name := fmt.Sprintf("customer-%d", len(all)+1)
		e.authoriseWith(t, newBrowser(t), fmt.Sprintf("http://localhost:%d", c.ports["8080"]), name, company(len(all)%3))
		all = append(all, name)
	}
	return all
}

// call calls as a connection and returns the status.
func (c *cluster) call(t *testing.T, connection string) int {
	t.Helper()
	return send(client, request(t, http.MethodGet, c.url("7536", "/v2/employees"), "", on(connection))).status
}

// requireAll requires that these connections are served, and that these and no
// more are listed.
func (c *cluster) requireAll(t *testing.T, names []string) {
	t.Helper()
	for _, name := range names {
		require.Eventually(t, func() bool { return c.call(t, name) == http.StatusOK }, patience, 5*tick, "%s is served", name)
	}
	require.ElementsMatch(t, names, c.connected(t))
}

// connected lists the connections that the sidecar takes for connected.
func (c *cluster) connected(t *testing.T) (names []string) {
	t.Helper()
	code, out := runProgram(t, c.adminOf("example-application"), nil, proxyBinary, "pleo", "connections", "--json")
	require.Zero(t, code, out)
	var list listed
	require.NoError(t, json.Unmarshal([]byte(out), &list), out)
	for _, connection := range list.Connections {
		if connection.State == pleoauth.StateConnected {
			names = append(names, connection.Name)
		}
	}
	return names
}

// adminOf is the environment of a command in a pod.
func (c *cluster) adminOf(pod string) []string {
	return append(c.environment(pod), "CADDY_ADMIN=unix/"+filepath.Join(c.dir, "run", pod))
}

// rewritten reports whether Redis has rewritten its append-only file, into a base
// with the given ending.
func (c *cluster) rewritten(ending string) bool {
	bases, _ := filepath.Glob(filepath.Join(c.dir, "data", "appendonlydir", "appendonly.aof.*.base."+ending))
	return slices.ContainsFunc(bases, func(name string) bool { return !strings.Contains(name, ".aof.1.base.") })
}

func TestTheRedisThatIsDeliveredHasEveryConnectionAfterItsRestart(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	c := newCluster(t, e)
	redis := c.startRedis(t)
	proxies := c.startPods(t)

	var connections []string
	for _, round := range []struct {
		name   string
		signal syscall.Signal
		// base is the ending of the base that a rewrite makes.
		base, config string
	}{
		{name: "it is stopped", signal: syscall.SIGTERM},
		{name: "it is killed", signal: syscall.SIGKILL},
		{"its file was rewritten, with an RDB preamble", syscall.SIGKILL, "rdb", "aof-use-rdb-preamble yes"},
		{"its file was rewritten, as commands", syscall.SIGKILL, "aof", "aof-use-rdb-preamble no"},
	} {
		t.Log(round.name)
		if round.base != "" {
			// None of its users may send BGREWRITEAOF: Redis does it by itself here.
			proxies.stop(t)
			redis.stop(t, syscall.SIGTERM)
			c.appendTo(t, "redis/redis.conf", round.config+"\nauto-aof-rewrite-min-size 1\nauto-aof-rewrite-percentage 1\n")
			redis = c.startRedis(t)
			proxies = c.startPods(t)
			require.Eventually(t, func() bool {
				connections = c.connect(t, e, connections)
				return c.rewritten(round.base)
			}, patience, tick)
		}
		connections = c.connect(t, e, connections) // after a rewrite, too: the base alone needs no rights
		proxies.stop(t)
		redis.stop(t, round.signal)
		redis = c.startRedis(t)
		require.NotContains(t, redis.stdout.String(), "CRITICAL")
		proxies = c.startPods(t)
		c.requireAll(t, connections)
	}
	proxies.stop(t)
}

// documentedUsers are the lines of redis.conf that docs/keys.md shows.
func documentedUsers(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("../docs/keys.md")
	require.NoError(t, err)
	return submatch(t, regexp.MustCompile("(?s)<!-- acl: users -->\n```\n(.*?)```"), string(content))[1]
}

// ownRedis is a Redis with users, as an operator makes it.
type ownRedis struct {
	*process
	dir  string
	port int
	env  []string
}

const ownPassword = "correct-horse"

func newOwnRedis(t *testing.T) *ownRedis {
	t.Helper()
	r := &ownRedis{port: freePorts(t, 1)}
	r.dir, r.env = home(t)
	return r
}

func (r *ownRedis) url() string {
	return fmt.Sprintf("redis://pleo:%s@127.0.0.1:%d/0", ownPassword, r.port)
}

func (r *ownRedis) cli(t *testing.T, args ...string) string {
	t.Helper()
	_, out := runProgram(t, r.env, nil, need(t, "redis-cli"), append([]string{"-p", fmt.Sprint(r.port), "--no-auth-warning"}, args...)...)
	return out
}

// startWith starts it with these lines about its users, or with none.
func (r *ownRedis) startWith(t *testing.T, users string) {
	t.Helper()
	conf := filepath.Join(r.dir, "redis.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "bind 127.0.0.1\nport %d\ndir %s\nappendonly yes\nappendfsync always\n%s",
		r.port, r.dir, strings.ReplaceAll(users, "PASSWORD", ownPassword)), 0o600))
	r.process = startProcess(t, r.env, need(t, "redis-server"), conf)
	login := []string{"ping"}
	if users != "" {
		login = []string{"--user", "pleo", "--pass", ownPassword, "ping"}
	}
	require.Eventually(t, func() bool { return strings.Contains(r.cli(t, login...), "PONG") || !r.running() }, startTimeout, 5*tick)
	require.True(t, r.running(), r.stdout.tail())
}

// connectEight authorises eight connections, which requireEight looks for.
func (e *pleo) connectEight(t *testing.T, p *proxy) {
	t.Helper()
	for i := range 8 {
		e.authorise(t, p, fmt.Sprintf("customer-%d", i), company(i%3))
	}
}

func (p *proxy) requireEight(t *testing.T) {
	t.Helper()
	for i := range 8 {
		require.Equal(t, company(i%3).ID, get(t, p.URL+"/v1/echo", on(fmt.Sprintf("customer-%d", i))).companyID(t))
	}
}

func TestARedisWithTheDocumentedUsersHasEveryConnectionAfterItsRestart(t *testing.T) {
	t.Parallel()
	redis := newOwnRedis(t)
	redis.startWith(t, documentedUsers(t))
	require.Contains(t, redis.cli(t, "ping"), "NOAUTH", "a client that does not log in is shut out")
	e := startPleo(t)
	p := startProxy(t, e, config{store: "redis " + redis.url()})
	e.connectEight(t, p)

	p.stop(t, syscall.SIGTERM)
	redis.stop(t, syscall.SIGKILL)
	redis.startWith(t, documentedUsers(t))
	require.NotContains(t, redis.stdout.String(), "CRITICAL")
	p.restart(t)
	p.requireEight(t)
}

// What docs/operations.md says of a Redis whose user default had no rights.
func TestARedisThatRefusedItsOwnFileIsToldAndHasEverythingOnceItIsRestartedWithTheRights(t *testing.T) {
	t.Parallel()
	redis := newOwnRedis(t)
	trap := strings.ReplaceAll(documentedUsers(t), "user default off allkeys allchannels allcommands", "user default off")
	redis.startWith(t, trap)
	e := startPleo(t)
	p := startProxy(t, e, config{store: "redis " + redis.url()})
	e.connectEight(t, p)
	p.stop(t, syscall.SIGTERM)
	p.restart(t)
	p.employees(t, on("customer-0")) // the one connection that this process holds

	redis.stop(t, syscall.SIGKILL)
	redis.startWith(t, trap)
	require.Contains(t, redis.stdout.String(), "is sending an error to its AOF-loading-client: '-NOPERM")
	require.Eventually(t, func() bool {
		var report healthReport
		get(t, p.URL+"/healthz").decode(t, &report)
		return slices.ContainsFunc(report.Risks, func(risk string) bool { return strings.HasPrefix(risk, "Redis refused ") })
	}, patience, tick, "the restart is noticed, not the next hour's check")
	requireProblem(t, get(t, p.URL+"/v2/employees", on("customer-1")), http.StatusUnauthorized, "not-connected")

	redis.stop(t, syscall.SIGTERM)
	redis.startWith(t, documentedUsers(t))
	require.NotContains(t, redis.stdout.String(), "CRITICAL")
	for i := range 8 {
		require.Eventually(t, func() bool {
			return send(client, request(t, http.MethodGet, p.URL+"/v1/echo", "", on(fmt.Sprintf("customer-%d", i)))).status == http.StatusOK
		}, patience, tick)
	}
	p.requireEight(t)
	require.Eventually(t, func() bool {
		var report healthReport
		get(t, p.URL+"/healthz").decode(t, &report)
		return len(report.Risks) == 0
	}, patience, tick)
}

func (c *cluster) appendTo(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(c.dir, name), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	_, err = file.WriteString(text)
	require.NoError(t, err)
}
