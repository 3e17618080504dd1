package redistest

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Client returns a client of the server, as its default user, that is closed
// when the test ends.
func (s *Server) Client(t testing.TB) *redis.Client {
	t.Helper()
	c := s.client()
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Info returns a section of what the server says of itself.
func (s *Server) Info(t testing.TB, section string) string {
	t.Helper()
	c := s.client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return c.Info(ctx, section).Val()
}

// Dump returns every key of database 0 with its type, time to live and value,
// a line each and sorted: for tests that look for what must not be there.
func (s *Server) Dump(t testing.TB) string {
	t.Helper()
	c := s.client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var lines []string
	keys := c.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		line, err := dumpKey(ctx, c, keys.Val())
		if err != nil {
			t.Fatalf("redistest: dump: %v", err)
		}
		lines = append(lines, line)
	}
	if err := keys.Err(); err != nil {
		t.Fatalf("redistest: dump: %v", err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func dumpKey(ctx context.Context, c *redis.Client, key string) (string, error) {
	kind, err := c.Type(ctx, key).Result()
	if err != nil {
		return "", err
	}
	var value any
	switch kind {
	case "string":
		value, err = c.Get(ctx, key).Result()
	case "hash":
		value, err = c.HGetAll(ctx, key).Result()
	case "zset":
		value, err = c.ZRangeWithScores(ctx, key, 0, -1).Result()
	case "set":
		value, err = c.SMembers(ctx, key).Result()
	case "list":
		value, err = c.LRange(ctx, key, 0, -1).Result()
	case "none":
		return key + " gone", nil
	}
	if err != nil {
		return "", err
	}
	ttl, err := c.PTTL(ctx, key).Result()
	if err != nil {
		return "", err
	}
	life := "forever"
	if ttl > 0 {
		life = ttl.String()
	}
	return fmt.Sprintf("%s %s %s %v", key, kind, life, value), nil
}
