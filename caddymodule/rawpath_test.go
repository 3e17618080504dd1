package caddymodule_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPathReachesPleoWithItsEscapesWhateverElseIsInIt(t *testing.T) {
	seen := make(chan string, 1)
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.RequestURI }))
	defer api.Close()
	w := connectAndSwitch(t, api.URL, "")
	conn, err := net.Dial("tcp", w.app)
	require.NoError(t, err)
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for _, c := range []struct{ path, want string }{
		{"/v1/a%2Fb", "/v1/a%2Fb"},
		{"/v1//a/../b/./%2e%2E/%2F%2f/x//", "/v1//a/../b/./%2e%2E/%2F%2f/x//"},
		{"/v1/!$&'()*+,;=:@-._~[]", "/v1/!$&'()*+,;=:@-._~[]"},
		{"/v1/a%2fb|c?d=|", "/v1/a%2fb%7Cc?d=|"},
		{`/v1/a%2Fb{c}"<^>` + "`", "/v1/a%2Fb%7Bc%7D%22%3C%5E%3E%60"},
		{"/v1/a%2F\xc3\xbc%41", "/v1/a%2F%C3%BC%41"},
	} {
		_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", c.path)
		require.NoError(t, err)
		res, err := http.ReadResponse(answers, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode, c.path)
		require.NoError(t, res.Body.Close())
		require.Equal(t, c.want, <-seen)
	}
}
