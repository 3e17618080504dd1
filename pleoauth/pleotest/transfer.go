package pleotest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Transfer says how an answer shows where its body ends. The body is sent
// whole, and the connection ends after it: with a FIN, or with a RST if
// [Fault.Reset] is set.
//
// Over HTTP/2, which frames bodies by itself, the stream is reset after the
// body (or [Fault.GoAway] ends the connection), except for [ExactLength] and [NoLength] without either, which are
// ordinary answers there.
type Transfer string

// The ways of transfer.
const (
	// ExactLength has the Content-Length that the body has.
	ExactLength Transfer = "exact-length"
	// LengthTooLarge has a Content-Length that is one larger than the body.
	LengthTooLarge Transfer = "length-too-large"
	// LengthTooSmall has a Content-Length that is one smaller than the body.
	LengthTooSmall Transfer = "length-too-small"
	// NoLength has no Content-Length: the body ends where the connection does.
	NoLength Transfer = "no-length"
	// NoLastChunk has the body in one chunk, and not the chunk of length 0 that
	// says that there are no more.
	NoLastChunk Transfer = "no-last-chunk"
)

// Padding is text around a member of a JSON answer.
type Padding struct {
	// Before and After go into the string, next to its first and last character.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// maxUnread bounds what is read of a request's body before a connection ends.
const maxUnread = 1 << 20

// transfer sends an answer as the fault has it.
func (e *Emulator) transfer(a *answer, w http.ResponseWriter, r *http.Request, f *Fault) {
	// A connection that is closed before all has been read ends with a RST.
	_, _ = io.CopyN(io.Discard, r.Body, maxUnread)
	e.date(a.header)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		a.writeTo(w)
		_ = http.NewResponseController(w).Flush()
		if f.Reset || f.GoAway || f.Transfer != ExactLength && f.Transfer != NoLength {
			endStream(r, f)
		}
		return
	}
	defer e.adopt(conn)()
	if _, err = conn.Write(a.raw(f.Transfer, r.Method == http.MethodHead)); err == nil && f.Reset {
		reset(conn)
	}
}

// raw is the answer as HTTP/1.1 has it, up to the end of its connection.
func (a *answer) raw(how Transfer, head bool) []byte {
	header := maps.Clone(a.header)
	if header.Get("Date") == "" {
		header.Set("Date", httpDate(time.Now()))
	}
	body, length := a.body, len(a.body)
	header.Del("Content-Length")
	switch how {
	case NoLength:
	case NoLastChunk:
		header.Set("Transfer-Encoding", "chunked")
		body = fmt.Appendf(nil, "%x\r\n%s\r\n", length, body)
		if length == 0 {
			body = nil
		}
	case LengthTooLarge:
		header.Set("Content-Length", strconv.Itoa(length+1))
	case LengthTooSmall:
		header.Set("Content-Length", strconv.Itoa(max(0, length-1)))
	case ExactLength:
		header.Set("Content-Length", strconv.Itoa(length))
	}
	status := cmp.Or(a.status, http.StatusOK)
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = header.Write(&b)
	b.WriteString("\r\n")
	if !head {
		b.Write(body)
	}
	return b.Bytes()
}

// pad puts text around members that are strings.
func pad(members map[string]json.RawMessage, padding map[string]Padding) {
	for name, p := range padding {
		var text *string
		if json.Unmarshal(members[name], &text) == nil && text != nil {
			members[name], _ = json.Marshal(p.Before + *text + p.After)
		}
	}
}

// wrap puts bytes around the body, and compresses it.
func (a *answer) wrap(f *Fault) {
	if f.Prefix == "" && f.Suffix == "" && !f.Gzip {
		return
	}
	a.header.Del("Content-Length")
	a.body = []byte(f.Prefix + string(a.body) + f.Suffix)
	if f.Gzip {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(a.body)
		_ = w.Close() // a buffer takes all
		a.body = b.Bytes()
		a.header.Set("Content-Encoding", "gzip")
	}
}

// patience is how long a RST waits for the client's system to take what was
// sent before: a client that reads nothing gets it all the same.
const patience = 5 * time.Second

// reset ends a connection with a RST, once the client's system has what was
// sent before: a RST that comes earlier destroys it. TLS is passed by, which
// would say goodbye first.
func reset(conn net.Conn) {
	raw := conn
	if secure, ok := raw.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	switch socket := raw.(type) {
	case *net.TCPConn:
		awaitReceipt(socket, patience)
		_ = socket.SetLinger(0)
	case *memoryConn:
		socket.reset.Store(true)
	}
	_ = raw.Close()
	_ = conn.Close()
}
