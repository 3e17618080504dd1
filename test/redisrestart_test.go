package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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

func (c *cluster) appendTo(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(c.dir, name), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer file.Close()
	_, err = file.WriteString(text)
	require.NoError(t, err)
}
