package pleoauth

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// slowReader is a connection whose reader takes its time with what has arrived.
type slowReader struct {
	net.Conn
	arrived chan struct{}
}

func (c *slowReader) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		close(c.arrived)
		time.Sleep(300 * time.Millisecond)
	}
	return n, err
}

// The connection of a request that hangs is reset once its mark is over. An answer that
// has arrived by then may hold the only pair.
func TestAnAnswerThatHasArrivedIsReadBeforeItsConnectionIsReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		conn := &slowReader{ours, make(chan struct{})}
		client, err := NewClient(Config{AuthServer: "http://localhost", APIServer: "http://localhost", ClientID: "acme"},
			func(context.Context, string, string) (net.Conn, error) { return conn, nil }, nil)
		require.NoError(t, err)
		tc, err := client.Dial(t.Context())
		require.NoError(t, err)
		go func() {
			request, err := http.ReadRequest(bufio.NewReader(theirs))
			if err != nil {
				return
			}
			_ = request.ParseForm()
			body := `{"access_token":"at~1","refresh_token":"rt~2","token_type":"Bearer","expires_in":900}`
			_, _ = theirs.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 85\r\n\r\n" + body))
		}()
		var grant Grant
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			grant, err = tc.Refresh("rt~1", time.Now().Add(time.Minute))
		}()
		<-conn.arrived
		tc.reset(ended)
		<-ended
		require.NoError(t, err)
		require.Equal(t, "rt~2", grant.RefreshToken)

		// One that does not come is not waited for.
		ours, theirs = net.Pipe()
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			if request, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
				_ = request.ParseForm()
			}
		}()
		conn = &slowReader{ours, make(chan struct{})}
		tc, err = client.Dial(t.Context())
		require.NoError(t, err)
		silent := make(chan struct{})
		began := time.Now()
		go func() {
			defer close(silent)
			_, err = tc.Refresh("rt~1", time.Now().Add(time.Minute))
		}()
		<-asked
		tc.reset(silent)
		<-silent
		require.ErrorIs(t, err, ErrAmbiguous)
		require.Less(t, time.Since(began), time.Second)
	})
}
