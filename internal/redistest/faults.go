package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// RestartEmpty kills the server, and starts it again on the same port without
// anything that it had kept.
func (s *Server) RestartEmpty() error {
	s.Kill()
	for _, kept := range []string{"appendonlydir", "dump.rdb"} {
		if err := os.RemoveAll(filepath.Join(s.dir, kept)); err != nil {
			return err
		}
	}
	return s.start()
}

// Detach makes the replica stop following the master: if it is promoted within
// some seconds, it lacks whatever was written since. Left alone, the Sentinels
// would make it follow again.
func (s *Sentinel) Detach(ctx context.Context) error {
	client := s.Replica.client()
	defer client.Close()
	return client.ReplicaOf(ctx, "NO", "ONE").Err()
}

// Promoted waits until the Sentinels have made the replica the master.
func (s *Sentinel) Promoted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, sentinel := range s.Sentinels {
		if err := waitUntil(ctx, sentinel, func(c *redis.Client) bool {
			return strings.Contains(c.Info(ctx, "sentinel").Val(), "address="+s.Replica.Addr())
		}); err != nil {
			return err
		}
	}
	return nil
}

// Owner returns the place in Nodes of the node that has a key which matches a
// pattern of SCAN.
func (c *Cluster) Owner(ctx context.Context, pattern string) (int, error) {
	for i, node := range c.Nodes {
		keys, err := node.keys(ctx, pattern)
		if err != nil {
			return 0, err
		}
		if len(keys) > 0 {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no node has a key like %s", pattern)
}

func (s *Server) keys(ctx context.Context, pattern string) ([]string, error) {
	client := s.client()
	defer client.Close()
	var keys []string
	found := client.Scan(ctx, 0, pattern, 1000).Iterator()
	for found.Next(ctx) {
		keys = append(keys, found.Val())
	}
	return keys, found.Err()
}

// MoveSlots gives every slot of one node, by its place in Nodes, that holds keys
// to another node, keys included, as resharding does while clients go on.
func (c *Cluster) MoveSlots(ctx context.Context, from, to int) error {
	keys, err := c.Nodes[from].keys(ctx, "*")
	if err != nil {
		return err
	}
	source, target := c.Nodes[from].client(), c.Nodes[to].client()
	defer source.Close()
	defer target.Close()
	ids := [2]string{}
	for i, client := range []*redis.Client{source, target} {
		if ids[i], err = client.Do(ctx, "cluster", "myid").Text(); err != nil {
			return err
		}
	}
	moved := map[int64]bool{}
	for _, key := range keys {
		slot, err := source.ClusterKeySlot(ctx, key).Result()
		if err != nil {
			return err
		}
		if moved[slot] {
			continue
		}
		moved[slot] = true
		if err := errors.Join(
			target.Do(ctx, "cluster", "setslot", slot, "importing", ids[0]).Err(),
			source.Do(ctx, "cluster", "setslot", slot, "migrating", ids[1]).Err(),
			c.migrate(ctx, source, slot, to),
			c.give(ctx, slot, to, ids[1]),
		); err != nil {
			return err
		}
	}
	return nil
}

// migrate moves the keys of a slot. There may be new ones meanwhile.
func (c *Cluster) migrate(ctx context.Context, source *redis.Client, slot int64, to int) error {
	for {
		keys, err := source.ClusterGetKeysInSlot(ctx, int(slot), 100).Result()
		if err != nil || len(keys) == 0 {
			return err
		}
		args := []any{"migrate", "127.0.0.1", c.Nodes[to].Port(), "", 0, 5000, "keys"}
		for _, key := range keys {
			args = append(args, key)
		}
		if err := source.Do(ctx, args...).Err(); err != nil {
			return err
		}
	}
}

// give tells all nodes who has a slot now, the new owner first.
func (c *Cluster) give(ctx context.Context, slot int64, to int, id string) error {
	order := []*Server{c.Nodes[to]}
	for i, node := range c.Nodes {
		if i != to {
			order = append(order, node)
		}
	}
	for _, node := range order {
		client := node.client()
		err := client.Do(ctx, "cluster", "setslot", slot, "node", id).Err()
		_ = client.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// AddReplica starts a replica of a node, by its place in Nodes, and waits until
// it is in step.
func (c *Cluster) AddReplica(t testing.TB, of int, options ...Option) *Server {
	t.Helper()
	replica := Start(t, append(options, WithConfig("cluster-enabled yes", "cluster-node-timeout 5000"))...)
	if err := c.attach(replica, of); err != nil {
		t.Fatalf("redistest: cluster: %v", err)
	}
	return replica
}

func (c *Cluster) attach(replica *Server, of int) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client, master := replica.client(), c.Nodes[of].client()
	defer client.Close()
	defer master.Close()
	id, err := master.Do(ctx, "cluster", "myid").Text()
	if err != nil {
		return err
	}
	if err := client.ClusterMeet(ctx, "127.0.0.1", fmt.Sprint(c.Nodes[of].Port())).Err(); err != nil {
		return err
	}
	// It has to hear of the master before it can follow it, and all others of it
	// before they take its word.
	for _, node := range append([]*Server{replica}, c.Nodes...) {
		if err := waitUntil(ctx, node, func(client *redis.Client) bool {
			return strings.Contains(client.ClusterInfo(ctx).Val(), fmt.Sprintf("cluster_known_nodes:%d\r\n", len(c.Nodes)+1))
		}); err != nil {
			return err
		}
	}
	if err := waitUntil(ctx, replica, func(client *redis.Client) bool {
		return client.ClusterReplicate(ctx, id).Err() == nil
	}); err != nil {
		return err
	}
	return waitUntil(ctx, replica, func(client *redis.Client) bool {
		return strings.Contains(client.Info(ctx, "replication").Val(), "master_link_status:up")
	})
}

// FailOver kills a node, by its place in Nodes, and has its replica take over at
// once, without waiting for the others to agree that the node is gone.
func (c *Cluster) FailOver(ctx context.Context, of int, replica *Server) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c.Nodes[of].Kill()
	client := replica.client()
	defer client.Close()
	if err := client.Do(ctx, "cluster", "failover", "takeover").Err(); err != nil {
		return err
	}
	return waitUntil(ctx, replica, func(client *redis.Client) bool {
		return strings.Contains(client.Info(ctx, "replication").Val(), "role:master") &&
			strings.Contains(client.ClusterInfo(ctx).Val(), "cluster_state:ok")
	})
}
