package redisstore

import (
	"context"
	"encoding"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// replicated waits until enough replicas have confirmed a swap, on the
// connection that it was made on; inStep is how many replicas its master has,
// had whether it tells of some that it had. alone is [pleoauth.Snapshot.Alone].
// What goes wrong here changes nothing about the swap: it was made.
func (s *Store) replicated(ctx context.Context, on *pinned, inStep, had any, atMost time.Duration) (alone bool, err error) {
	count, _ := inStep.(int64)
	told, _ := had.(int64)
	expected := s.expectsReplicas(on.node.Options().Addr, count > 0 || told > 0)
	if atMost <= 0 {
		return false, nil
	}
	wanted := min(1, count)
	if s.options.WaitReplicas != nil {
		wanted = int64(*s.options.WaitReplicas)
	}
	if wanted == 0 {
		return expected && s.options.WaitReplicas == nil, nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		atMost = min(atMost, time.Until(deadline))
	}
	// Conn.Wait, for the limit of other commands is shorter.
	confirmed, err := on.conn.Wait(ctx, int(wanted), atMost).Result()
	switch {
	case err != nil:
		return false, fmt.Errorf("redis: swap: %w: %w", pleoauth.ErrNotReplicated, err)
	case confirmed < wanted:
		return false, fmt.Errorf("redis: swap: %w: %d of %d", pleoauth.ErrNotReplicated, confirmed, wanted)
	}
	return false, nil
}

// expectsReplicas reports whether the master at addr should have replicas:
// Sentinels watch it, or it has, or once had, some. Each master of a Cluster
// counts for itself; one without replicas has no server that could take its
// place.
func (s *Store) expectsReplicas(addr string, has bool) bool {
	if has {
		s.replicatedAt.Store(addr, struct{}{})
		return true
	}
	_, had := s.replicatedAt.Load(addr)
	return had || s.options.MasterName != ""
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
	// written says whether the last command began to be written to a connection:
	// from then on it may have been carried out. Another command follows only one
	// that the server has refused to carry out.
	written atomic.Bool
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
	p.written.Store(false)
	script, _ := args[1].(string)
	args[1] = noticedText{script, &p.written}
	if p.cluster != nil {
		return p.doInCluster(ctx, key, args, p.connection)
	}
	return once(ctx, p.connection(p.single), args)
}

// connection returns a connection to node: the same one while it is the same
// node.
func (p *pinned) connection(node *redis.Client) processor {
	p.written.Store(false)
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

// noticedText is an argument of a command that notices when it is written to a
// connection. A command that never was cannot have been carried out, also where its
// error does not tell: a refused dial, a login that failed, a limit that passed before.
type noticedText struct {
	text    string
	written *atomic.Bool
}

// MarshalBinary is called by go-redis when it writes the command.
func (t noticedText) MarshalBinary() ([]byte, error) {
	t.written.Store(true)
	return []byte(t.text), nil
}

// Interface guards
var (
	_ encoding.BinaryMarshaler = noticedText{}
	_ redis.Scripter           = (*pinned)(nil)
)
