package pleoauth_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// rawTokenEndpoint answers every request with the same bytes, and ends the
// connection with a FIN, or with a RST once the client has taken all of them.
func rawTokenEndpoint(t *testing.T, answer string, reset bool) (url string, asked <-chan http.Header) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	headers := make(chan http.Header, 8)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			request, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				_, _ = io.Copy(io.Discard, request.Body)
				headers <- request.Header
				_, _ = io.WriteString(conn, answer)
			}
			if reset {
				awaitTaken(conn.(*net.TCPConn))
				_ = conn.(*net.TCPConn).SetLinger(0)
			}
			_ = conn.Close()
		}
	}()
	return "http://" + listener.Addr().String(), headers
}

func packed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

func deflated(text string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// TestAWholePairIsUsedHoweverItsAnswerEnds has answers that other servers have been
// seen to give. Each holds both tokens, and the refresh token that was sent is dead
// by then: an answer that is thrown away is a customer's authorisation lost.
func TestAWholePairIsUsedHoweverItsAnswerEnds(t *testing.T) {
	const pair = `{"access_token":"new-access","token_type":"Bearer","expires_in":900,"refresh_token":"new-refresh"}`
	sized := func(length int, headers, body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s", length, headers, body)
	}
	exact := func(body string) string { return sized(len(body), "", body) }
	chunk := fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(pair), pair)
	endless := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + pair
	for name, row := range map[string]struct {
		answer string
		reset  bool
	}{
		"as it should be":                          {exact(pair), false},
		"chunked without the last chunk, FIN":      {chunk, false},
		"chunked without the last chunk, RST":      {chunk, true},
		"a malformed chunk behind it":              {chunk + "zz\r\n", false},
		"its length one too large, FIN":            {sized(len(pair)+1, "", pair), false},
		"its length one too large, RST":            {sized(len(pair)+1, "", pair), true},
		"its length one too small":                 {sized(len(pair)-1, "", pair), false},
		"without a length, FIN":                    {endless, false},
		"without a length, RST":                    {endless, true},
		"packed":                                   {sized(len(packed(pair)), "Content-Encoding: gzip\r\n", packed(pair)), false},
		"packed, and the header does not say so":   {exact(packed(pair)), false},
		"packed, without the checksum":             {sized(len(packed(pair)), "Content-Encoding: gzip\r\n", packed(pair)[:len(packed(pair))-8]), false},
		"packed in zlib's format":                  {sized(len(deflated(pair)), "Content-Encoding: deflate\r\n", deflated(pair)), false},
		"a prefix against scripts before it":       {exact(")]}',\n" + pair), false},
		"in an array":                              {exact("[" + pair + "]"), false},
		"a byte order mark before it":              {exact("\ufeff" + pair), false},
		"line ends around it":                      {exact("\r\n\r\n" + pair + "\r\n"), false},
		"a comment behind it":                      {exact(pair + "<!-- served by edge 7 -->"), false},
		"another object behind it":                 {exact(pair + `{"access_token":"x"}`), false},
		"bytes that are no text behind it":         {exact(pair + "\x00\xff\x1f\x8b"), false},
		"a line end in the tokens":                 {exact(strings.NewReplacer(`new-access"`, `new-access\n"`, `"new-refresh`, `" \tnew-refresh`).Replace(pair)), false},
		"cut off behind the tokens":                {sized(5000, "", pair[:len(pair)-1]+`,"scope":"users:re`), false},
		"201":                                      {strings.Replace(exact(pair), "200 OK", "201 Created", 1), false},
		"an interim answer before it":              {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + exact(pair), false},
		"a length that is no number, and no close": {strings.Replace(chunk, "\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			url, asked := rawTokenEndpoint(t, row.answer, row.reset)
			client, err := pleoauth.NewClient(pleoauth.Config{AuthServer: url, APIServer: url, ClientID: "a", ClientSecret: "b"}, nil, nil)
			require.NoError(t, err)
			g, err := client.Refresh(t.Context(), "old-refresh", time.Minute)
			require.NoError(t, err)
			require.Equal(t, "new-access", g.AccessToken)
			require.Equal(t, "new-refresh", g.RefreshToken)
			require.False(t, g.NoRefreshToken)
			require.Equal(t, "identity", (<-asked).Get("Accept-Encoding"))
			require.Empty(t, asked)
		})
	}
}

