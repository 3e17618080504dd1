package pleoauth_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestNoMoreThanTenThousandAuthorisationsBeginInTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		request := pleoauth.AuthorisationRequest{Connection: "default"}
		begun := 0
		for ; ; begun++ {
			if _, err := r.BeginAuthorisation(t.Context(), request); err != nil {
				require.ErrorIs(t, err, pleoauth.ErrTooManyFlows)
				break
			}
			time.Sleep(30 * time.Millisecond) // five minutes in all
		}
		require.Equal(t, 10_000, begun)
		require.Len(t, w.store.flows, begun, "what is refused writes nothing")
		time.Sleep(4 * time.Minute)
		_, err := r.BeginAuthorisation(t.Context(), request)
		require.ErrorIs(t, err, pleoauth.ErrTooManyFlows)
		time.Sleep(4 * time.Minute)
		begin(t, r, request) // the first ones have expired
		begin(t, w.replica(), request)
	})
}

func TestAFlowTakesAFewKilobytesAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		begin(t, w.replica(), pleoauth.AuthorisationRequest{
			Connection: strings.Repeat("c", 128), ReturnTo: "/" + strings.Repeat(`&<`, 1023), Subject: "urn:" + strings.Repeat("s", 250),
		})
		for _, f := range w.store.flows {
			require.Less(t, len(f.data), 3000)
		}
	})
}

func TestNamesThatDoNotExistCostNoWriteAndLittleMemory(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprintf("store away %t", away), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				r := w.replica()
				w.authorise(r, "acme", "")
				w.token(r, "acme")
				writes := 0
				w.store.swapped = func(string, pleoauth.Record, pleoauth.Record) { writes++ }
				r.store.setAway(away)
				for i := range 20_000 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					_, err := r.Token(ctx, fmt.Sprintf("made-up-%d", i))
					require.Error(t, err)
					cancel()
				}
				require.Zero(t, writes)
				require.Empty(t, w.store.record("made-up-1").Version)
				require.LessOrEqual(t, pleoauth.Entries(r.Source), 4096+1)
				w.token(r, "acme")
			})
		})
	}
}

func TestAStateThatIsNoneOfOursIsNotLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		r.store.setAway(true) // asking it would be another error
		real := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
		for _, state := range []string{"", "x", real[1:], real + "A", real + "=", real[:20] + "\n" + real[20:], real[:42] + "B", strings.Repeat("A", 1<<20), strings.Repeat("\x00", 43)} {
			_, err := r.CompleteAuthorisation(t.Context(), pleoauth.Callback{State: state, Code: "x", Binding: func(string) string { return "" }})
			require.ErrorIs(t, err, pleoauth.ErrUnknownFlow)
		}
		_, err := r.CompleteAuthorisation(t.Context(), pleoauth.Callback{State: real, Code: "x", Binding: func(string) string { return "" }})
		require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable)
	})
}

// A server that is plain HTTP is one on this machine. Its name could be made to
// lead elsewhere: names under localhost are looked up where a system does not
// know better.
func TestSecretsGoOverPlainHTTPToThisMachineAlone(t *testing.T) {
	reached := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached <- r.URL.Path }))
	defer server.Close()
	client := func(elsewhere bool) *pleoauth.Client {
		c, err := pleoauth.NewClient(pleoauth.Config{
			AuthServer: "http://auth.localhost", APIServer: "http://api.localhost:81", ClientID: "client", ClientSecret: "client-secret",
		}, func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
			if elsewhere && err == nil {
				conn = farAway{conn}
			}
			return conn, err
		}, nil)
		require.NoError(t, err)
		return c
	}
	ask := func(c *pleoauth.Client) (errs []error) {
		_, err := c.Refresh(t.Context(), "refresh-token", time.Second)
		errs = append(errs, err)
		_, err = c.Introspect(t.Context(), "refresh-token", pleoauth.RefreshTokenKind)
		errs = append(errs, err)
		_, err = c.APISubject(t.Context(), "access-token")
		return append(errs, err)
	}
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	for _, err := range ask(client(false)) {
		require.Error(t, err)
		require.NotContains(t, err.Error(), "another machine")
	}
	require.Len(t, reached, 3)
	for _, err := range ask(client(true)) {
		require.ErrorContains(t, err, "another machine")
	}
	require.Len(t, reached, 3)
}

// farAway is a connection to another machine, as it were.
type farAway struct{ net.Conn }

func (farAway) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }
