package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// PutFlow keeps a flow's data for life (whole milliseconds).
func (s *Store) PutFlow(ctx context.Context, id string, data []byte, life time.Duration) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	key := s.keys.flow(id)
	if err := s.client.do(ctx, key, "set", key, data, "px", milliseconds(life)).Err(); err != nil {
		return fmt.Errorf("redis: put flow: %w", err)
	}
	return nil
}

// Flow returns a flow's data and leaves it, or [pleoauth.ErrNoFlow].
func (s *Store) Flow(ctx context.Context, id string) ([]byte, error) {
	return s.flow(ctx, "get", id)
}

// TakeFlow returns a flow's data and removes it in one step, or
// [pleoauth.ErrNoFlow]. GETDEL needs Redis 6.2.
func (s *Store) TakeFlow(ctx context.Context, id string) ([]byte, error) {
	return s.flow(ctx, "getdel", id)
}

func (s *Store) flow(ctx context.Context, command, id string) ([]byte, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	key := s.keys.flow(id)
	data, err := s.client.do(ctx, key, command, key).Text()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, pleoauth.ErrNoFlow
	case err != nil:
		return nil, fmt.Errorf("redis: flow: %w", err)
	}
	return []byte(data), nil
}
