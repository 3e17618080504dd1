package redistest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// MasterName is what the Sentinels of [StartSentinel] call their master.
const MasterName = "pleo-master"

// Sentinel is a master, a replica and three Sentinels that watch them.
type Sentinel struct {
	Master, Replica *Server
	Sentinels       []*Server
}

// StartSentinel starts a set-up that fails over a second after its master is
// gone. The options are for master and replica.
func StartSentinel(t testing.TB, options ...Option) *Sentinel {
	t.Helper()
	return StartSentinelWith(t, nil, options...)
}

// StartSentinelWith is StartSentinel with options for the Sentinels, too.
func StartSentinelWith(t testing.TB, sentinels []Option, options ...Option) *Sentinel {
	t.Helper()
	s := &Sentinel{Master: Start(t, options...)}
	s.Replica = s.Master.StartReplica(t, options...)
	for range 3 {
		s.Sentinels = append(s.Sentinels, StartSentinelOf(t, s.Master, sentinels...))
	}
	if err := s.wait(); err != nil {
		t.Fatalf("redistest: sentinel: %v", err)
	}
	return s
}

// StartSentinelOf starts one Sentinel that watches a master; two have to agree
// that it is gone.
func StartSentinelOf(t testing.TB, master *Server, options ...Option) *Server {
	t.Helper()
	return Start(t, append(slices.Clip(options), WithSentinel(), WithConfig(
		fmt.Sprintf("sentinel monitor %s %s %d 2", MasterName, master.host, master.peerPort()),
		fmt.Sprintf("sentinel down-after-milliseconds %s 1000", MasterName),
		fmt.Sprintf("sentinel failover-timeout %s 5000", MasterName),
	))...)
}

// Addrs returns the Sentinels' addresses.
func (s *Sentinel) Addrs() []string {
	addrs := make([]string, len(s.Sentinels))
	for i, sentinel := range s.Sentinels {
		addrs[i] = sentinel.Addr()
	}
	return addrs
}

// wait waits until all Sentinels know all.
func (s *Sentinel) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, sentinel := range s.Sentinels {
		if err := waitUntil(ctx, sentinel, func(c *redis.Client) bool {
			info := c.Info(ctx, "sentinel").Val()
			return strings.Contains(info, "status=ok") && strings.Contains(info, "slaves=1,sentinels=3")
		}); err != nil {
			return err
		}
	}
	return nil
}
