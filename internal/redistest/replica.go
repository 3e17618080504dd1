package redistest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// StartReplica starts a replica of the server, waits until it is in step, and
// stops it when the test ends. A server that speaks TLS needs one that does, too.
func (s *Server) StartReplica(t testing.TB, options ...Option) *Server {
	t.Helper()
	replica := Start(t, append(options, WithConfig(fmt.Sprintf("replicaof %s %d", s.host, s.peerPort())))...)
	if err := replica.waitInStep(s); err != nil {
		t.Fatalf("redistest: replica: %v", err)
	}
	return replica
}

// Promote makes the replica a master.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.command(t, "replicaof", "no", "one")
}

// Demote makes the server a replica of another and waits until it is in step.
func (s *Server) Demote(t testing.TB, master *Server) {
	t.Helper()
	s.command(t, "replicaof", master.host, fmt.Sprint(master.peerPort()))
	if err := s.waitInStep(master); err != nil {
		t.Fatalf("redistest: replica: %v", err)
	}
}

func (s *Server) command(t testing.TB, args ...any) {
	t.Helper()
	client := s.client()
	defer client.Close()
	if err := client.Do(context.Background(), args...).Err(); err != nil {
		t.Fatalf("redistest: %v: %v", args, err)
	}
}

// waitInStep waits until both sides say that the replica follows its master:
// WAIT counts only replicas that the master takes for online.
func (s *Server) waitInStep(master *Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := waitUntil(ctx, s, func(c *redis.Client) bool {
		return strings.Contains(c.Info(ctx, "replication").Val(), "master_link_status:up")
	}); err != nil {
		return err
	}
	return waitUntil(ctx, master, func(c *redis.Client) bool {
		return strings.Contains(c.Info(ctx, "replication").Val(), fmt.Sprintf("port=%d,state=online", s.peerPort()))
	})
}
