package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// refusing is a Redis that does not do what it is asked for.
type refusing struct {
	store string // where the proxy is told that it is
	// begin, if there is one, has it begin once the proxy runs and a connection is
	// authorised.
	begin func(t *testing.T)
	// writes: it does nothing but refuse to be written to.
	writes bool
	// code is the reason, says what stands in every place.
	code, says string
}

// refusingStores are the ways in which a Redis can refuse.
var refusingStores = map[string]func(t *testing.T) refusing{
	"nobody listens": func(t *testing.T) refusing {
		return refusing{store: fmt.Sprintf("redis redis://127.0.0.1:%d", freePorts(t, 1)), code: "unreachable", says: "connection refused"}
	},
	"a name that there is not": func(*testing.T) refusing {
		return refusing{store: "redis redis://no-such-host.invalid:6379", code: "unreachable", says: "its name cannot be resolved"}
	},
	"it closes each connection": func(t *testing.T) refusing {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				_ = conn.Close()
			}
		}()
		return refusing{store: "redis redis://" + l.Addr().String(), code: "unreachable", says: "it has closed the connection"}
	},
	"it does not answer": func(t *testing.T) refusing {
		r := redistest.Start(t)
		return refusing{store: "redis " + r.URL(), code: "unreachable", says: "it does not answer in time", begin: func(t *testing.T) {
			require.NoError(t, r.Pause())
			t.Cleanup(func() { _ = r.Continue() })
		}}
	},
	"it is gone": func(t *testing.T) refusing {
		r := redistest.Start(t)
		return refusing{store: "redis " + r.URL(), code: "unreachable", says: "connection refused", begin: func(*testing.T) { r.Kill() }}
	},
	"TLS to a plain port": func(t *testing.T) refusing {
		r := redistest.Start(t)
		return refusing{store: "redis rediss://" + r.Addr(), code: "unreachable", says: "it does not answer in time; does it speak TLS?"}
	},
	"no TLS to a port with TLS": func(t *testing.T) refusing {
		r := redistest.Start(t, redistest.WithTLS(t, redistest.NewCA(t), false, "127.0.0.1"))
		return refusing{store: "redis redis://" + r.TLSAddr(), code: "unreachable", says: "it has closed the connection"}
	},
	"a CA that is not known": func(t *testing.T) refusing {
		r := redistest.Start(t, redistest.WithTLS(t, redistest.NewCA(t), false, "127.0.0.1"))
		return refusing{store: "redis " + r.TLSURL(), code: "unreachable", says: "TLS: its certificate is signed by an unknown authority"}
	},
	"no client certificate": func(t *testing.T) refusing {
		ca := redistest.NewCA(t)
		r := redistest.Start(t, redistest.WithTLS(t, ca, true, "127.0.0.1"))
		return refusing{store: "redis " + r.TLSURL() + " {\ntls {\nca " + ca.File + "\n}\n}", code: "unreachable", says: "TLS: it answers: tls: "}
	},
	"no password": func(t *testing.T) refusing {
		r := redistest.Start(t)
		require.NoError(t, r.Client(t).ConfigSet(t.Context(), "requirepass", "secret").Err())
		return refusing{store: "redis redis://" + r.Addr(), code: "NOAUTH", says: "NOAUTH Authentication required"}
	},
	"a wrong password": func(t *testing.T) refusing {
		r := redistest.Start(t)
		return refusing{store: "redis redis://pleo:wrong@" + r.Addr(), code: "WRONGPASS", says: "WRONGPASS invalid username-password pair"}
	},
	"a database out of range": func(t *testing.T) refusing {
		r := redistest.Start(t)
		return refusing{store: "redis redis://" + r.Addr() + "/99", code: "refused", says: "DB index is out of range"}
	},
	"a right to a command is missing": func(t *testing.T) refusing {
		return refusing{store: "redis " + redisWithRules(t, "-eval", "-evalsha").URL(), code: "NOPERM", says: "run the 'eval"}
	},
	"a right to keys is missing": func(t *testing.T) refusing {
		return refusing{store: "redis " + redisWithRules(t, "resetkeys", "~other:*").URL(), code: "NOPERM", says: "NOPERM"}
	},
	"a right to channels is missing": func(t *testing.T) refusing {
		return refusing{store: "redis " + redisWithRules(t, "resetchannels").URL(), code: "NOPERM", says: "channel"}
	},
	"a right within a script is missing": func(t *testing.T) refusing {
		return refusing{store: "redis " + redisWithRules(t, "-hgetall").URL(), code: "NOPERM", says: "The user executing the script can't run this command"}
	},
	"a right to INFO is missing": func(t *testing.T) refusing {
		return refusing{store: "redis " + redisWithRules(t, "-info").URL(), code: "NOPERM", says: "The user executing the script can't run this command"}
	},
	"a command is renamed": func(t *testing.T) refusing {
		r := redistest.Start(t, redistest.WithConfig(`rename-command EVALSHA ""`))
		return refusing{store: "redis " + r.URL(), code: "unknown-command", says: "ERR unknown command 'evalsha'"}
	},
	"a replica": func(t *testing.T) refusing {
		master := redistest.Start(t)
		return refusing{store: "redis " + master.StartReplica(t).URL(), code: "READONLY", says: "READONLY"}
	},
	"a node of a Cluster": func(t *testing.T) refusing {
		c := redistest.StartCluster(t, 3)
		return refusing{store: "redis " + c.Nodes[0].URL(), code: "MOVED", says: "the option cluster is missing"}
	},
	"a Cluster that is down": func(t *testing.T) refusing {
		c := redistest.StartCluster(t, 3, redistest.WithConfig("cluster-node-timeout 500"))
		return refusing{store: onCluster(c), code: "CLUSTERDOWN", says: "CLUSTERDOWN", begin: func(t *testing.T) {
			c.Nodes[1].Kill()
			c.Nodes[2].Kill()
			require.Eventually(t, func() bool {
				return strings.Contains(c.Nodes[0].Client(t).ClusterInfo(t.Context()).Val(), "cluster_state:fail")
			}, patience, tick)
		}}
	},
	"its memory is full": func(t *testing.T) refusing {
		r := redistest.Start(t)
		return refusing{store: "redis " + r.URL(), writes: true, code: "OOM", says: "OOM command not allowed", begin: setting(r, "maxmemory", "1")}
	},
	"too few replicas": func(t *testing.T) refusing {
		r := redistest.Start(t)
		return refusing{store: "redis " + r.URL(), writes: true, code: "NOREPLICAS", says: "NOREPLICAS Not enough good replicas", begin: setting(r, "min-replicas-to-write", "1")}
	},
	"its disk fails": func(t *testing.T) refusing {
		r := redistest.Start(t, redistest.WithConfig("save 3600 1", "dbfilename blocked"))
		return refusing{store: "redis " + r.URL(), writes: true, code: "MISCONF", says: "MISCONF", begin: func(t *testing.T) { failSnapshots(t, r) }}
	},
	"it reads its data": func(t *testing.T) refusing {
		r := redistest.Start(t, redistest.WithAppendOnly(), redistest.WithConfig("key-load-delay 3000", "loading-process-events-interval-bytes 1024"))
		return refusing{store: "redis " + r.URL(), code: "LOADING", says: "LOADING", begin: func(t *testing.T) {
			client := r.Client(t)
			_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
				for i := range 4000 {
					pipe.Set(t.Context(), fmt.Sprint("filler-", i), strings.Repeat("x", 100), 0)
				}
				return nil
			})
			require.NoError(t, err)
			require.NoError(t, client.BgRewriteAOF(t.Context()).Err())
			require.Eventually(t, func() bool { return strings.Contains(r.Info(t, "persistence"), "aof_rewrite_in_progress:0") }, patience, tick)
			restarted := make(chan error, 1)
			go func() { restarted <- r.Restart() }()
			t.Cleanup(func() { <-restarted })
			require.Eventually(t, func() bool {
				return strings.HasPrefix(fmt.Sprint(client.Get(t.Context(), "x").Err()), "LOADING")
			}, patience, tick)
		}}
	},
}

