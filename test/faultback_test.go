package test

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A single Redis that is away for somewhat less than a mark lives: by the time that
// it is back, most of the wait for a mark that it may have forgotten is over.
func TestFaultATokenThatExpiresWhileRedisIsAwayIsReplacedSoonAfterRedisIsBack(t *testing.T) {
	t.Parallel()
	const row = "Redis away for 13s, and the token expires meanwhile"
	const away, life, mark = 13 * time.Second, 10 * time.Second, 15 * time.Second
	var mu sync.Mutex
	var longest time.Duration
	var refreshes int
	rounds := count(2, 24)
	atOnce(t, 4, rounds, func(t *testing.T, mine []int) {
		for range mine {
			e := startPleo(t, pleotest.WithAccessTokenLife(life))
			r := redistest.Start(t, redistest.WithAppendOnly())
			p := startProxy(t, e, onRedis(r))
			e.authorise(t, p, "default", company(0))
			p.employees(t)
			l := startLoad(t, 10, callReplicas(t, p))
			r.Kill()
			gone := time.Now()
			e.SetAccessTokenLife(15 * time.Minute)
			pass(t, gone.Add(away))
			require.NoError(t, r.Restart())
			took := awaitUse(t, p, "default")
			l.end()
			mu.Lock()
			longest, refreshes = max(longest, took), refreshes+e.Counters().Refreshes
			mu.Unlock()
			require.Less(t, took, mark-away+5*time.Second)
		}
	})
	figure(t, row, "times", rounds)
	figure(t, row, "refreshes", refreshes)
	figure(t, row, "longest from Redis's return until the first answer", rounded(longest))
}

// refusals are the ways in which a Redis that answers takes no write.
var refusals = map[string]func(*testing.T, *redistest.Server) (well func()){
	"MISCONF": func(t *testing.T, r *redistest.Server) func() {
		t.Helper()
		c := r.Client(t)
		set := func(name, value string) { require.NoError(t, c.ConfigSet(t.Context(), name, value).Err(), name) }
		saved := func(how string) {
			require.Eventually(t, func() bool {
				_ = c.BgSave(t.Context()).Err()
				return redisSays(t, r, "persistence", "rdb_last_bgsave_status:"+how)
			}, patience, 5*tick)
		}
		// A snapshot that cannot be written: its name is a directory's.
		require.NoError(t, os.Mkdir(r.Dir()+"/taken", 0o700))
		require.NoError(t, os.WriteFile(r.Dir()+"/taken/by", nil, 0o600))
		set("dbfilename", "taken")
		set("save", "3600 1")
		saved("err")
		return func() {
			set("dbfilename", "dump.rdb")
			saved("ok")
		}
	},
	"NOREPLICAS": func(t *testing.T, r *redistest.Server) func() {
		t.Helper()
		c := r.Client(t)
		require.NoError(t, c.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
		return func() { require.NoError(t, c.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err()) }
	},
	"READONLY": func(t *testing.T, r *redistest.Server) func() {
		t.Helper()
		c := r.Client(t)
		require.NoError(t, c.ReplicaOf(t.Context(), "127.0.0.1", "1").Err()) // where nothing listens
		return func() { require.NoError(t, c.ReplicaOf(t.Context(), "NO", "ONE").Err()) }
	},
}

func redisSays(t *testing.T, r *redistest.Server, section, line string) bool {
	t.Helper()
	return strings.Contains(r.Info(t, section), line)
}

func TestFaultAPairThatRedisRefusesIsStoredAndItsSuccessorFetchedAsSoonAsRedisIsWell(t *testing.T) {
	t.Parallel()
	const row = "a pair that Redis refuses expires"
	for name, refuse := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const life = 5 * time.Second
			e := startPleo(t)
			r := redistest.Start(t, redistest.WithConfig("enable-protected-configs yes"))
			p := startProxy(t, e, onRedis(r))
			e.authorise(t, p, "default", company(0))
			p.employees(t)
			e.SetAccessTokenLife(life)
			hold := e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
			refresh := request(t, http.MethodPost, "http://127.0.0.1/pleo/connections/default/refresh", "")
			go func() { _ = send(p.adminClient(), refresh) }()
			await(t, hold)
			well := refuse(t, r)
			hold.Release()
			require.Eventually(t, func() bool { return p.unsaved(t) == 1 }, patience, tick)
			p.employees(t) // with the pair that is held
			e.SetAccessTokenLife(15 * time.Minute)
			require.Eventually(t, func() bool {
				return get(t, p.URL+"/v2/employees").status == http.StatusServiceUnavailable
			}, patience, tick, "it expires")

			well()
			took := awaitUse(t, p, "default")
			figure(t, row, name+": from Redis's recovery until the first answer", rounded(took))
			bound := 5 * time.Second
			if name == "READONLY" { // a server that is promoted may have forgotten a mark
				bound += 15 * time.Second
			}
			require.Less(t, took, bound)
			require.Equal(t, 2, e.Counters().Refreshes)
			require.Zero(t, p.unsaved(t))
		})
	}
}
