package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// processor is a node of the Cluster, or one connection to it.
type processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// anyConnection has a node's commands sent over whatever connection is free.
func anyConnection(node *redis.Client) processor { return node }

// doInCluster sends a command to the master that has key, over the connection
// that 'by' names. Of all errors MOVED alone says that the command was not
// carried out and where it will be, so that alone is followed, once. While a
// slot is being moved, its connections fail with ASK or TRYAGAIN for a moment.
func (c client) doInCluster(ctx context.Context, key string, args []any, by func(*redis.Client) processor) *redis.Cmd {
	master, err := c.cluster.MasterForKey(ctx, key)
	if err != nil {
		return failed(ctx, args, err)
	}
	cmd := once(ctx, by(master), args)
	switch err := cmd.Err(); {
	case err == nil, errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "NOSCRIPT"):
		return cmd
	case redis.HasErrorPrefix(err, "MOVED"):
		if master = c.movedTo(ctx, err); master != nil {
			return once(ctx, by(master), args)
		}
	}
	// The master may be another by now: the next command will know.
	c.cluster.ReloadState(ctx)
	return cmd
}

// doAllInCluster sends each master those commands that are about its keys. The
// Cluster client's own pipeline would ask for COMMAND first, a right that
// nothing else needs.
func (c client) doAllInCluster(ctx context.Context, commands []command) []*redis.Cmd {
	results := make([]*redis.Cmd, len(commands))
	places := make(map[*redis.Client][]int)
	for i, command := range commands {
		master, err := c.cluster.MasterForKey(ctx, command.key)
		if err != nil {
			results[i] = failed(ctx, command.args, err)
			continue
		}
		places[master] = append(places[master], i)
	}
	var group sync.WaitGroup
	for master, mine := range places {
		group.Go(func() {
			batch := make([]command, len(mine))
			for n, i := range mine {
				batch[n] = commands[i]
			}
			for n, result := range pipeline(ctx, master, batch) {
				results[mine[n]] = result
			}
		})
	}
	group.Wait()
	for i, result := range results {
		if redis.HasErrorPrefix(result.Err(), "MOVED") {
			results[i] = c.doInCluster(ctx, commands[i].key, commands[i].args, anyConnection)
		} else if result.Err() != nil {
			c.cluster.ReloadState(ctx)
		}
	}
	return results
}

// movedTo returns the node that a MOVED error names, nil if it is not known.
// The Cluster's map does not do: the node that it is asked of may be the last
// to hear of the move.
func (c client) movedTo(ctx context.Context, moved error) *redis.Client {
	text := moved.Error()
	addr := text[strings.LastIndexByte(text, ' ')+1:]
	var mu sync.Mutex
	var found *redis.Client
	// It asks for the map first, and so knows nodes that are new.
	_ = c.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		if node.Options().Addr == addr {
			found = node
		}
		return nil
	})
	return found
}

func once(ctx context.Context, to processor, args []any) *redis.Cmd {
	cmd := redis.NewCmd(ctx, args...)
	_ = to.Process(ctx, cmd)
	return cmd
}

func failed(ctx context.Context, args []any, err error) *redis.Cmd {
	cmd := redis.NewCmd(ctx, args...)
	cmd.SetErr(err)
	return cmd
}
