package pleoauth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

type callerKey struct{}

// followed writes down what a tracer is told, with the caller's name.
type followed struct {
	mu    sync.Mutex
	lines []string
}

func (f *followed) note(ctx context.Context, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, fmt.Sprintf("%v: ", ctx.Value(callerKey{}))+fmt.Sprintf(format, args...))
}

// take returns what was told since it was last called.
func (f *followed) take() []string {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := f.lines
	f.lines = nil
	return lines
}

func (f *followed) tracer() pleoauth.Tracer {
	return pleoauth.Tracer{
		Wait: func(ctx context.Context, connection string) (context.Context, func(error)) {
			f.note(ctx, "waits for %s", connection)
			return ctx, func(err error) { f.note(ctx, "has waited (%s)", pleoauth.ErrorKind(err)) }
		},
		Refresh: func(ctx context.Context, connection string) func(pleoauth.RefreshEnd) {
			f.note(ctx, "refreshes %s", connection)
			return func(end pleoauth.RefreshEnd) {
				f.note(ctx, "generation %d, sent %v (%s)", end.Generation, end.Sent, pleoauth.ErrorKind(end.Err))
			}
		},
	}
}

func TestATracerFollowsWaitsAndRefreshesByTheContextOfTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := new(followed)
		a := w.replicaWith(w.cfg, t.TempDir(), pleoauth.WithTracer(f.tracer()))
		other := w.replica()
		w.authorise(other, "acme", "")
		as := func(name string) context.Context { return context.WithValue(t.Context(), callerKey{}, name) }
		call := func(name string) error {
			_, err := a.Token(as(name), "acme")
			return err
		}

		require.NoError(t, call("first"))
		require.Equal(t, []string{"first: waits for acme", "first: has waited ()"}, f.take(), "for the store")
		require.NoError(t, call("hit"))
		require.Empty(t, f.take(), "a token from memory is nothing to follow")

		time.Sleep(16 * time.Minute) // what was in use is refreshed by a timer
		require.Equal(t, []string{"<nil>: refreshes acme", "<nil>: generation 2, sent true ()"}, f.take())
		time.Sleep(16 * time.Minute) // and expires if nobody has used it since
		require.NoError(t, call("expired"))
		require.Equal(t, []string{
			"expired: waits for acme", "expired: refreshes acme", "expired: generation 3, sent true ()", "expired: has waited ()",
		}, f.take())

		time.Sleep(32 * time.Minute)
		f.take()
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayAfter: time.Second})
		go func() { _ = other.Refresh(t.Context(), "acme") }()
		<-hold.Reached()
		require.NoError(t, call("late"))
		lines := f.take()
		require.Equal(t, "late: waits for acme", lines[0])
		require.Equal(t, "late: has waited ()", lines[len(lines)-1])
		require.NotContains(t, fmt.Sprint(lines), "sent true", "another replica has sent it")

		time.Sleep(32 * time.Minute)
		f.take()
		w.pleo.Revoke(pleotest.Target{})
		require.ErrorIs(t, call("ended"), pleoauth.ErrReauthorisationRequired)
		require.Equal(t, []string{
			"ended: waits for acme", "ended: refreshes acme", "ended: generation 6, sent false ()", "ended: has waited (reauthorisation-required)",
		}, f.take())
	})
}

func TestTheKindOfAnErrorIsAWordFromAFixedSet(t *testing.T) {
	for err, kind := range map[error]string{
		&pleoauth.TokenError{Kind: pleoauth.ErrRefreshFailed, Err: context.DeadlineExceeded}: "refresh-failed",
		&pleoauth.TokenError{Kind: pleoauth.ErrForeignRecord}:                                "store-unavailable",
		fmt.Errorf("call: %w", context.Canceled):                                             "cancelled",
		errors.New("whatever"):                                                               "other",
	} {
		require.Equal(t, kind, pleoauth.ErrorKind(err))
	}
	require.Empty(t, pleoauth.ErrorKind(nil))
}
