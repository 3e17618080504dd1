package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// An answer without a refresh token: its access token is used to its end.
func TestTheAccessTokenOfAnAnswerWithoutARefreshTokenIsUsedToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Omit: []string{"refresh_token"}})
		require.NoError(t, a.Refresh(t.Context(), "default"))
		obtained := time.Now()
		for time.Since(obtained) < 13*time.Minute { // of the 15 that it lives
			w.token(a, "default")
			time.Sleep(10 * time.Second)
		}
	})
}
