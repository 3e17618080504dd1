package pleotest

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it, and it protects nothing
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
)

// echoSocket accepts a WebSocket (RFC 6455) and sends back every message. It
// knows as much of the protocol as that takes.
func (e *Emulator) echoSocket(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	decoded, err := base64.StdEncoding.DecodeString(key)
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || err != nil || len(decoded) != 16 ||
		r.Header.Get("Sec-WebSocket-Version") != "13" {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Sec-WebSocket-Version", "13")
		(&apiError{http.StatusUpgradeRequired, "", "upgrade_required", "This is a WebSocket."}).write(w)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		(&apiError{http.StatusNotImplemented, "", "not_implemented", "WebSockets need HTTP/1.1."}).write(w)
		return
	}
	defer e.adopt(conn)()
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see the import
	_, err = fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(accept[:]))
	for err == nil {
		if err = buffered.Flush(); err == nil {
			err = echoFrame(buffered)
		}
	}
	_ = buffered.Flush() // the close frame, where the client sent one
}

// Opcodes and bits of a frame (RFC 6455 section 5.2).
const (
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA
	opMask     = 0x0F
	maskedBit  = 0x80
	lengthMask = 0x7F
)

// maxFrame bounds a frame's payload.
const maxFrame = 1 << 20

// errClosing ends a socket that the client has closed properly.
var errClosing = errors.New("the client closed the WebSocket")

// echoFrame reads a frame and writes its answer: itself, unmasked. Fragments
// come back as the fragments that they were.
func echoFrame(rw *bufio.ReadWriter) error {
	var head [2]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return err
	}
	if head[1]&maskedBit == 0 {
		return errors.New("a client must mask its frames")
	}
	length := uint64(head[1] & lengthMask)
	if size := map[uint64]int{126: 2, 127: 8}[length]; size > 0 {
		var extended [8]byte
		if _, err := io.ReadFull(rw, extended[8-size:]); err != nil {
			return err
		}
		length = binary.BigEndian.Uint64(extended[:])
	}
	if length > maxFrame {
		return errors.New("the frame is too long")
	}
	frame := make([]byte, 4+length)
	if _, err := io.ReadFull(rw, frame); err != nil {
		return err
	}
	mask, payload := frame[:4], frame[4:]
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	switch head[0] & opMask {
	case opPong:
		return nil
	case opPing:
		head[0] = head[0]&^opMask | opPong
	case opClose:
		return errors.Join(writeFrame(rw, head[0], payload), errClosing)
	}
	return writeFrame(rw, head[0], payload)
}

func writeFrame(w io.Writer, first byte, payload []byte) error {
	head := []byte{first, byte(len(payload) & lengthMask)}
	switch {
	case len(payload) >= 1<<16:
		head = binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(len(payload)))
	case len(payload) >= 126:
		head = binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(len(payload)&math.MaxUint16))
	}
	_, err := w.Write(append(head, payload...))
	return err
}
