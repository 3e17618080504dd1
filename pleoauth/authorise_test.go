package pleoauth_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func begin(t *testing.T, r *replica, request pleoauth.AuthorisationRequest) pleoauth.Authorisation {
	t.Helper()
	begun, err := r.BeginAuthorisation(t.Context(), request)
	require.NoError(t, err)
	return begun
}

func TestAnAuthorisationIsHandedBackWithItsDestinationAndCompany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithIssuerParameter())
		r := w.replica()
		company := pleotest.Companies()[1]
		done, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "acme", ReturnTo: "/settings", Subject: company.URN()}, "")
		require.NoError(t, err)
		require.Equal(t, pleoauth.Completed{Connection: "acme", ReturnTo: "/settings", Subject: company.URN()}, done)
		info, err := r.Connection(t.Context(), "acme")
		require.NoError(t, err)
		require.Equal(t, pleoauth.StateConnected, info.State)
		require.Equal(t, company.URN(), info.Subject)
	})
}

func TestAStateWorksOnceAndForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		begun := begin(t, r, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		cb := callback(t, back, begun)
		_, err = r.CompleteAuthorisation(t.Context(), cb)
		require.NoError(t, err)
		_, err = r.CompleteAuthorisation(t.Context(), cb)
		require.ErrorIs(t, err, pleoauth.ErrUnknownFlow)

		begun = begin(t, r, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err = w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		time.Sleep(11 * time.Minute)
		_, err = r.CompleteAuthorisation(t.Context(), callback(t, back, begun))
		require.ErrorIs(t, err, pleoauth.ErrUnknownFlow)

		_, err = r.CompleteAuthorisation(t.Context(), pleoauth.Callback{State: "made up", Code: "code", Binding: func(string) string { return "" }})
		require.ErrorIs(t, err, pleoauth.ErrUnknownFlow)
		require.Equal(t, 1, w.pleo.Counters().TokenRequests, "nothing was exchanged but the first")
	})
}

func TestAnotherBrowserExchangesNothingAndDoesNotSpendTheFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		begun := begin(t, r, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		cb := callback(t, back, begun)
		mine := cb.Binding
		cb.Binding = func(string) string { return "" }
		done, err := r.CompleteAuthorisation(t.Context(), cb)
		require.ErrorIs(t, err, pleoauth.ErrOtherBrowser)
		require.Zero(t, done, "nothing is told to another browser")
		require.Zero(t, w.pleo.Counters().TokenRequests)
		cb.Binding = mine
		_, err = r.CompleteAuthorisation(t.Context(), cb)
		require.NoError(t, err)
	})
}

func TestADeniedAuthorisationStoresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		begun := begin(t, r, pleoauth.AuthorisationRequest{Connection: "acme"})
		back, err := w.pleo.Deny(begun.URL)
		require.NoError(t, err)
		done, err := r.CompleteAuthorisation(t.Context(), callback(t, back, begun))
		require.ErrorIs(t, err, pleoauth.ErrDenied)
		require.Equal(t, "acme", done.Connection)
		_, err = r.Token(t.Context(), "acme")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
	})
}

func TestAnotherIssuerIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		begun := begin(t, r, pleoauth.AuthorisationRequest{Connection: "acme"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		cb := callback(t, back, begun)
		cb.Issuer = "https://attacker.example"
		_, err = r.CompleteAuthorisation(t.Context(), cb)
		require.ErrorIs(t, err, pleoauth.ErrUnknownFlow)
		require.Zero(t, w.pleo.Counters().TokenRequests)
	})
}

func TestAnotherCompanyOverwritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		companies := pleotest.Companies()
		w.authorise(r, "default", companies[0].Name)
		before := w.token(r, "default")

		_, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, companies[1].Name)
		require.ErrorIs(t, err, pleoauth.ErrOtherSubject)
		require.Equal(t, before.Version(), w.token(r, "default").Version())

		began := time.Now()
		w.authorise(r, "default", companies[0].Name)
		require.Less(t, time.Since(began), time.Second, "the right company does not wait for the wrong one")

		// A subject that was asked for must be the one that comes back.
		_, err = w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "other", Subject: companies[2].URN()}, companies[1].Name)
		require.ErrorIs(t, err, pleoauth.ErrOtherSubject)
		_, err = r.Token(t.Context(), "other")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)

		// The grant that stayed goes on, refreshes included.
		for range 40 {
			time.Sleep(time.Minute)
			w.token(r, "default")
		}
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func TestWithAllowSubjectChangeAnotherCompanyTakesTheConnectionOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(func(c *pleoauth.Config) { c.AllowSubjectChange = true })
		companies := pleotest.Companies()
		w.authorise(r, "default", companies[0].Name)
		w.authorise(r, "default", companies[1].Name)
		info, err := r.Connection(t.Context(), "default")
		require.NoError(t, err)
		require.Equal(t, companies[1].URN(), info.Subject)
	})
}

func TestABrowserThatGoesAwayDuringTheExchangeIsConnectedAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		begun := begin(t, r, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayAfter: 3 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = r.CompleteAuthorisation(ctx, callback(t, back, begun))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(5 * time.Second)
		w.token(r, "default")
	})
}

func TestACodeIsSentOnceWhateverComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		for _, fault := range []pleotest.Fault{
			{Status: 500},
			{Status: 400, Body: `{"error":"invalid_grant"}`},
			{Drop: pleotest.AfterProcessing},
			{Drop: pleotest.BeforeProcessing},
			{Omit: []string{"refresh_token"}},
		} {
			fault.Endpoint = pleotest.Token
			before := w.pleo.Counters().TokenRequests
			w.pleo.Fault(fault)
			_, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, "")
			require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)
			require.Equal(t, 1, w.pleo.Counters().TokenRequests-before)
			_, err = r.Token(t.Context(), "default")
			require.ErrorIs(t, err, pleoauth.ErrNotConnected)
		}
		w.authorise(r, "default", "")
	})
}

func TestALaterConsentWinsAndADisconnectEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		first := w.token(a, "default")
		w.authorise(b, "default", "")
		synctest.Wait()
		require.NotEqual(t, first.Version(), w.token(a, "default").Version())
		require.Equal(t, w.token(b, "default").Version(), w.token(a, "default").Version())

		before := w.store.record("default")
		require.NoError(t, b.Disconnect(t.Context(), "default"))
		synctest.Wait()
		_, err := a.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
		after := w.store.record("default")
		require.Equal(t, pleoauth.StateDisconnected, after.State)
		require.Empty(t, after.Sealed)
		require.Greater(t, after.Seq, before.Seq)

		w.authorise(a, "default", "")
		require.Greater(t, w.store.record("default").Generation, before.Generation, "the order never restarts")
		synctest.Wait()
		w.token(b, "default")
	})
}

func TestASubjectThatIsNoURNIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		for _, subject := range []string{"acme", "urn:pleo company", "urn:" + strings.Repeat("x", 300), "javascript:alert(1)"} {
			_, err := r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Connection: "default", Subject: subject})
			require.ErrorIs(t, err, pleoauth.ErrInvalidSubject)
		}
		_, err := r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Connection: "../x"})
		require.ErrorIs(t, err, pleoauth.ErrInvalidConnection)
	})
}
