//go:build linux

package stand

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Commands are how often Redis has carried out each command, those that scripts
// send included.
type Commands map[string]float64

var commandLine = regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=(\d+)`)

// Commands returns what Redis has carried out so far.
func (s *Stand) Commands(ctx context.Context) (Commands, error) {
	text, err := s.Redis.Info(ctx, "commandstats").Result()
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	commands := Commands{}
	for _, m := range commandLine.FindAllStringSubmatch(text, -1) {
		commands[m[1]], _ = strconv.ParseFloat(m[2], 64)
	}
	return commands, nil
}

// CommandsBetween returns what was carried out from one moment to another.
func CommandsBetween(before, after Commands) Commands {
	between := Commands{}
	for name, n := range after {
		if d := n - before[name]; d > 0 {
			between[name] = d
		}
	}
	return between
}

// RedisMemory returns what Redis holds, in bytes.
func (s *Stand) RedisMemory(ctx context.Context) (int64, error) {
	info, err := s.Redis.InfoMap(ctx, "memory").Result()
	if err != nil {
		return 0, fmt.Errorf("redis: %w", err)
	}
	return strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
}

// makeDue gives all members of an index the same score.
const makeDue = `for _, key in ipairs(redis.call('KEYS', '*:index')) do
	for _, name in ipairs(redis.call('ZRANGE', key, 0, -1)) do
		redis.call('ZADD', key, ARGV[1], name)
	end
end
return 1`

// MakeDue makes all connections due now, or none of them for a month.
func (s *Stand) MakeDue(ctx context.Context, due bool) error {
	score := int64(1)
	if !due {
		score = time.Now().Add(30 * 24 * time.Hour).UnixMilli()
	}
	// In one go: nobody else is there who would have to wait.
	return s.Redis.Eval(ctx, makeDue, nil, score).Err()
}

// own are the commands that are not calls': those that count, that keep
// connections up, and that a replica's sweep sends every half minute.
var own = map[string]bool{"info": true, "ping": true, "config|get": true, "zrangebyscore": true, "time": true, "hello": true}

// Calls returns how many of the commands calls have caused.
func (c Commands) Calls() (n float64) {
	for name, times := range c {
		if !own[name] {
			n += times
		}
	}
	return n
}
