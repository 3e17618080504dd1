package redistest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// User and Password are those of the user that the stores under test log in as.
// Every server has it, Sentinels too, with the rules that the documentation
// gives to operators and no others: what a store does beyond them fails a test.
const (
	User     = "pleo"
	Password = "least-rights"
)

// WithUsers adds users with the rights and the password of [User].
func WithUsers(names ...string) Option {
	return func(s *Server) { s.users = append(s.users, names...) }
}

// WithRules adds rules to those of [User].
func WithRules(rules ...string) Option {
	return func(s *Server) { s.rules = append(s.rules, rules...) }
}

// userLines are the lines of redis.conf that make the users.
func (s *Server) userLines() []string {
	rules := redisstore.LeastACL
	switch {
	case s.sentinel:
		rules = redisstore.LeastSentinelACL
	case slices.Contains(s.config, "cluster-enabled yes"):
		rules += " " + redisstore.LeastClusterACL
	}
	rules = strings.Join(append([]string{rules}, s.rules...), " ")
	var lines []string
	for _, name := range append([]string{User}, s.users...) {
		lines = append(lines, fmt.Sprintf("user %s on >%s %s", name, Password, rules))
	}
	return lines
}

// requireNothingRefused fails the test if the server has refused something to
// the stores, but for what they only try (CONFIG GET) and for passwords.
func (s *Server) requireNothingRefused(t testing.TB) {
	t.Helper()
	select {
	case <-s.exited:
		return
	default:
	}
	client := redis.NewClient(&redis.Options{
		Addr: s.Addr(), Dialer: s.dial, Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: time.Second, ReadTimeout: time.Second,
	})
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	log, _ := client.ACLLog(ctx, 128).Result() // a server that is paused or killed says nothing
	for _, entry := range log {
		if entry.Username != "default" && entry.Reason != "auth" && entry.Object != "config|get" {
			t.Errorf("redistest: the server refused %s (%s) to a user with the least rights", entry.Object, entry.Reason)
		}
	}
}