func redisWithRules(t *testing.T, rules ...string) *redistest.Server {
	t.Helper()
	r := redistest.Start(t, redistest.WithRules(rules...))
	t.Cleanup(func() { _ = r.Client(t).ACLLogReset(context.Background()) }) // the refusals are wanted
	return r
}

func setting(r *redistest.Server, option, value string) func(*testing.T) {
	return func(t *testing.T) { require.NoError(t, r.Client(t).ConfigSet(t.Context(), option, value).Err()) }
}

// failSnapshots has Redis fail to write a snapshot, after which it takes no writes.
func failSnapshots(t *testing.T, r *redistest.Server) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(r.Dir(), "blocked", "x"), 0o700))
	require.NoError(t, r.Client(t).BgSave(t.Context()).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(r.Info(t, "persistence"), "rdb_last_bgsave_status:err")
	}, patience, tick)
}

func TestWhyRedisRefusesIsSaidInTheLogInHealthOnTheCommandLineInTheMetricAndToCallers(t *testing.T) {
	t.Parallel()
	for name, start := range refusingStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startPleo(t)
			c := start(t)
			p := startProxy(t, e, config{store: c.store, options: "refresh_timeout 2s"})
			if c.begin != nil {
				e.authorise(t, p, "default", company(0))
				p.employees(t)
				c.begin(t)
			}
			var call answer
			var met int
			callIt := func() answer {
				if c.writes {
					e.Expire(pleotest.Target{Kind: pleotest.AccessToken})
					return send(client, request(t, http.MethodGet, p.URL+"/v2/employees", ""))
				}
				met++ // which of a Cluster's servers has it depends on the name
				return send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(fmt.Sprint("never-met-", met%20))))
			}
			t.Cleanup(func() { t.Logf("the last call: %s", call.body) })
			require.Eventually(t, func() bool {
				call = callIt()
				var problem struct{ Type, Detail string }
				return call.status == http.StatusServiceUnavailable && json.Unmarshal(call.body, &problem) == nil &&
					(c.code == "unreachable" || strings.Contains(problem.Detail, c.says))
			}, patience, 10*tick, c.says)
			if c.code == "unreachable" {
				require.Contains(t, string(call.body), "cannot be reached")
			} else {
				require.NotContains(t, string(call.body), "cannot be reached")
			}

			var health healthReport
			require.Eventually(t, func() bool {
				health = p.healthReport(t)
				return health.Status == "degraded" && strings.Contains(strings.Join(health.Reasons, "; "), c.says)
			}, patience, 5*tick, "%v", &health)
			require.Equal(t, http.StatusOK, health.code)
			s := p.command(t, "health", "--address", p.URL)
			require.Zero(t, s.code, s.errors)
			require.Contains(t, s.out, c.says)
			metrics := p.admin(t, http.MethodGet, "/metrics", "", nil)
			require.Contains(t, string(metrics.body), `pleo_store_failing{reason="`+c.code+`"} 1`)

			for began := time.Now(); time.Since(began) < time.Second; {
				callIt()
			}
			lines := 0
			for line := range strings.Lines(p.stderr.String()) {
				var fields map[string]any
				if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == "the store does not do what it is asked for" && fields["result"] == c.code {
					require.Equal(t, "warn", fields["level"])
					lines++
				}
			}
			require.Equal(t, 1, lines, "not one for each call")
			require.NotRegexp(t, regexp.MustCompile(`wrong@|least-rights`), p.stderr.String())
		})
	}
}

