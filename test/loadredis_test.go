package test

import (
	"bufio"
	"context"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

// redisClient is a connection of the test's own.
func redisClient(t *testing.T, r *redistest.Server) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: r.Addr(), DisableIdentity: true, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var commandLine = regexp.MustCompile(`^cmdstat_([^:]+):calls=(\d+)`)

// redisCommands returns how often the server has run each command.
func redisCommands(t *testing.T, c *redis.Client) map[string]int {
	t.Helper()
	info, err := c.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	counted := map[string]int{}
	for line := range strings.Lines(info) {
		if m := commandLine.FindStringSubmatch(line); m != nil {
			counted[m[1]], err = strconv.Atoi(m[2])
			require.NoError(t, err)
		}
	}
	return counted
}

// command is what a client sent to Redis, or a script did there; client is its
// address then or "lua".
type command struct {
	at     time.Time
	client string
	args   []string
}

// monitor is a MONITOR of a Redis: what it did, by its own clock, which is this
// machine's.
type monitor struct {
	mu       sync.Mutex
	commands []command
}

// startMonitor watches the commands that keep selects, until the test ends.
func startMonitor(t *testing.T, r *redistest.Server, keep func(command) bool) *monitor {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.Addr())
	require.NoError(t, err)
	lines := bufio.NewReader(conn)
	_, err = conn.Write([]byte("MONITOR\r\n"))
	require.NoError(t, err)
	ok, err := lines.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "+OK\r\n", ok)
	m, done := &monitor{}, make(chan struct{})
	go func() {
		defer close(done)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if c, ok := parseCommand(line); ok && keep(c) {
				m.mu.Lock()
				m.commands = append(m.commands, c)
				m.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return m
}

func (m *monitor) seen() []command {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clip(m.commands)
}

var (
	monitorLine = regexp.MustCompile(`^\+(\d+)\.(\d{6}) \[\d+ ([^\]]+)\] (.*)\r\n$`)
	quoted      = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// parseCommand reads a line such as
//
//	+1700000000.000001 [0 127.0.0.1:50000] "get" "key"
func parseCommand(line string) (command, bool) {
	m := monitorLine.FindStringSubmatch(line)
	if m == nil {
		return command{}, false
	}
	seconds, _ := strconv.ParseInt(m[1], 10, 64)
	micros, _ := strconv.ParseInt(m[2], 10, 64)
	c := command{at: time.Unix(seconds, micros*1000), client: m[3]}
	for _, q := range quoted.FindAllString(m[4], -1) {
		text, err := strconv.Unquote(q) // Redis quotes as Go does, but for single bytes
		if err != nil {
			text = q
		}
		c.args = append(c.args, text)
	}
	return c, len(c.args) > 0
}

var clientLine = regexp.MustCompile(` addr=(\S+) .* user=(\S+)`)

// redisUsers returns which ACL user each connection belongs to.
func redisUsers(ctx context.Context, c *redis.Client) (map[string]string, error) {
	list, err := c.ClientList(ctx).Result()
	users := map[string]string{}
	for line := range strings.Lines(list) {
		if m := clientLine.FindStringSubmatch(line); m != nil {
			users[m[1]] = m[2]
		}
	}
	return users, err
}
