package redisstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// markLife is that of the default refresh timeout.
const markLife = 15 * time.Second

// risks returns what a store's check finds.
func risks(t *testing.T, store *redisstore.Store) []pleoauth.DurabilityRisk {
	t.Helper()
	found, err := store.CheckDurability(t.Context(), markLife)
	require.NoError(t, err)
	return found
}

func TestServerThatMayLoseGrantsIsTold(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	o, least := options(t, "redis://"+server.Addr()), options(t, server.URL())
	for name, c := range map[string]struct {
		config []string
		user   redisstore.Options
		code   string // empty: no risk
		text   string
	}{
		"all is well": {
			[]string{"appendonly", "yes"}, o, "", "",
		},
		"all is well, as far as the least user sees": {
			[]string{"appendonly", "yes"}, least, "", "",
		},
		"snapshots alone": {
			[]string{"save", "900 1"}, o, "", "",
		},
		"nothing on disk": {
			nil, o, pleoauth.RiskPersistence, "Redis keeps nothing on disk, so that a restart loses every grant; set appendonly yes",
		},
		"perhaps nothing on disk": {
			[]string{"save", "900 1"}, least, pleoauth.RiskPersistence, "appendonly is no, and whether Redis makes snapshots could not be seen (the user may not CONFIG GET); set appendonly yes",
		},
		"no fsync": {
			[]string{"appendonly", "yes", "appendfsync", "no"}, o, pleoauth.RiskPersistence, "appendfsync is no: what Redis wrote last is lost if its machine fails; set appendfsync everysec or always",
		},
		"eviction": {
			[]string{"appendonly", "yes", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru"}, least, pleoauth.RiskEviction, "maxmemory-policy is allkeys-lru: Redis drops grants when its memory is full; set maxmemory-policy noeviction",
		},
		"eviction some day": {
			[]string{"appendonly", "yes", "maxmemory-policy", "allkeys-random"}, o, pleoauth.RiskEviction, "maxmemory-policy is allkeys-random: Redis drops grants as soon as maxmemory is set and its memory is full; set maxmemory-policy noeviction",
		},
		"eviction of what ends by itself": {
			[]string{"appendonly", "yes", "maxmemory", "1gb", "maxmemory-policy", "volatile-lru"}, o, pleoauth.RiskEviction, "maxmemory-policy is volatile-lru: Redis drops locks, and authorisations that are under way, when its memory is full; set maxmemory-policy noeviction",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, option := range [][2]string{
				{"appendonly", "no"}, {"appendfsync", "everysec"}, {"save", ""}, {"maxmemory", "0"}, {"maxmemory-policy", "noeviction"},
			} {
				require.NoError(t, client.ConfigSet(t.Context(), option[0], option[1]).Err())
			}
			for i := 0; i < len(c.config); i += 2 {
				require.NoError(t, client.ConfigSet(t.Context(), c.config[i], c.config[i+1]).Err())
			}
			store := open(t, c.user)
			for range 2 { // what was refused once is not asked for again
				found := risks(t, store)
				if c.code == "" {
					require.Empty(t, found)
					continue
				}
				require.Equal(t, []pleoauth.DurabilityRisk{{Code: c.code, Server: server.Addr(), Text: c.text}}, found)
			}
		})
	}
}

func TestServerThatRefusedItsOwnFileIsTold(t *testing.T) {
	o := redistest.WithConfig("user default on nopass allkeys allchannels -@all +ping +info +acl|log")
	server := redistest.Start(t, redistest.WithAppendOnly(), o)
	store := open(t, options(t, server.URL()))
	put(t, store, "acme", connected)
	require.Empty(t, risks(t, store))

	require.NoError(t, server.Restart())
	// What it refused itself is in its ACL log, too, which has to be empty in the end.
	require.NoError(t, server.Client(t).ACLLogReset(t.Context()).Err())
	found := risks(t, open(t, options(t, server.URL())))
	require.Len(t, found, 1)
	require.Equal(t, pleoauth.RiskPersistence, found[0].Code)
	require.Regexp(t, `^Redis refused [1-9]\d* commands of its own append-only file, or of its master, and lacks what they wrote; `+
		`give its user default all rights, and restart it before it rewrites that file$`, found[0].Text)
}

