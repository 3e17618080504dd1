package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A 401 of the application's own does not end a connection whose access token is
// the last that there may be: to settle its refresh token now would.
func TestARefusalOfTheApplicationDoesNotEndTheAccessTokenOfAnAnswerWithoutARefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Omit: []string{"refresh_token"}})
		require.NoError(t, a.Refresh(t.Context(), "default"))
		time.Sleep(time.Minute)
		token := w.token(a, "default")
		_, err := a.Refused(t.Context(), "default", token)
		require.ErrorIs(t, err, pleoauth.ErrTokenAlive)
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
		w.token(a, "default")
	})
}
