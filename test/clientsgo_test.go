package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// goReport makes the calls by net/http, with a client as anybody has it.
func goReport(t *testing.T, base, uploaded string) report {
	t.Helper()
	c := &http.Client{Timeout: time.Minute}
	call := func(method, path, contentType string, body io.Reader, options ...option) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, body)
		require.NoError(t, err)
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		for _, o := range options {
			o(req)
		}
		res, err := c.Do(req)
		require.NoError(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	data := func(res *http.Response, into any) {
		t.Helper()
		require.NoError(t, json.NewDecoder(res.Body).Decode(&struct{ Data any }{into}))
	}
	length := func(res *http.Response) int {
		t.Helper()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return len(body)
	}

	var r report
	var list []json.RawMessage
	employees := call(http.MethodGet, "/v2/employees", "", nil)
	data(employees, &list)
	r.Employees = len(list)
	unchanged := call(http.MethodGet, "/v2/employees", "", nil, withHeader("If-None-Match", employees.Header.Get("ETag")))
	r.Unchanged.Status, r.Unchanged.Length = unchanged.StatusCode, length(unchanged)
	head := call(http.MethodHead, "/v2/employees", "", nil)
	r.Head.Status, r.Head.Length, r.Head.Type = head.StatusCode, length(head), head.Header.Get("Content-Type")

	file, err := os.Open(uploaded) // of unknown length to net/http: it is sent in chunks
	require.NoError(t, err)
	defer file.Close()
	data(call(http.MethodPost, "/v1/receipts", "application/pdf", file), &r.Upload)
	data(call(http.MethodPost, "/v3/export-job-items:search", "application/json", strings.NewReader("{}")), &list)
	r.Search = len(list)
	data(call(http.MethodGet, "/v1/receipts/a%2Fb%20c", "", nil), &r)

	began := time.Now()
	stream := call(http.MethodGet, "/v1/export-stream?rows=5&interval=200ms", "", nil)
	rows := bufio.NewScanner(stream.Body)
	for rows.Scan() {
		if r.Stream.Rows++; r.Stream.Rows == 1 {
			r.Stream.First = time.Since(began).Seconds()
		}
	}
	r.Stream.Whole = time.Since(began).Seconds()
	require.Equal(t, "5", stream.Trailer.Get("Pleo-Row-Count"), "the trailer")
	r.Echo = goEcho(t, strings.TrimPrefix(base, "http://"), "hello, Pleo")
	return r
}

// goEcho sends a message by WebSocket, as a library for that does.
func goEcho(t *testing.T, address, message string) string {
	t.Helper()
	conn, in := openSocket(t, address, "")
	mask, masked := []byte{1, 2, 3, 4}, []byte(message)
	for i := range masked {
		masked[i] ^= mask[i%4]
	}
	_, err := conn.Write(bytes.Join([][]byte{{0x81, byte(0x80 | len(masked))}, mask, masked}, nil))
	require.NoError(t, err)
	frame := make([]byte, 2+len(message))
	_, err = io.ReadFull(in, frame)
	require.NoError(t, err)
	return string(frame[2:])
}

// openSocket opens a WebSocket to the API, as a connection or as the default one.
func openSocket(t *testing.T, address, connection string) (net.Conn, *bufio.Reader) {
	t.Helper()
	header := ""
	if connection != "" {
		header = "Pleo-Connection: " + connection + "\r\n"
	}
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = fmt.Fprintf(conn, "GET /v1/echo-socket HTTP/1.1\r\nHost: %s\r\n%sUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n", address, header)
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
	return conn, in
}
