package pleoauth_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// Exchanges of other names, which Pleo answers with 429, do not pause refreshes.
func TestExchangesOfManyNamesThatMeetALimitHoldNoRefreshUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithAccessTokenLife(3*time.Minute))
		r := w.replica()
		w.authorise(r, "default", "")
		w.token(r, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Status: 429, Times: pleotest.Always})
		stop := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Second):
				}
				begun, err := r.BeginAuthorisation(context.Background(), pleoauth.AuthorisationRequest{Connection: fmt.Sprintf("x%d", i)})
				if err != nil {
					return
				}
				back, err := w.pleo.Approve(begun.URL, "")
				if err != nil {
					return
				}
				cb := callback(t, back, begun)
				cb.Code = "garbage"
				_, _ = r.CompleteAuthorisation(context.Background(), cb)
			}
		}()
		failed := 0
		for range 10 * 60 {
			if _, err := r.Token(t.Context(), "default"); err != nil {
				failed++
			}
			time.Sleep(time.Second)
		}
		close(stop)
		require.Zero(t, failed)
	})
}

// More exchanges than requests that are under way at a time.
func TestExchangesThatPleoNeverAnswersHoldNoRefreshUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithAccessTokenLife(3*time.Minute))
		r := w.replica()
		w.authorise(r, "default", "")
		w.token(r, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Hold: pleotest.BeforeProcessing, Times: pleotest.Always})
		stop := make(chan struct{})
		for i := range 80 {
			go func() {
				time.Sleep(time.Duration(i) * 150 * time.Millisecond)
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					begun, err := r.BeginAuthorisation(context.Background(), pleoauth.AuthorisationRequest{Connection: fmt.Sprintf("x%d-%d", i, n)})
					if err != nil {
						return
					}
					back, err := w.pleo.Approve(begun.URL, "")
					if err != nil {
						return
					}
					_, _ = r.CompleteAuthorisation(context.Background(), callback(t, back, begun))
				}
			}()
		}
		failed := 0
		for range 10 * 60 {
			if _, err := r.Token(t.Context(), "default"); err != nil {
				failed++
			}
			time.Sleep(time.Second)
		}
		close(stop)
		require.Zero(t, failed)
	})
}

// Pleo takes ten requests a second, and a browser brings fourteen bad codes.
func TestExchangesWithBadCodesLeaveRefreshesTheirPartOfALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithAccessTokenLife(3*time.Minute), pleotest.WithRateLimit(pleotest.RateLimit{Requests: 10}))
		r := w.replica()
		w.authorise(r, "default", "")
		w.token(r, "default")
		stop := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(70 * time.Millisecond):
				}
				go func() {
					begun, err := r.BeginAuthorisation(context.Background(), pleoauth.AuthorisationRequest{Connection: fmt.Sprintf("x%d", i)})
					if err != nil {
						return
					}
					back, err := w.pleo.Approve(begun.URL, "")
					if err != nil {
						return
					}
					cb := callback(t, back, begun)
					cb.Code = "garbage"
					_, _ = r.CompleteAuthorisation(context.Background(), cb)
				}()
			}
		}()
		failed := 0
		for range 10 * 60 {
			if _, err := r.Token(t.Context(), "default"); err != nil {
				failed++
			}
			time.Sleep(time.Second)
		}
		close(stop)
		require.Zero(t, failed)
	})
}
