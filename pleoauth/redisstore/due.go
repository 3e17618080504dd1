package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// Due returns up to limit names whose due time has passed by the server's
// clock. Callers begin at different shards, so that replicas that ask at the
// same time do not all get the same names.
func (s *Store) Due(ctx context.Context, limit int) ([]string, error) {
	return s.dueOf(ctx, s.keys.index, limit)
}

// dueOf returns up to limit names whose time has passed in sorted sets like the
// index, of which each shard has one.
func (s *Store) dueOf(ctx context.Context, set func(shard int) string, limit int) ([]string, error) {
	latest, err := s.serverTime(ctx)
	if err != nil {
		return nil, err
	}
	first := rand.IntN(shards) //nolint:gosec // it spreads work, and protects nothing
	var names []string
	for done := 0; done < shards && len(names) < limit; done += maxShardsAtOnce {
		found, err := s.dueInShards(ctx, set, first+done, latest, limit-len(names))
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	return names[:min(limit, len(names))], nil
}

// serverTime returns the clock of one master.
func (s *Store) serverTime(ctx context.Context) (time.Time, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	answer, err := s.client.do(ctx, s.keys.index(0), "time").Slice()
	if err != nil {
		return time.Time{}, fmt.Errorf("redis: due: %w", err)
	}
	if len(answer) != 2 {
		return time.Time{}, fmt.Errorf("%w: time", errAnswer)
	}
	return serverClock(answer[0], answer[1])
}

// dueInShards asks maxShardsAtOnce shards from the given one on, each for up to
// limit names.
func (s *Store) dueInShards(ctx context.Context, set func(shard int) string, from int, latest time.Time, limit int) ([]string, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	score := strconv.FormatInt(latest.UnixMilli(), 10)
	commands := make([]command, maxShardsAtOnce)
	for i := range commands {
		key := set((from + i) % shards)
		commands[i] = command{key, []any{"zrangebyscore", key, "-inf", score, "limit", 0, limit}}
	}
	var names []string
	for _, page := range s.client.doAll(ctx, commands) {
		found, err := page.StringSlice()
		if err != nil {
			return nil, fmt.Errorf("redis: due: %w", err)
		}
		names = append(names, found...)
	}
	return names, nil
}
