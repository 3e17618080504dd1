package pleotest_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// socket is a WebSocket's client end.
type socket struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func (i *integration) socket(token string) (socket, *http.Response) {
	i.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(i.APIURL, "http://"))
	require.NoError(i.t, err)
	i.t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "GET /v1/echo-socket HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer %s\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", token)
	require.NoError(i.t, err)
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	require.NoError(i.t, err)
	return socket{i.t, conn, r}, response
}

func (s socket) write(first byte, payload string) {
	s.t.Helper()
	frame := []byte{first}
	switch {
	case len(payload) >= 1<<16:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(len(payload)))
	case len(payload) >= 126:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(len(payload)))
	default:
		frame = append(frame, 0x80|byte(len(payload)))
	}
	mask := "mask"
	frame = append(frame, mask...)
	for n := range len(payload) {
		frame = append(frame, payload[n]^mask[n%4])
	}
	_, err := s.Write(frame)
	require.NoError(s.t, err)
}

func (s socket) read() (first byte, payload string) {
	s.t.Helper()
	head := make([]byte, 2)
	_, err := io.ReadFull(s.r, head)
	require.NoError(s.t, err)
	length := uint64(head[1])
	switch length {
	case 126:
		var n uint16
		require.NoError(s.t, binary.Read(s.r, binary.BigEndian, &n))
		length = uint64(n)
	case 127:
		require.NoError(s.t, binary.Read(s.r, binary.BigEndian, &length))
	}
	body := make([]byte, length)
	_, err = io.ReadFull(s.r, body)
	require.NoError(s.t, err)
	return head[0], string(body)
}

func TestAWebSocketEchoes(t *testing.T) {
	i, token := issued(t, "")
	s, response := i.socket(token)
	require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
	require.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", response.Header.Get("Sec-WebSocket-Accept"), "RFC 6455 section 1.3")
	for _, message := range []string{"", "hello", strings.Repeat("x", 300), strings.Repeat("y", 70_000)} {
		s.write(0x81, message)
		first, payload := s.read()
		require.Equal(t, byte(0x81), first)
		require.Equal(t, message, payload)
	}
	s.write(0x89, "ping")
	first, payload := s.read()
	require.Equal(t, byte(0x8A), first)
	require.Equal(t, "ping", payload)
	s.write(0x88, "\x03\xe8")
	first, _ = s.read()
	require.Equal(t, byte(0x88), first)
	_, err := s.r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}

func TestAWebSocketNeedsATokenAndAHandshake(t *testing.T) {
	i, token := issued(t, "")
	_, response := i.socket("dead")
	require.Equal(t, http.StatusUnauthorized, response.StatusCode)
	require.Equal(t, http.StatusUpgradeRequired, i.call(token, "/v1/echo-socket").Status)
}

func TestCloseEndsAWebSocket(t *testing.T) {
	i, token := issued(t, "")
	s, _ := i.socket(token)
	i.Close()
	_, err := s.r.ReadByte()
	require.Error(t, err)
}
