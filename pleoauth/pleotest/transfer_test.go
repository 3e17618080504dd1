package pleotest_test

import (
	"bufio"
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// raw sends a form to the token endpoint on a connection of its own.
func (i *integration) raw(form url.Values) net.Conn {
	i.t.Helper()
	address := parse(i.t, i.AuthURL)
	conn, err := i.DialContext(i.t.Context(), "tcp", address.Host)
	require.NoError(i.t, err)
	i.t.Cleanup(func() { _ = conn.Close() })
	if address.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{RootCAs: i.CertPool(), ServerName: address.Hostname(), MinVersion: tls.VersionTLS12})
	}
	r := i.newRequest(http.MethodPost, i.AuthURL+"/oauth/token", form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret))
	require.NoError(i.t, r.Write(conn))
	return conn
}

// readAll reads an answer up to the end of its connection, which it returns.
func readAll(conn io.Reader) (head, body string, end error) {
	all, end := io.ReadAll(conn)
	head, body, _ = strings.Cut(string(all), "\r\n\r\n")
	return head + "\r\n", body, end
}

func TestAnAnswerShowsItsEndInOddWays(t *testing.T) {
	kinds := map[string][]pleotest.Option{
		"sockets": nil, "TLS": {pleotest.WithTLS()},
		"in memory": {pleotest.WithInMemory()}, "TLS in memory": {pleotest.WithInMemory(), pleotest.WithTLS()},
	}
	for kind, options := range kinds {
		for how, headers := range map[pleotest.Transfer]func(length int) string{
			pleotest.ExactLength:    func(length int) string { return fmt.Sprintf("Content-Length: %d\r\n", length) },
			pleotest.LengthTooLarge: func(length int) string { return fmt.Sprintf("Content-Length: %d\r\n", length+1) },
			pleotest.LengthTooSmall: func(length int) string { return fmt.Sprintf("Content-Length: %d\r\n", length-1) },
			pleotest.NoLength:       func(int) string { return "Date: " },
			pleotest.NoLastChunk:    func(int) string { return "Transfer-Encoding: chunked\r\n" },
		} {
			for _, reset := range []bool{false, true} {
				t.Run(fmt.Sprint(kind, " ", how, " ", reset), func(t *testing.T) {
					i := start(t, options...)
					a, err := i.Issue("", "", "")
					require.NoError(t, err)
					i.Fault(pleotest.Fault{Endpoint: pleotest.Token, Transfer: how, Reset: reset})
					head, body, end := readAll(i.raw(refresh(a.RefreshToken)))
					if reset {
						require.ErrorIs(t, end, syscall.ECONNRESET)
					} else {
						require.NoError(t, end, "a FIN")
					}
					require.True(t, strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n"), head)
					require.Equal(t, how != pleotest.NoLength && how != pleotest.NoLastChunk, strings.Contains(head, "Content-Length"))
					if how == pleotest.NoLastChunk {
						size, chunk, found := strings.Cut(body, "\r\n")
						require.True(t, found)
						body = strings.TrimSuffix(chunk, "\r\n")
						require.Equal(t, fmt.Sprintf("%x", len(body)), size)
						require.Equal(t, body+"\r\n", chunk, "the chunk is whole, and nothing follows it")
					}
					require.Contains(t, head, headers(len(body)))
					var pair struct {
						AccessToken  string `json:"access_token"`
						RefreshToken string `json:"refresh_token"`
					}
					require.NoError(t, json.Unmarshal([]byte(body), &pair))
					now := i.Authorisations(pleotest.Target{})[0]
					require.Equal(t, now.AccessToken, pair.AccessToken)
					require.Equal(t, now.RefreshToken, pair.RefreshToken, "the pair is complete")
					require.Equal(t, 1, i.Counters().TokenRequestsAtOnce)
				})
			}
		}
	}
}

// What net/http makes of them: the body first, the complaint after it.
func TestAPlainClientReadsTheBodyBeforeTheOddEnd(t *testing.T) {
	for name, test := range map[string]struct {
		fault pleotest.Fault
		end   error
	}{
		"no last chunk, FIN":  {pleotest.Fault{Transfer: pleotest.NoLastChunk}, io.ErrUnexpectedEOF},
		"no last chunk, RST":  {pleotest.Fault{Transfer: pleotest.NoLastChunk, Reset: true}, syscall.ECONNRESET},
		"length too large":    {pleotest.Fault{Transfer: pleotest.LengthTooLarge}, io.ErrUnexpectedEOF},
		"no length, FIN":      {pleotest.Fault{Transfer: pleotest.NoLength}, nil},
		"no length, RST":      {pleotest.Fault{Transfer: pleotest.NoLength, Reset: true}, syscall.ECONNRESET},
		"exact length, RST":   {pleotest.Fault{Transfer: pleotest.ExactLength, Reset: true}, nil},
		"a status of its own": {pleotest.Fault{Transfer: pleotest.NoLength, Status: 502, Body: `{"a":1}`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			i := start(t)
			a, err := i.Issue("", "", "")
			require.NoError(t, err)
			i.Fault(test.fault)
			r, err := http.ReadResponse(bufio.NewReader(i.raw(refresh(a.RefreshToken))), nil)
			require.NoError(t, err)
			body, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if test.end == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, test.end)
			}
			require.True(t, json.Valid(body), "%q", body)
		})
	}
}

func TestABubbleSeesAResetAfterTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a, err := i.Issue("", "", "")
		require.NoError(t, err)
		i.Fault(pleotest.Fault{Transfer: pleotest.NoLength, Reset: true})
		_, body, end := readAll(i.raw(refresh(a.RefreshToken)))
		require.ErrorIs(t, end, syscall.ECONNRESET)
		require.True(t, json.Valid([]byte(body)))
		i.Fault(pleotest.Fault{Drop: pleotest.AfterProcessing, Reset: true})
		_, err = i.tryToken(refresh("x"))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestAResetNeverOvertakesTheBody(t *testing.T) {
	i := start(t)
	large := strings.Repeat("x", 300_000)
	for range 100 {
		i.Fault(pleotest.Fault{Status: http.StatusOK, Body: large, Transfer: pleotest.ExactLength, Reset: true})
		_, body, end := readAll(i.raw(refresh("x")))
		require.ErrorIs(t, end, syscall.ECONNRESET)
		require.Len(t, body, len(large))
	}
}

func TestABodyCanHaveBytesAroundItAndBeCompressed(t *testing.T) {
	i := start(t)
	a := i.connect("")
	got := func(fault pleotest.Fault) string {
		fault.Endpoint = pleotest.Token
		i.Fault(fault)
		a, err := i.Issue("", "", "")
		require.NoError(t, err)
		answer := i.token(refresh(a.RefreshToken))
		require.Equal(t, http.StatusOK, answer.Status)
		return answer.Raw
	}
	require.True(t, strings.HasPrefix(got(pleotest.Fault{Prefix: "\ufeff"}), "\xef\xbb\xbf{\"access_token\":"))
	require.True(t, strings.HasSuffix(got(pleotest.Fault{Suffix: "<!-- cached -->"}), "}\n<!-- cached -->"))
	both := got(pleotest.Fault{Prefix: "while(1);", Suffix: "\x00", Omit: []string{"scope"}, Transfer: pleotest.NoLength})
	require.True(t, strings.HasPrefix(both, "while(1);{") && strings.HasSuffix(both, "}\x00"), both)

	for _, fault := range []pleotest.Fault{
		{Gzip: true}, {Gzip: true, Transfer: pleotest.NoLength}, {Gzip: true, Prefix: " ", Set: map[string]any{"expires_in": 9}},
	} {
		fault.Endpoint = pleotest.Token
		i.Fault(fault)
		r := i.newRequest(http.MethodPost, i.AuthURL+"/oauth/token", refresh(a.Refresh).Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept-Encoding", "identity")
		r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret))
		compressed := i.do(r)
		require.Equal(t, "gzip", compressed.Header.Get("Content-Encoding"))
		plain, err := gzip.NewReader(strings.NewReader(compressed.Raw))
		require.NoError(t, err)
		require.NoError(t, json.NewDecoder(plain).Decode(&a.Body))
		a.Refresh = as[string](t, a.Body["refresh_token"])
		require.True(t, i.alive(a.Refresh))
	}
}

func TestTokensCanComeWithTextAroundThem(t *testing.T) {
	i := start(t)
	a := i.connect("")
	i.Fault(pleotest.Fault{
		Endpoint: pleotest.Token, Set: map[string]any{"expires_in": "900"},
		Pad: map[string]pleotest.Padding{
			"access_token": {After: "\n"}, "refresh_token": {Before: " \t", After: " "}, "scope": {}, "nothing": {Before: "x"},
		},
	})
	got := i.token(refresh(a.Refresh))
	now := i.Authorisations(pleotest.Target{})[0]
	require.Equal(t, now.AccessToken+"\n", got.Access)
	require.Equal(t, " \t"+now.RefreshToken+" ", got.Refresh)
	require.Contains(t, got.Raw, `\n"`)
	require.NotContains(t, got.Body, "nothing")
	require.Equal(t, "900", got.Body["expires_in"])
	require.True(t, i.alive(now.RefreshToken), "the token itself has no white space")
	require.False(t, i.alive(got.Refresh))
}

func TestAnotherProcessAsksForOddAnswers(t *testing.T) {
	i := start(t)
	a := i.connect("")
	set := i.control(http.MethodPost, "/faults", `{"endpoint":"token","transfer":"length-too-large","prefix":"\ufeff",
		"suffix":"// end","pad":{"access_token":{"before":" ","after":"\n"}}}`)
	require.Equal(t, http.StatusCreated, set.Status, set.Raw)
	_, body, end := readAll(i.raw(refresh(a.Refresh)))
	require.NoError(t, end)
	require.True(t, strings.HasPrefix(body, "\ufeff{\"access_token\":\" pat~"), body)
	require.True(t, strings.HasSuffix(body, "}// end"), body)
	for _, body := range []string{
		`{"transfer":"pigeon"}`, `{"transfer":"no-length","drop":"after"}`, `{"reset":true}`,
		`{"set":{"scope":"x"},"pad":{"scope":{"after":"x"}}}`, `{"transfer":"no-length","status":204}`,
	} {
		require.Equal(t, http.StatusBadRequest, i.control(http.MethodPost, "/faults", body).Status, body)
	}
}

func TestAnOddAnswerOfTheAPIReadsTheRequestFirst(t *testing.T) {
	i, token := issued(t, "")
	i.Fault(pleotest.Fault{Endpoint: pleotest.API, Status: http.StatusOK, Body: "{}", Transfer: pleotest.NoLength, Times: 2})
	body := strings.NewReader(strings.Repeat("x", 500_000))
	require.Equal(t, "{}", i.send(http.MethodPost, "/v1/receipts", token, body).Raw)
	head := i.newRequest(http.MethodHead, i.APIURL+"/v1/companies", "")
	require.Equal(t, http.StatusOK, i.do(head).Status)
}