// The tokens in memory are good for an hour. A reload with a wrong password would throw
// them away.
func TestAReloadWhoseStoreRefusesIsRefusedAndCallsGoOnFromMemory(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	c := onRedis(r)
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	p.employees(t)
	good := c.store
	c.store = "redis redis://pleo:wrong@" + r.Addr()
	p.write(t, c)
	s := p.program(t, "reload", "--force", "--config", p.caddyfile())
	require.NotZero(t, s.code)
	require.Contains(t, s.errors, "the configuration before goes on: WRONGPASS")
	p.employees(t)
	require.Equal(t, "ready", p.healthReport(t).Status)

	// One that cannot be reached is taken up: it may be there in a moment.
	c.store = fmt.Sprintf("redis redis://127.0.0.1:%d", freePorts(t, 1))
	code, out := p.reload(t, c)
	require.Zero(t, code, out)
	c.store = good
	code, out = p.reload(t, c)
	require.Zero(t, code, out)
	p.employees(t)
}

// Nothing is held yet, and so nothing is lost yet.
func TestThatThereIsNoDiskIsSaidAtTheStartAndInHealth(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	p := startProxy(t, e, onRedis(r))
	require.Equal(t, "ready", p.healthReport(t).Status)
	p.stop(t, syscall.SIGTERM)
	held := filepath.Join(p.dir, "data", "caddy", "pleo", "held")
	require.NoError(t, os.RemoveAll(held))
	require.NoError(t, os.WriteFile(held, nil, 0o600)) // in the folder's place
	p.restart(t)
	line := awaitLine(t, p, "grants that the store does not take could not be kept on disk")
	require.Equal(t, "warn", line["level"])
	health := p.healthReport(t)
	require.Equal(t, "degraded", health.Status)
	require.Contains(t, health.Reasons[0], "there is no disk")
	e.authorise(t, p, "default", company(0))
	p.employees(t)
}

// What begins is said once, and so is that it is over.
func TestThatAStoreWorksAgainIsSaidOnce(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t, redistest.WithAppendOnly())
	p := startProxy(t, e, onRedis(r))
	e.authorise(t, p, "default", company(0))
	r.Kill()
	require.Eventually(t, func() bool { return p.healthReport(t).Status == "degraded" }, patience, tick)
	awaitLine(t, p, "the store does not do what it is asked for")
	require.NoError(t, r.Restart())
	require.Eventually(t, func() bool { return p.healthReport(t).Status == "ready" }, patience, tick)
	line := awaitLine(t, p, "the store does again what it is asked for", func() { p.healthReport(t) })
	require.Equal(t, "unreachable", line["result"])
	require.Equal(t, 1, strings.Count(p.stderr.String(), "the store does again what it is asked for"))
}
