//go:build linux

package stand

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
)

// The paths of the upstream.
const (
	PathSmall  = "/v2/small"  // answers with SmallAnswer bytes
	PathPost   = "/v2/post"   // reads the body, and answers with little
	PathStream = "/v2/stream" // answers with StreamAnswer bytes
)

// The sizes of the upstream's answers.
const (
	SmallAnswer  = 1 << 10
	StreamAnswer = 50 << 20
)

const chunk = 64 << 10

// answers are the upstream's, header included; the body of a stream follows in
// chunks.
var answers = map[string][]byte{
	PathSmall:  answerOf("200 OK", bytes.Repeat([]byte("x"), SmallAnswer), SmallAnswer),
	PathPost:   answerOf("200 OK", []byte(`{}`), 2),
	PathStream: answerOf("200 OK", nil, StreamAnswer),
}

var (
	answerNoToken = answerOf("401 Unauthorized", []byte("no token"), 8)
	answerUnknown = answerOf("404 Not Found", nil, 0)
	streamed      = bytes.Repeat([]byte("x"), chunk)
)

func answerOf(status string, body []byte, length int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, length, body)
}

// Upstream serves the API that all contenders stand before, for as little as it
// can. A call without a token is refused.
func Upstream(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close() //nolint:errcheck // there is nobody to tell
			r := bufio.NewReaderSize(conn, chunk)
			for serveOne(conn, r) == nil {
				continue
			}
		}()
	}
}

func serveOne(conn io.Writer, r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	_, path, _ := bytes.Cut(line, []byte(" "))
	path, _, _ = bytes.Cut(path, []byte(" "))
	answer := answers[string(path)]
	if answer == nil {
		answer = answerUnknown
	}
	streams := string(path) == PathStream
	authorised, chunked, length := false, false, 0
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Authorization")):
			authorised = bytes.HasPrefix(value, []byte("Bearer ")) && len(value) > len("Bearer ")
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		}
	}
	if _, err = r.Discard(length); err != nil {
		return err
	}
	if chunked {
		if err := discardChunks(r); err != nil {
			return err
		}
	}
	if !authorised {
		answer, streams = answerNoToken, false
	}
	if _, err = conn.Write(answer); err != nil || !streams {
		return err
	}
	for range StreamAnswer / chunk {
		if _, err = conn.Write(streamed); err != nil {
			return err
		}
	}
	return nil
}

func discardChunks(r *bufio.Reader) error {
	if _, err := io.Copy(io.Discard, httputil.NewChunkedReader(r)); err != nil {
		return err
	}
	_, err := r.ReadSlice('\n') // the end of the trailers, of which there are none
	return err
}
