package redistest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// clusterSlots is how many slots a Redis Cluster has.
const clusterSlots = 16384

// Cluster is a Redis Cluster of masters alone.
type Cluster struct {
	Nodes []*Server
}

// StartCluster starts a Cluster of n masters that share the slots evenly.
func StartCluster(t testing.TB, n int, options ...Option) *Cluster {
	t.Helper()
	c := &Cluster{}
	options = append(options, WithConfig("cluster-enabled yes", "cluster-node-timeout 5000"))
	for range n {
		c.Nodes = append(c.Nodes, Start(t, append(options, clusterOverTLS)...))
	}
	if err := c.join(); err != nil {
		t.Fatalf("redistest: cluster: %v", err)
	}
	return c
}

// clusterOverTLS makes nodes that speak TLS tell their clients the TLS ports.
func clusterOverTLS(s *Server) {
	if s.tls {
		WithConfig("tls-cluster yes")(s)
	}
}

// Addrs returns the nodes' addresses.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		addrs[i] = node.Addr()
	}
	return addrs
}

func (c *Cluster) join() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for i, node := range c.Nodes {
		client := node.client()
		defer client.Close()
		first, last := i*clusterSlots/len(c.Nodes), (i+1)*clusterSlots/len(c.Nodes)-1
		if err := client.ClusterAddSlotsRange(ctx, first, last).Err(); err != nil {
			return err
		}
		// Without epochs of their own, nodes first have to agree on them.
		if err := client.Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil {
			return err
		}
		if err := client.ClusterMeet(ctx, "127.0.0.1", fmt.Sprint(c.Nodes[0].peerPort())).Err(); err != nil {
			return err
		}
	}
	for _, node := range c.Nodes {
		if err := waitUntil(ctx, node, func(client *redis.Client) bool {
			info := client.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") &&
				strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r\n", len(c.Nodes)))
		}); err != nil {
			return err
		}
	}
	return nil
}

// MoveEmptySlots gives the slots of one node, by its place in Nodes, that hold
// no key to another, and waits until all nodes agree.
func (c *Cluster) MoveEmptySlots(ctx context.Context, from, to int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	clients := make([]*redis.Client, len(c.Nodes))
	for i, node := range c.Nodes {
		clients[i] = node.client()
		defer clients[i].Close()
	}
	id, err := clients[to].Do(ctx, "cluster", "myid").Text()
	if err != nil {
		return err
	}
	first, last := from*clusterSlots/len(c.Nodes), (from+1)*clusterSlots/len(c.Nodes)-1
	counts, err := clients[from].Pipelined(ctx, func(p redis.Pipeliner) error {
		for slot := first; slot <= last; slot++ {
			p.ClusterCountKeysInSlot(ctx, slot)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// The new owner first, so that the slots are never nobody's; all others
	// too, since gossip takes its time. In one go for each: a node writes its
	// configuration to the disk after every command that comes alone.
	order := append([]*redis.Client{clients[to]}, slices.Delete(slices.Clone(clients), to, to+1)...)
	for _, client := range order {
		if _, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for k, count := range counts {
				if count.(*redis.IntCmd).Val() == 0 {
					p.Do(ctx, "cluster", "setslot", first+k, "node", id)
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for _, node := range c.Nodes {
		if err := waitUntil(ctx, node, func(client *redis.Client) bool {
			return strings.Contains(client.ClusterInfo(ctx).Val(), "cluster_state:ok")
		}); err != nil {
			return err
		}
	}
	return nil
}

// client returns a client that the caller closes.
func (s *Server) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Addr(), Dialer: s.dial, Protocol: 2, DisableIdentity: true})
}

// waitUntil asks a server until the answer is yes.
func waitUntil(ctx context.Context, s *Server, yes func(*redis.Client) bool) error {
	client := s.client()
	defer client.Close()
	for !yes(client) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready; the end of its log: %s", s.Addr(), s.logTail())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// StartReplica adds a replica of a node, by its place in Nodes, and waits until
// it is in step.
func (c *Cluster) StartReplica(t testing.TB, of int) *Server {
	t.Helper()
	replica := Start(t, WithConfig("cluster-enabled yes", "cluster-node-timeout 5000"))
	if err := c.replicate(replica, c.Nodes[of]); err != nil {
		t.Fatalf("redistest: cluster: %v", err)
	}
	return replica
}

func (c *Cluster) replicate(replica, master *Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	masters, mine := master.client(), replica.client()
	defer masters.Close()
	defer mine.Close()
	id, err := masters.Do(ctx, "cluster", "myid").Text()
	if err != nil {
		return err
	}
	if err := mine.ClusterMeet(ctx, "127.0.0.1", fmt.Sprint(master.peerPort())).Err(); err != nil {
		return err
	}
	// A node can replicate only what gossip has told it of.
	if err := waitUntil(ctx, replica, func(client *redis.Client) bool {
		return client.ClusterReplicate(ctx, id).Err() == nil
	}); err != nil {
		return err
	}
	return replica.waitInStep(master)
}
