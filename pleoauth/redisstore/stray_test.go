package redisstore_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// What is not due though the index says so leaves it when it is written as it is.
func TestANameThatStraysIntoTheIndexLeavesItWithTheNextSwap(t *testing.T) {
	r := redistest.Start(t)
	s := open(t, options(t, r.URL()))
	index := strings.Replace(s.NoticeChannel("stray"), "notice:stray", "index", 1)
	require.NoError(t, r.Client(t).Do(t.Context(), "zadd", index, 0, "stray").Err())
	due, err := s.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"stray"}, due)

	snap, err := s.Read(t.Context(), "stray")
	require.NoError(t, err)
	require.True(t, snap.Empty())
	_, err = s.Swap(t.Context(), "stray", snap, pleoauth.Record{}, pleoauth.SwapOptions{})
	require.NoError(t, err)
	due, err = s.Due(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, due)
}
