package pleoauth_test

import (
	"context"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// Two names are one authorisation at Pleo, introspection knows access tokens alone, and
// the API, which could confirm that the first name's is dead, does not answer.
func TestADeadAccessTokenStopsTheRefreshOfATokenThatPleoDoesNotSpeakAbout(t *testing.T) {
	for name, use := range map[string]func(*testing.T, *replica, *pleoauth.Token){
		"after a refusal": func(t *testing.T, r *replica, token *pleoauth.Token) {
			_, err := r.Refused(t.Context(), "a", token)
			require.ErrorIs(t, err, pleoauth.ErrRefreshUnsettled)
		},
		"before one": func(t *testing.T, r *replica, _ *pleoauth.Token) {
			require.ErrorIs(t, r.Refresh(t.Context(), "a"), pleoauth.ErrRefreshUnsettled)
		},
	} {
		for _, status := range []int{http.StatusServiceUnavailable, http.StatusForbidden, http.StatusTooManyRequests} {
			t.Run(name+", "+http.StatusText(status), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, pleotest.WithSecondConsentReplacing(), pleotest.WithIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken}}))
					r := w.replica()
					w.authorise(r, "a", "")
					first := w.token(r, "a")
					time.Sleep(time.Minute)
					w.authorise(r, "b", "")
					time.Sleep(time.Minute)
					w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/introspect", Status: status, Times: pleotest.Always})
					use(t, r, first)
					time.Sleep(30 * time.Second)
					require.Zero(t, deadTokensSent(w))
					require.True(t, w.lives(w.token(r, "b")))
				})
			})
		}
	}
}

// The API takes an access token for some time after its death: it has a cache, or the
// token is signed. Introspection is right, as another name's token shows.
func TestAnAPIThatLagsBehindIntrospectionIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithSecondConsentReplacing())
		r := w.replica()
		w.authorise(r, "a", "")
		w.token(r, "a")
		time.Sleep(time.Minute)
		w.authorise(r, "b", "")
		time.Sleep(time.Minute)
		require.Equal(t, pleoauth.VerdictUsable, w.store.record("a").Introspection)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/introspect", Status: 200, Times: pleotest.Always,
			Body: `{"data":{"subjectUrn":"` + w.store.record("a").Subject + `"}}`})
		require.ErrorIs(t, r.Refresh(t.Context(), "a"), pleoauth.ErrReauthorisationRequired)
		require.Zero(t, deadTokensSent(w))
		require.True(t, w.lives(w.token(r, "b")))
	})
}

// Introspection has never called a refresh token active: that it does not know one does
// not show that the grant is dead, also where the access token is.
func TestAGrantIsNotEndedByAnIntrospectionThatWasNeverHeardToKnowRefreshTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		away := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		w.authorise(r, "default", "")
		time.Sleep(time.Minute)
		away.Remove()
		require.Equal(t, pleoauth.VerdictPresumed, w.store.record("default").Introspection)
		require.NoError(t, w.pleo.SetIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken}}))
		token := w.token(r, "default")
		w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken}) // the refresh token lives
		_, err := r.Refused(t.Context(), "default", token)
		require.ErrorIs(t, err, pleoauth.ErrRefreshUnsettled)
		time.Sleep(30 * time.Second)
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
	})
}

// The record has ended while the pair was on its way, and Pleo is long in saying whether
// the pair lives.
func TestAPairThatTheRecordRefusesIsOnTheDiskWhilePleoIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		w.token(r, "default")
		slow := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayAfter: 3 * time.Second})
		go func() { _ = r.Refresh(context.Background(), "default") }()
		<-slow.Reached()
		ended := w.store.record("default")
		ended.State, ended.Reason = pleoauth.StateReauthorisationRequired, pleoauth.ReasonLostResponse
		ended.Version, ended.Sealed, ended.Mark = randomID(), nil, nil
		w.store.put("default", ended)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, DelayBefore: 20 * time.Second, Times: pleotest.Always})
		time.Sleep(5 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		require.Error(t, r.Close(ctx), "Pleo is still asked")
		files, err := filepath.Glob(filepath.Join(r.spill, "*.pair"))
		require.NoError(t, err)
		require.Len(t, files, 1)
	})
}
