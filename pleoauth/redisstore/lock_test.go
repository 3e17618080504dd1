package redisstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// A lock that was asked for while Redis hung is taken when Redis goes on, though
// whoever asked has long been told that it failed.
func TestALockWhoseAnswerWasLostDoesNotStandForItsWholeLife(t *testing.T) {
	r := redistest.Start(t)
	s := open(t, options(t, r.URL()))
	first, err := s.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: 5 * time.Second}) // the server knows the script from now on
	require.NoError(t, err)
	require.NoError(t, first.Release(t.Context()))
	require.NoError(t, r.Pause())
	ctx, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond)
	_, err = s.Lock(ctx, "acme", pleoauth.LockOptions{Life: 5 * time.Second})
	cancel()
	require.Error(t, err)
	require.NoError(t, r.Continue())
	require.Eventually(t, func() bool {
		lock, err := s.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: 5 * time.Second})
		return err == nil && lock.Release(t.Context()) == nil
	}, 2*time.Second, 10*time.Millisecond)
}
