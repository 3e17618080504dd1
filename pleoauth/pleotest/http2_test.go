package pleotest_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// startHTTP2 is start with a client that speaks HTTP/2.
func startHTTP2(t *testing.T, options ...pleotest.Option) (i *integration, token string) {
	t.Helper()
	i = start(t, append(options, pleotest.WithTLS())...)
	transport, ok := i.http.Transport.(*http.Transport)
	require.True(t, ok)
	transport.ForceAttemptHTTP2 = true
	return i, i.connect("").Access
}

func TestAServerWithTLSSpeaksHTTP2(t *testing.T) {
	for name, options := range map[string][]pleotest.Option{"sockets": nil, "in memory": {pleotest.WithInMemory()}} {
		t.Run(name, func(t *testing.T) {
			i, token := startHTTP2(t, options...)
			a := i.call(token, "/v1/echo")
			require.Equal(t, "HTTP/2.0", as[object](t, a.Body["data"])["proto"])
			require.Equal(t, http.StatusOK, i.call(token, "/v1/export-stream?rows=3&interval=0s").Status)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		i, token := startHTTP2(t, pleotest.WithInMemory())
		require.Equal(t, http.StatusOK, i.call(token, "/v1/companies").Status)
	})
}

// An HTTP/2 client that shows the frames that it gets.
type frames struct {
	t      *testing.T
	framer *http2.Framer
	conn   *tls.Conn
	block  []byte
	next   uint32
}

func (i *integration) frames() *frames {
	i.t.Helper()
	address := parse(i.t, i.APIURL)
	conn, err := i.DialContext(i.t.Context(), "tcp", address.Host)
	require.NoError(i.t, err)
	secure := tls.Client(conn, &tls.Config{
		RootCAs: i.CertPool(), ServerName: address.Hostname(), NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
	})
	i.t.Cleanup(func() { _ = secure.Close() })
	_, err = io.WriteString(secure, http2.ClientPreface)
	require.NoError(i.t, err)
	f := &frames{t: i.t, framer: http2.NewFramer(secure, secure), conn: secure, next: 1}
	require.NoError(i.t, f.framer.WriteSettings())
	return f
}

// get sends a request on the next stream.
func (f *frames) get(host, token string) uint32 {
	f.t.Helper()
	var block writer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "GET"}, {":scheme", "https"}, {":authority", host}, {":path", "/v1/companies"},
		{"authorization", "Bearer " + token},
	} {
		require.NoError(f.t, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true}))
	}
	id := f.next
	f.next += 2
	require.NoError(f.t, f.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true,
	}))
	return id
}

type writer []byte

func (w *writer) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}

// until reads frames up to one that stop selects, or to the connection's end,
// and returns the types that it saw of a stream's frames and of GOAWAY, and the
// last stream that GOAWAY named.
func (f *frames) until(stop func(http2.Frame) bool) (seen []http2.FrameType, last uint32, body string) {
	f.t.Helper()
	for {
		frame, err := f.framer.ReadFrame()
		if err != nil {
			require.ErrorIs(f.t, err, io.EOF, "a FIN")
			return seen, last, body
		}
		switch frame := frame.(type) {
		case *http2.GoAwayFrame:
			require.Equal(f.t, http2.ErrCodeNo, frame.ErrCode)
			seen, last = append(seen, frame.Type), frame.LastStreamID
		case *http2.DataFrame:
			body += string(frame.Data())
			seen = append(seen, frame.Type)
		case *http2.HeadersFrame, *http2.RSTStreamFrame:
			seen = append(seen, frame.Header().Type)
		}
		if stop(frame) {
			return seen, last, body
		}
	}
}

func ends(frame http2.Frame) bool {
	h := frame.Header()
	return h.Type == http2.FrameRSTStream ||
		(h.Type == http2.FrameData || h.Type == http2.FrameHeaders) && h.Flags.Has(http2.FlagDataEndStream)
}

func never(http2.Frame) bool { return false }

