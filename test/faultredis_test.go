package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

func TestFaultRedisLostInMidRefreshLosesNoGrant(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		row        string
		begin, end func(*redistest.Server) error
	}{
		{"Redis killed in mid-refresh", outages["killed"].begin, outages["killed"].end},
		{"Redis hung in mid-refresh", outages["hung"].begin, outages["hung"].end},
		{
			"Redis restarted empty in mid-refresh", func(*redistest.Server) error { return nil },
			(*redistest.Server).RestartEmpty,
		},
	} {
		t.Run(kind.row, func(t *testing.T) {
			t.Parallel()
			var y trial
			atOnce(t, count(1, 2), count(1, 8), func(t *testing.T, mine []int) {
				r := redistest.Start(t, redistest.WithAppendOnly())
				e, replicas := replicasOn(t, "redis "+r.URL())
				for _, round := range mine {
					stage, late := stages[round/2%2], round/4%2 == 0
					y.inMidRefresh(t, e, replicas, fmt.Sprint(kind.row, ", ", stage, ", late answer: ", late), stage, late,
						func() error { return kind.begin(r) },
						func() error {
							<-time.After(time.Second) // the outage
							return kind.end(r)
						})
				}
				y.close(e)
			})
			y.figures(t, kind.row)
		})
	}
}

func onSentinel(s *redistest.Sentinel) string { return sentinelStore(s.Addrs()) }

func sentinelStore(addresses []string) string {
	return fmt.Sprintf("redis {\n\taddress %s\n\tmaster_name %s\n\tusername %[3]s\n\tpassword %[4]s\n\tsentinel_username %[3]s\n\tsentinel_password %[4]s\n}",
		strings.Join(addresses, " "), redistest.MasterName, redistest.User, redistest.Password)
}

func TestFaultAStoreThatFailsOverInMidRefreshLosesNoGrant(t *testing.T) {
	t.Parallel()
	together(t, map[string]func(*testing.T){
		"Sentinel, and the last writes are lost": sentinelFailsOver,
		"a Cluster's slot moves":                 slotMoves,
		"a Cluster's master":                     clusterFailsOver,
	})
}

func sentinelFailsOver(t *testing.T) {
	const row = "failover that loses the last writes"
	var y trial
	atOnce(t, count(1, 4), count(1, 4), func(t *testing.T, mine []int) {
		for _, round := range mine {
			s := redistest.StartSentinel(t)
			e, replicas := replicasOn(t, onSentinel(s))
			// From here on, the replica of Redis hears of nothing: not of the next
			// mark, and in every other round not of the next pair either.
			require.NoError(t, s.Detach(t.Context()))
			y.inMidRefresh(t, e, replicas, fmt.Sprint(row, ", round ", round), stages[round/2%2], false,
				func() error {
					if round%2 == 0 {
						s.Master.Kill()
					}
					return nil
				},
				func() error {
					if round%2 == 1 {
						before := e.Counters().Refreshes
						e.awaitRefreshes(t, before+1)
						s.Master.Kill()
					}
					return s.Promoted(t.Context())
				})
			y.close(e)
		}
	})
	y.figures(t, row)
}

// awaitRefreshes waits until so many refreshes have been processed.
func (e *pleo) awaitRefreshes(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return e.Counters().Refreshes >= n }, patience, tick)
}

func onCluster(c *redistest.Cluster) string {
	return fmt.Sprintf("redis {\n\taddress %s\n\tcluster\n\tusername %s\n\tpassword %s\n}", strings.Join(c.Addrs(), " "), redistest.User, redistest.Password)
}

// ofDefault matches the record of the connection that is in use.
const ofDefault = "*:record:default"

func slotMoves(t *testing.T) {
	const row = "slot moved in mid-refresh"
	var y trial
	c := redistest.StartCluster(t, 3)
	e, replicas := replicasOn(t, onCluster(c))
	for round := range count(1, 4) {
		stage, late := stages[round%2], round/2%2 == 0
		y.inMidRefresh(t, e, replicas, fmt.Sprint(row, ", ", stage, ", late answer: ", late), stage, late,
			func() error {
				from, err := c.Owner(t.Context(), ofDefault)
				if err != nil {
					return err
				}
				return c.MoveSlots(t.Context(), from, (from+1)%len(c.Nodes))
			},
			func() error { return nil })
	}
	y.close(e)
	y.figures(t, row)
}

func clusterFailsOver(t *testing.T) {
	const row = "Cluster master failed over in mid-refresh"
	var y trial
	atOnce(t, count(1, 2), count(1, 2), func(t *testing.T, mine []int) {
		for _, round := range mine {
			c := redistest.StartCluster(t, 3)
			e, replicas := replicasOn(t, onCluster(c))
			master, err := c.Owner(t.Context(), ofDefault)
			require.NoError(t, err)
			replica := c.AddReplica(t, master)
			y.inMidRefresh(t, e, replicas, fmt.Sprint(row, ", ", stages[round%2]), stages[round%2], true,
				func() error { return c.FailOver(t.Context(), master, replica) },
				func() error { return nil })
			y.close(e)
		}
	})
	y.figures(t, row)
}