func TestServerThatRefusesConfigIsAskedOnce(t *testing.T) {
	server := redistest.Start(t)
	store := open(t, options(t, server.URL()))
	for range 3 {
		require.Len(t, risks(t, store), 1)
	}
	require.Equal(t, "0", calls(t, server, "config\\|get"))
	log, err := server.Client(t).Do(t.Context(), "acl", "log").Slice()
	require.NoError(t, err)
	require.Len(t, log, 1)
	require.Contains(t, log[0], int64(1), "refused once")
}

func TestFewerReplicasThanHaveToConfirmAreARisk(t *testing.T) {
	master := redistest.Start(t, redistest.WithAppendOnly())
	o := options(t, master.URL())
	require.Empty(t, risks(t, open(t, o)))
	o.WaitReplicas = new(1)
	store := open(t, o)
	require.Equal(t, []pleoauth.DurabilityRisk{{
		Code: pleoauth.RiskReplicas, Server: master.Addr(),
		Text: "Redis has 0 replicas in step, and wait_replicas is 1: nothing is refreshed; bring replicas back or lower wait_replicas",
	}}, risks(t, store))
	master.StartReplica(t)
	require.NoError(t, master.Client(t).ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	require.Empty(t, risks(t, store))
}

// codes returns the codes of risks, in order.
func codes(found []pleoauth.DurabilityRisk) (all []string) {
	for _, risk := range found {
		all = append(all, risk.Code)
	}
	return all
}

func TestServerThatWouldTakeWritesOnBothSidesOfASplitIsTold(t *testing.T) {
	const (
		unlimited = "min-replicas-to-write is 0, or min-replicas-max-lag is: when the network splits, this server and the one that takes its place both take writes, and a refresh on the side that loses costs the grant; set min-replicas-to-write 1 and min-replicas-max-lag 10"
		slow      = "min-replicas-max-lag is 15, not less than a refresh is waited for (15s): when the network splits, this server and the one that takes its place both take writes, and a refresh on the side that loses costs the grant; set min-replicas-to-write 1 and min-replicas-max-lag 10"
		unseen    = "whether min-replicas-max-lag is 6 at the most could not be seen (the user may not CONFIG GET): if not, when the network splits, this server and the one that takes its place both take writes, and a refresh on the side that loses costs the grant; set min-replicas-to-write 1 and min-replicas-max-lag 6"
	)
	server := redistest.Start(t, redistest.WithAppendOnly())
	client := server.Client(t)
	all, least := open(t, options(t, "redis://"+server.Addr())), open(t, options(t, server.URL()))
	require.Empty(t, risks(t, all), "a server without replicas cannot be replaced")
	replica := server.StartReplica(t)
	for name, c := range map[string]struct {
		replicas, lag string
		store         *redisstore.Store
		markLife      time.Duration
		text          string // empty: no risk
	}{
		"no limit":                                {"0", "10", all, markLife, unlimited},
		"no limit, and the least user":            {"0", "10", least, markLife, unlimited},
		"a limit that is switched off":            {"1", "0", least, markLife, unlimited},
		"both set":                                {"1", "10", all, markLife, ""},
		"both set, as far as the least user sees": {"1", "10", least, markLife, ""},
		"two replicas":                            {"2", "1", all, markLife, ""},
		"just below a mark's life":                {"1", "14", all, markLife, ""},
		"as long as a mark's life":                {"1", "15", all, markLife, slow},
		"a short mark that the default outlives":  {"1", "10", least, 7 * time.Second, unseen},
		"a short mark and a shorter lag":          {"1", "6", all, 7 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-to-write", c.replicas).Err())
			require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-max-lag", c.lag).Err())
			found, err := c.store.CheckDurability(t.Context(), c.markLife)
			require.NoError(t, err)
			if c.text == "" {
				require.Empty(t, found)
				return
			}
			require.Equal(t, []pleoauth.DurabilityRisk{{Code: pleoauth.RiskSplit, Server: server.Addr(), Text: c.text}}, found)
		})
	}
	require.NoError(t, client.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err())
	replica.Kill()
	awaitNoReplica(t, server)
	require.Equal(t, []string{pleoauth.RiskSplit}, codes(risks(t, all)), "its replica may have been cut off")
}

