package pleoauth_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// rememberingSource is a source with n connections in memory, and their names.
func rememberingSource(tb testing.TB, n int) (*pleoauth.Source, []string) {
	tb.Helper()
	keys, err := pleoauth.NewKeyring(pleoauth.GenerateKey())
	require.NoError(tb, err)
	source, err := pleoauth.NewSource(pleoauth.Config{ClientID: "client"}, newMemServer().client(), keys,
		pleoauth.WithObserver(pleoauth.Observer{Hit: func() {}}))
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = source.Close(tb.Context()) })
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("customer-%d", i)
		source.Remember(names[i], pleoauth.Grant{AccessToken: "a", RefreshToken: "r", ExpiresIn: 24 * time.Hour}, 0)
	}
	return source, names
}

func TestATokenFromMemoryAllocatesNothing(t *testing.T) {
	source, names := rememberingSource(t, 100)
	ctx := t.Context()
	i := 0
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		i++
		if _, err := source.Token(ctx, names[i%len(names)]); err != nil {
			t.Error(err)
		}
	}))
}

func BenchmarkToken(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			source, names := rememberingSource(b, n)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.IntN(n); pb.Next(); i = (i + 1) % n {
					if _, err := source.Token(b.Context(), names[i]); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
