package redisstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// maxShardsAtOnce bounds how many shards one exchange asks.
const maxShardsAtOnce = 64

// errCursor is returned for a cursor that List did not make.
var errCursor = fmt.Errorf("redis: list: %w", pleoauth.ErrInvalidCursor)

// List returns up to limit names of records that have a state, shard by shard
// and by name within a shard, and the cursor of the next page.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	if limit < 1 {
		return nil, "", errors.New("redis: list: limit is not positive")
	}
	shard, after, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	var names []string
	// Where there are many names one shard fills a page; where there are few,
	// most shards are empty, so more are asked at a time.
	for atOnce := 1; shard < shards; atOnce = min(2*atOnce, maxShardsAtOnce) {
		until := min(shard+atOnce, shards)
		// One more than wanted tells whether there is another page.
		found, err := s.listShards(ctx, shard, until, after, limit+1-len(names))
		if err != nil {
			return nil, "", err
		}
		names = append(names, found...)
		if len(names) > limit {
			names = names[:limit]
			last := names[limit-1]
			return names, shardTag(s.keys.shard(last)) + ":" + last, nil
		}
		shard, after = until, ""
	}
	return names, "", nil
}

// listShards returns up to limit names of each of the shards from 'from' to
// before 'until', of the first one those after a name.
func (s *Store) listShards(ctx context.Context, from, until int, after string, limit int) ([]string, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	commands := make([]command, 0, until-from)
	for shard := from; shard < until; shard++ {
		least := "-"
		if after != "" && shard == from {
			least = "(" + after
		}
		key := s.keys.names(shard)
		commands = append(commands, command{key, []any{"zrangebylex", key, least, "+", "limit", 0, limit}})
	}
	var names []string
	for _, page := range s.client.doAll(ctx, commands) {
		found, err := page.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("redis: list: %w", err)
		}
		names = append(names, found...)
	}
	return names, nil
}

// parseCursor reads '<shard>:<name>'.
func parseCursor(cursor string) (shard int, after string, err error) {
	if cursor == "" {
		return 0, "", nil
	}
	digits, after, ok := strings.Cut(cursor, ":")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != 1 || after == "" {
		return 0, "", errCursor
	}
	return int(b[0]), after, nil
}