// TestHalfAPairIsNoPair: what may have been the rest of the pair did not come.
func TestHalfAPairIsNoPair(t *testing.T) {
	for name, body := range map[string]string{
		"cut off in the refresh token":  `{"access_token":"new-access","refresh_token":"new-ref`,
		"cut off behind the first":      `{"access_token":"new-access"`,
		"a token that no header can be": `{"access_token":"new\naccess","refresh_token":"new-refresh"}`,
		"no object":                     `["new-access","new-refresh"]`,
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := rawTokenEndpoint(t, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+body, false)
			client, err := pleoauth.NewClient(pleoauth.Config{AuthServer: url, APIServer: url, ClientID: "a", ClientSecret: "b"}, nil, nil)
			require.NoError(t, err)
			_, err = client.Refresh(t.Context(), "old-refresh", time.Minute)
			require.ErrorIs(t, err, pleoauth.ErrAmbiguous)
			require.NotContains(t, err.Error(), "new")
		})
	}
}

// TestIntrospectionIsReadAsKindly: a question whose answer cannot be read leaves a
// refresh unsettled.
func TestIntrospectionIsReadAsKindly(t *testing.T) {
	for name, answer := range map[string]string{
		"packed":              "HTTP/1.1 200 OK\r\n\r\n" + packed(`{"active":true}`),
		"a byte order mark":   "HTTP/1.1 200 OK\r\n\r\n\ufeff" + `{"active":true}`,
		"its length too long": "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + `{"active":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := rawTokenEndpoint(t, answer, false)
			client, err := pleoauth.NewClient(pleoauth.Config{AuthServer: url, APIServer: url, ClientID: "a", ClientSecret: "b"}, nil, nil)
			require.NoError(t, err)
			seen, err := client.Introspect(t.Context(), "a-token", pleoauth.RefreshTokenKind)
			require.NoError(t, err)
			require.True(t, seen.Active)
		})
	}
}

// TestADateToWaitUntilIsReadAgainstTheClockOfTheServerThatNamedIt: its clock may be
// minutes ahead of ours, and what it means is a duration.
func TestADateToWaitUntilIsReadAgainstTheClockOfTheServerThatNamedIt(t *testing.T) {
	ahead := time.Now().Add(10 * time.Minute).UTC()
	for name, row := range map[string]struct {
		headers string
		wait    time.Duration
	}{
		"a date beside a Date":  {"Date: " + ahead.Format(http.TimeFormat) + "\r\nRetry-After: " + ahead.Add(20*time.Second).Format(http.TimeFormat), 20 * time.Second},
		"a date that is over":   {"Date: " + ahead.Format(http.TimeFormat) + "\r\nRetry-After: " + ahead.Add(-time.Hour).Format(http.TimeFormat), 0},
		"a date far away":       {"Date: " + ahead.Format(http.TimeFormat) + "\r\nRetry-After: " + ahead.AddDate(3, 0, 0).Format(http.TimeFormat), time.Hour},
		"seconds":               {"Date: " + ahead.Format(http.TimeFormat) + "\r\nRetry-After: 7", 7 * time.Second},
		"more seconds than any": {"Retry-After: 999999999", time.Hour},
		"no time at all":        {"Retry-After: soon", 0},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := rawTokenEndpoint(t, "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n"+row.headers+"\r\n\r\n", false)
			client, err := pleoauth.NewClient(pleoauth.Config{AuthServer: url, APIServer: url, ClientID: "a", ClientSecret: "b"}, nil, nil)
			require.NoError(t, err)
			_, err = client.Refresh(t.Context(), "old-refresh", time.Minute)
			var oauth *pleoauth.OAuthError
			require.ErrorAs(t, err, &oauth)
			require.Equal(t, row.wait, oauth.RetryAfter)
		})
	}
}