func TestMasterBehindSentinelsAndThoseOfAClusterWithReplicasAreToldOfASplit(t *testing.T) {
	s := redistest.StartSentinel(t, redistest.WithAppendOnly())
	store := open(t, sentinelOptions(s))
	s.Replica.Kill()
	require.Equal(t, []string{pleoauth.RiskSplit}, codes(risks(t, store)))
	require.NoError(t, s.Master.Client(t).ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	require.Empty(t, risks(t, store))

	c := redistest.StartCluster(t, 3, redistest.WithAppendOnly())
	c.StartReplica(t, 1)
	store = open(t, clusterOptions(c))
	found := risks(t, store)
	require.Equal(t, []string{pleoauth.RiskSplit}, codes(found))
	require.Equal(t, c.Nodes[1].Addr(), found[0].Server)
}

func TestRedisThatLetsScriptsWriteWithoutReplicasIsTold(t *testing.T) {
	for info, text := range map[string]string{
		"role:master\r\nredis_version:6.2.14\r\nmin_slaves_good_slaves:1\r\n": "Redis 6 heeds min-replicas-to-write in no script",
		"redis_version:7.0.15\r\n": "Redis does not tell whether it stops taking writes without its replicas",
		"role:master\r\nredis_version:7.0.15\r\nmin_slaves_good_slaves:1\r\n": "",
	} {
		found := redisstore.SplitRisks(info, markLife)
		if text == "" {
			require.Empty(t, found)
			continue
		}
		require.Equal(t, []string{pleoauth.RiskSplit}, codes(found))
		require.True(t, strings.HasPrefix(found[0].Text, text), found[0].Text)
	}
}

func TestEveryMasterOfAClusterIsChecked(t *testing.T) {
	c := redistest.StartCluster(t, 3, redistest.WithAppendOnly())
	require.NoError(t, c.Nodes[2].Client(t).ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	store := open(t, clusterOptions(c))
	found := risks(t, store)
	require.Len(t, found, 1)
	require.Equal(t, pleoauth.RiskEviction, found[0].Code)
	require.Equal(t, c.Nodes[2].Addr(), found[0].Server)

	c.Nodes[0].Kill()
	found, err := store.CheckDurability(t.Context(), markLife)
	require.Error(t, err)
	require.Len(t, found, 1, "what the others say comes with the error")
}

func TestServerThatIsAwayIsNotJudged(t *testing.T) {
	found, err := open(t, options(t, "redis://127.0.0.1:1")).CheckDurability(t.Context(), markLife)
	require.Error(t, err)
	require.Empty(t, found)
}

// What cannot be seen is a risk, so that require_durable refuses it.
func TestServerThatRefusesInfoIsARisk(t *testing.T) {
	server := redistest.Start(t, redistest.WithAppendOnly(), redistest.WithRules("-info"))
	found := risks(t, open(t, options(t, server.URL())))
	require.Len(t, found, 1)
	require.Equal(t, pleoauth.RiskPersistence, found[0].Code)
	require.Contains(t, found[0].Text, "refuses INFO: NOPERM")
	require.NoError(t, server.Client(t).ACLLogReset(t.Context()).Err(), "the refusal is wanted")
}

// A server that reads its data says of its settings what is not so.
func TestServerThatIsLoadingIsNotJudged(t *testing.T) {
	server := redistest.Start(t, redistest.WithAppendOnly(), redistest.WithConfig("key-load-delay 2000", "loading-process-events-interval-bytes 1024"))
	client := server.Client(t)
	_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for i := range 1000 {
			pipe.Set(t.Context(), fmt.Sprint("filler-", i), strings.Repeat("x", 100), 0)
		}
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, client.BgRewriteAOF(t.Context()).Err())
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "persistence").Val(), "aof_rewrite_in_progress:0")
	}, patience, 10*time.Millisecond)
	store := open(t, options(t, server.URL()))
	require.Empty(t, risks(t, store))

	restarted := make(chan error, 1)
	go func() { restarted <- server.Restart() }()
	var sawLoading bool
	for done := false; !done; {
		select {
		case err := <-restarted:
			require.NoError(t, err)
			done = true
		case <-time.After(5 * time.Millisecond):
		}
		found, err := store.CheckDurability(t.Context(), markLife)
		require.Empty(t, found)
		sawLoading = sawLoading || err != nil && strings.Contains(err.Error(), "is loading its data")
	}
	require.True(t, sawLoading)
	require.Eventually(t, func() bool {
		found, err := store.CheckDurability(t.Context(), markLife)
		return err == nil && len(found) == 0
	}, patience, 10*time.Millisecond)
}
