package redisstore

import (
	"context"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// idleLife is after how long an unused connection is closed: before firewalls
// and servers drop it silently.
const idleLife = 5 * time.Minute

// client sends each command once, to the master that has its key. It is a
// redis.Scripter that redislock and redis.Script can run on.
type client struct {
	redis.UniversalClient
	// Of these, one is the UniversalClient and the other is nil.
	cluster *redis.ClusterClient
	single  *redis.Client
}

// newClient makes the client; it opens no connection.
//
// Neither retries nor redials: after an ambiguous failure only the protocol
// knows whether a command may be sent again. Without ContextTimeoutEnabled a
// hung server would hold callers for ReadTimeout whatever their contexts say.
func newClient(o Options) client {
	universal := &redis.UniversalOptions{
		// Its own: a Cluster's client appends what it learns to this slice.
		Addrs:    slices.Clone(o.Addresses),
		Username: o.Username, Password: o.Password, DB: o.DB, TLSConfig: o.TLS,
		MasterName:       o.MasterName,
		SentinelUsername: o.SentinelUsername, SentinelPassword: o.SentinelPassword,
		// RESP2, no CLIENT SETINFO, no maintenance notifications: an ACL user
		// needs no commands for what is of no use here.
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		MaxRetries:               -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: o.CommandTimeout, ReadTimeout: o.CommandTimeout,
		WriteTimeout: o.CommandTimeout, PoolTimeout: o.CommandTimeout,
		PoolSize: o.PoolSize, PipelinePoolSize: -1, ConnMaxIdleTime: idleLife,
		FailingTimeoutSeconds: 1,
	}
	var c client
	switch {
	case o.Cluster:
		c.cluster = redis.NewClusterClient(universal.Cluster())
		c.cluster.OnNewNode(func(node *redis.Client) { node.AddHook(dialGate{}) })
		c.UniversalClient = c.cluster
	case o.MasterName != "":
		c.single = redis.NewFailoverClient(universal.Failover())
	default:
		simple := universal.Simple()
		if strings.HasPrefix(simple.Addr, "/") {
			simple.Network = "unix"
		}
		c.single = redis.NewClient(simple)
	}
	if c.single != nil {
		c.single.AddHook(dialGate{})
		c.UniversalClient = c.single
	}
	return c
}

// do sends a command about key, once. A Cluster's own client would send it
// again after a broken connection, and a swap that was already made would then
// be told to be a conflict.
func (c client) do(ctx context.Context, key string, args ...any) *redis.Cmd {
	if c.cluster == nil {
		return c.Do(ctx, args...)
	}
	return c.doInCluster(ctx, key, args, anyConnection)
}

// command is a command about key.
type command struct {
	key  string
	args []any
}

// doAll sends commands together, each once, and returns their results in the
// same order.
func (c client) doAll(ctx context.Context, commands []command) []*redis.Cmd {
	if c.cluster == nil {
		return pipeline(ctx, c, commands)
	}
	return c.doAllInCluster(ctx, commands)
}

func pipeline(ctx context.Context, to interface{ Pipeline() redis.Pipeliner }, commands []command) []*redis.Cmd {
	results := make([]*redis.Cmd, len(commands))
	p := to.Pipeline()
	for i, command := range commands {
		results[i] = p.Do(ctx, command.args...)
	}
	_, _ = p.Exec(ctx) // each result has its error
	return results
}

// EvalSha runs a script that the server has.
func (c client) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return c.do(ctx, keys[0], scriptArgs("evalsha", sha, keys, args)...)
}

// Eval runs a script that the server may not have.
func (c client) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return c.do(ctx, keys[0], scriptArgs("eval", script, keys, args)...)
}

func scriptArgs(command, script string, keys []string, args []any) []any {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, command, script, len(keys))
	for _, key := range keys {
		all = append(all, key)
	}
	return append(all, args...)
}

// dialGate lets a subscription dial once. A PubSub whose connection breaks
// would otherwise dial again by itself and subscribe to everything in one
// command, before we hear of the break.
type dialGate struct{}

// dialOnceKey is the context key of a *dialOnce.
type dialOnceKey struct{}

// DialHook refuses the second dial under a context with a dialOnce.
func (dialGate) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if once, ok := ctx.Value(dialOnceKey{}).(*dialOnce); ok && !once.used.CompareAndSwap(false, true) {
			return nil, errSubscriptionBroken
		}
		return next(ctx, network, addr)
	}
}

// ProcessHook changes nothing.
func (dialGate) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook changes nothing.
func (dialGate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Interface guards
var (
	_ redis.Hook     = dialGate{}
	_ redis.Scripter = client{}
)
