package pleoauth_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// changeSecret gives the client another secret at Pleo.
func (w *world) changeSecret(secret string) {
	w.t.Helper()
	client := pleotest.DefaultClient()
	client.Secret, client.RedirectURIs = secret, []string{redirectURI}
	require.NoError(w.t, w.pleo.AddClient(client))
}

func TestTheSecondSecretIsTriedAfterTheFirstIsRefusedAndPleoSaysThatTheTokenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(func(cfg *pleoauth.Config) { cfg.SecondClientSecret = "the-one-that-comes" })
		w.authorise(r, "default", "")
		w.changeSecret("the-one-that-comes")
		w.pleo.ResetCounters()

		began := time.Now()
		require.NoError(t, r.Refresh(context.Background(), "default"))
		require.Less(t, time.Since(began), time.Second, "the refused request is answered, so nothing has to be waited out")
		w.token(r, "default")
		c := w.pleo.Counters()
		require.Equal(t, []int{1, 1, 1, 0}, []int{c.RefreshRequests, c.Refreshes, c.ClientRefusals, c.Replays}, "introspection finds out")

		require.NoError(t, r.Refresh(context.Background(), "default"))
		require.Equal(t, 1, w.pleo.Counters().ClientRefusals, "the secret that works stays in use")
	})
}

func TestASecretThatIsUsedIsKeptByAReloadThatStillHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(func(cfg *pleoauth.Config) { cfg.SecondClientSecret = "the-one-that-comes" })
		w.authorise(r, "default", "")
		w.changeSecret("the-one-that-comes")
		require.NoError(t, r.Refresh(context.Background(), "default"))
		w.pleo.ResetCounters()

		keys, err := pleoauth.NewKeyring(w.key)
		require.NoError(t, err)
		require.NoError(t, r.Reconfigure(r.Config(), keys))
		require.NoError(t, r.Refresh(context.Background(), "default"))
		require.Zero(t, w.pleo.Counters().ClientRefusals)
	})
}

func TestASecretThatHasChangedWhereItComesFromIsReadAgainWhenPleoRefusesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var file atomic.Value
		file.Store(w.cfg.ClientSecret)
		r := w.replica(func(cfg *pleoauth.Config) {
			cfg.ReadSecrets = func() (string, string, error) {
				secret, _ := file.Load().(string)
				if secret == "" {
					return "", "", errors.New("the file is empty")
				}
				return secret, "", nil
			}
		})
		w.authorise(r, "default", "")

		// Pleo has the new secret first, and the file is empty for a while.
		w.changeSecret("rotated-secret")
		file.Store("")
		err := r.Refresh(context.Background(), "default")
		require.ErrorIs(t, err, pleoauth.ErrClientRejected)
		require.ErrorContains(t, err, "client_secret could not be read again: the file is empty")
		w.token(r, "default") // from memory

		file.Store("rotated-secret")
		time.Sleep(time.Minute) // over are the mark and the back-off
		require.NoError(t, r.Refresh(context.Background(), "default"))
		w.token(r, "default")
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func TestARefreshAndARefusedCallSayThatTheClientIsRejectedWhenNoSecretWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(func(cfg *pleoauth.Config) { cfg.SecondClientSecret = "old-and-forgotten" })
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		w.changeSecret("nobody-knows-it")

		_, err := r.Refused(context.Background(), "default", token)
		require.ErrorIs(t, err, pleoauth.ErrClientRejected)
		for range 3 { // a refresh, then what settles it
			require.ErrorIs(t, r.Refresh(context.Background(), "default"), pleoauth.ErrClientRejected)
			time.Sleep(2 * time.Minute)
		}
		c := w.pleo.Counters()
		require.Equal(t, 1, c.RefreshRequests, "the token is not sent again before Pleo has said that it lives")
		require.Zero(t, c.Replays)
		info, err := r.Connection(context.Background(), "default")
		require.NoError(t, err)
		require.Equal(t, pleoauth.StateConnected, info.State)

		w.changeSecret(w.cfg.ClientSecret)
		require.Eventually(t, func() bool { return r.Refresh(context.Background(), "default") == nil }, time.Hour, time.Minute)
		w.token(r, "default")
	})
}

// An authorisation server that takes a secret at one endpoint and refuses it at
// the other must not be asked without end.
func TestARefreshThatIsRefusedWithEachSecretIsSentOncePerSecretAndThenPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(func(cfg *pleoauth.Config) { cfg.SecondClientSecret = "another" })
		w.authorise(r, "default", "")
		w.pleo.Fault(pleotest.Fault{
			Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Times: pleotest.Always,
			Status: 401, Body: `{"error":"invalid_client"}`,
		})
		require.ErrorIs(t, r.Refresh(context.Background(), "default"), pleoauth.ErrClientRejected)
		require.Equal(t, 2, w.pleo.Counters().RefreshRequests)
	})
}

func TestACodeIsSentOnceAlthoughThereIsAnotherSecretAndTheNextOneIsExchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(func(cfg *pleoauth.Config) { cfg.SecondClientSecret = "the-one-that-comes" })
		w.changeSecret("the-one-that-comes")
		_, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, "")
		require.ErrorIs(t, err, pleoauth.ErrClientRejected)
		require.Equal(t, 1, w.pleo.Counters().TokenRequests)
		w.authorise(r, "default", "")
		w.token(r, "default")
	})
}

func TestASecondSecretAloneIsAMistake(t *testing.T) {
	err := pleoauth.Config{ClientID: "acme", SecondClientSecret: "secret-text"}.Validate()
	require.ErrorIs(t, err, pleoauth.ErrConfig)
	require.ErrorContains(t, err, "second_client_secret is given without client_secret")
	require.NotContains(t, err.Error(), "secret-text")
}
