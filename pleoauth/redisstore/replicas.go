package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// replicated waits until enough replicas have confirmed a swap, on the
// connection that it was made on; inStep is how many replicas its master has.
// What goes wrong here changes nothing about the swap: it was made.
func (s *Store) replicated(ctx context.Context, on *pinned, inStep any, atMost time.Duration) error {
	if atMost <= 0 {
		return nil
	}
	count, _ := inStep.(int64)
	wanted := min(1, count)
	if s.options.WaitReplicas != nil {
		wanted = int64(*s.options.WaitReplicas)
	}
	if wanted == 0 {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		atMost = min(atMost, time.Until(deadline))
	}
	// Conn.Wait, for the limit of other commands is shorter.
	confirmed, err := on.conn.Wait(ctx, int(wanted), atMost).Result()
	switch {
	case err != nil:
		return fmt.Errorf("redis: swap: %w: %w", pleoauth.ErrNotReplicated, err)
	case confirmed < wanted:
		return fmt.Errorf("redis: swap: %w: %d of %d", pleoauth.ErrNotReplicated, confirmed, wanted)
	}
	return nil
}

// pinned sends commands about one key over one connection, for WAIT: it counts
// only the writes of the connection that it comes on, and answers at once on
// any other. Whether to wait, and for how many, is in the answer to the write;
// in a pipeline with it, a refused write would wait, too.
//
// It is a redis.Scripter that redis.Script can run on. It is closed after use.
type pinned struct {
	client
	node *redis.Client
	conn *redis.Conn
}

func (c client) pin() *pinned { return &pinned{client: c} }

// EvalSha runs a script that the server has.
func (p *pinned) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return p.about(ctx, keys[0], scriptArgs("evalsha", sha, keys, args))
}

// Eval runs a script that the server may not have.
func (p *pinned) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return p.about(ctx, keys[0], scriptArgs("eval", script, keys, args))
}

// about sends a command about key, once, and stays on the connection that it
// was carried out on.
func (p *pinned) about(ctx context.Context, key string, args []any) *redis.Cmd {
	if p.cluster != nil {
		return p.doInCluster(ctx, key, args, p.connection)
	}
	return once(ctx, p.connection(p.single), args)
}

// connection returns a connection to node: the same one while it is the same
// node.
func (p *pinned) connection(node *redis.Client) processor {
	if p.node != node {
		p.close()
		p.node, p.conn = node, node.Conn()
	}
	return p.conn
}

// close gives the connection back.
func (p *pinned) close() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
}