func TestAGoAwayNamesTheLastStreamThatMayHaveBeenProcessed(t *testing.T) {
	for name, options := range map[string][]pleotest.Option{"sockets": nil, "in memory": {pleotest.WithInMemory()}} {
		for _, test := range []struct {
			drop     pleotest.Stage
			transfer pleotest.Transfer
			want     []http2.FrameType
			last     uint32
		}{
			{drop: pleotest.BeforeProcessing, want: []http2.FrameType{http2.FrameGoAway}, last: 1},
			{drop: pleotest.AfterProcessing, want: []http2.FrameType{http2.FrameGoAway}, last: 3},
			{
				drop: pleotest.MidBody, last: 3,
				want: []http2.FrameType{http2.FrameHeaders, http2.FrameData, http2.FrameGoAway},
			},
			{
				transfer: pleotest.NoLength, last: 3,
				want: []http2.FrameType{http2.FrameHeaders, http2.FrameData, http2.FrameGoAway},
			},
		} {
			t.Run(name+" "+string(test.drop)+string(test.transfer), func(t *testing.T) {
				i := start(t, append(options, pleotest.WithTLS())...)
				a, err := i.Issue("", "", "")
				require.NoError(t, err)
				f, host := i.frames(), parse(t, i.APIURL).Host
				f.get(host, a.AccessToken)
				_, _, first := f.until(ends)
				require.True(t, json.Valid([]byte(first)), first)

				i.Fault(pleotest.Fault{Endpoint: pleotest.API, Drop: test.drop, Transfer: test.transfer, GoAway: true})
				f.get(host, a.AccessToken)
				seen, last, body := f.until(never)
				require.Equal(t, test.want, seen)
				require.Equal(t, test.last, last)
				require.Equal(t, test.transfer != "", body == first, "the whole body")
			})
		}
	}
}

func TestADropOverHTTP2ResetsTheStreamAndNotTheConnection(t *testing.T) {
	i := start(t, pleotest.WithTLS())
	a, err := i.Issue("", "", "")
	require.NoError(t, err)
	f, host := i.frames(), parse(t, i.APIURL).Host
	for _, fault := range []pleotest.Fault{
		{Drop: pleotest.BeforeProcessing}, {Drop: pleotest.AfterProcessing, Reset: true}, {Transfer: pleotest.LengthTooLarge},
	} {
		i.Fault(fault)
		f.get(host, a.AccessToken)
		seen, _, _ := f.until(ends)
		require.Equal(t, http2.FrameRSTStream, seen[len(seen)-1])
	}
	f.get(host, a.AccessToken)
	seen, _, _ := f.until(ends)
	require.Equal(t, http2.FrameHeaders, seen[0])
}

func TestAnAnswerCanBeTheLastOfItsConnection(t *testing.T) {
	i := start(t, pleotest.WithTLS())
	a, err := i.Issue("", "", "")
	require.NoError(t, err)
	f := i.frames()
	i.Fault(pleotest.Fault{Endpoint: pleotest.API, GoAway: true, Times: 2})
	id := f.get(parse(t, i.APIURL).Host, a.AccessToken)
	seen, last, body := f.until(never)
	require.Contains(t, seen, http2.FrameGoAway)
	require.GreaterOrEqual(t, last, id)
	require.True(t, json.Valid([]byte(body)), "the answer is whole")

	require.Equal(t, http.StatusOK, i.call(a.AccessToken, "/v1/companies").Status, "HTTP/1.1")
}

// What net/http's client makes of it: it sends a request again that was not
// processed, and no other.
func TestAClientMaySendAgainWhatAGoAwayDidNotProcess(t *testing.T) {
	i, token := startHTTP2(t)
	require.Equal(t, http.StatusOK, i.call(token, "/v1/companies").Status)
	calls := i.Counters().APICalls
	i.Fault(pleotest.Fault{Endpoint: pleotest.API, Drop: pleotest.BeforeProcessing, GoAway: true})
	require.Equal(t, http.StatusOK, i.call(token, "/v1/companies").Status)
	require.Equal(t, calls+2, i.Counters().APICalls)

	i.Fault(pleotest.Fault{Endpoint: pleotest.API, Drop: pleotest.AfterProcessing, GoAway: true})
	r := i.newRequest(http.MethodPost, i.APIURL+"/v3/export-jobs", "{}")
	r.Header.Set("Authorization", "Bearer "+token)
	_, err := i.try(r)
	require.ErrorContains(t, err, "GOAWAY")
	require.Equal(t, calls+3, i.Counters().APICalls)
}
