//go:build linux

package stand

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// Stand is what all contenders have around them. It runs until Close.
type Stand struct {
	Dir      string
	Binary   string // pleo-auth-proxy
	Key      string // what grants are sealed with
	Server   *redistest.Server
	Redis    *redis.Client
	Tokens   *TokenServer
	Upstream *Process

	started []*Process
	n       int
}

// Build builds the proxy of the repository at root into dir.
func Build(root, dir string) (string, error) {
	binary := filepath.Join(dir, "pleo-auth-proxy")
	build := exec.Command("go", "build", "-o", binary, "./cmd/pleo-auth-proxy") //nolint:gosec,noctx // our own
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the proxy: %w\n%s", err, out)
	}
	return binary, nil
}

// New starts what stands around the proxies, which are of the given binary.
func New(binary string) (_ *Stand, err error) {
	s := &Stand{Binary: binary, Key: pleoauth.GenerateKey()}
	// Not below a deep directory: the name of a unix socket must not be long.
	if s.Dir, err = os.MkdirTemp("", "pleo-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.Server, err = redistest.New(s.home("redis"), redistest.WithConfig("appendonly yes", "appendfsync everysec", "auto-aof-rewrite-percentage 0")); err != nil {
		return nil, err
	}
	s.Redis = redis.NewClient(&redis.Options{Addr: s.Server.Addr(), ReadTimeout: time.Minute})
	if s.Tokens, err = StartTokenServer(); err != nil {
		return nil, err
	}
	if s.Upstream, err = startRole(s.home("upstream"), roleUpstream); err != nil {
		return nil, fmt.Errorf("starting the upstream: %w", err)
	}
	s.started = append(s.started, s.Upstream)
	return s, nil
}

// Close ends everything and removes what it has left.
func (s *Stand) Close() {
	for _, p := range s.started {
		p.Stop()
	}
	if s.Tokens != nil {
		s.Tokens.Close()
	}
	if s.Redis != nil {
		_ = s.Redis.Close()
	}
	if s.Server != nil {
		s.Server.Kill()
	}
	_ = os.RemoveAll(s.Dir)
}

// home returns a directory of its own for a process.
func (s *Stand) home(name string) string {
	s.n++
	dir := filepath.Join(s.Dir, fmt.Sprintf("%s-%d", name, s.n))
	_ = os.MkdirAll(dir, 0o700)
	return dir
}

// RedisPID returns the id of the Redis server's process.
func (s *Stand) RedisPID() int {
	var pid int
	info, _ := s.Redis.InfoMap(context.Background(), "server").Result()
	_, _ = fmt.Sscan(info["Server"]["process_id"], &pid)
	return pid
}

// Seeder returns a seeder whose connections the proxies here can serve.
func (s *Stand) Seeder(ctx context.Context, life time.Duration) (*Seeder, error) {
	store, err := s.Store()
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // it was read from
	snap, err := store.Read(ctx, "nobody")
	if err != nil {
		return nil, err
	}
	return &Seeder{
		Redis: s.Redis, Issuer: s.Tokens.URL, Key: s.Key, Run: snap.Run, Life: life,
		Due: time.Now().Add(27 * 24 * time.Hour),
	}, nil
}

// Store opens the store that the proxies here share.
func (s *Stand) Store() (*redisstore.Store, error) {
	return redisstore.New(redisstore.Options{Addresses: []string{s.Server.Addr()}, CommandTimeout: 30 * time.Second},
		pleoauth.Identity{Issuer: s.Tokens.URL, ClientID: ClientID})
}

// ErrNotInstalled is returned when a contender needs what this machine does not
// have.
var ErrNotInstalled = errors.New("not installed")
