package pleoauth_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"syscall"
)

// oddAnswer is an answer of the token endpoint that holds the whole pair, and is
// not as it should be: what is left to read of it, and how it ends.
type oddAnswer struct {
	rest []byte
	end  error
}

func (a *oddAnswer) read(b []byte) (int, error) {
	if len(a.rest) == 0 {
		return 0, a.end
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// The ways in which an answer that holds the whole pair can be odd.
var oddWays = []string{
	"is announced longer than it is", "lacks its last chunk", "is announced longer, and broken off", "begins with a byte order mark",
	"has text after the object", "is packed", "has white space around its tokens",
}

// planOddAnswers has some answers of the token endpoint end badly.
func (s *sim) planOddAnswers() {
	p, way, times := s.anyProcess(), s.odds.IntN(len(oddWays)), 1+s.odds.IntN(3)
	s.in(s.between(0, s.window), "answers that hold the pair are odd", func() {
		s.say("the next %d pairs for %s come in an answer that %s", times, p, oddWays[way])
		p.mu.Lock()
		defer p.mu.Unlock()
		p.odd.way, p.odd.times = way, times
	})
}

// oddAnswer returns what a process gets in place of an answer with a pair, or nil.
func (p *process) oddAnswer(c *simConn) *oddAnswer {
	status, body, whole := answerOf(c.answer)
	if !whole || c.sent == nil || status != 200 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.odd.times == 0 || p.sim.calm.Load() || !bytes.Contains(body, []byte(`"refresh_token"`)) {
		return nil
	}
	p.odd.times--
	return makeOdd(p.odd.way, body)
}

func makeOdd(way int, body []byte) *oddAnswer {
	length, extra, end := len(body), "", error(io.EOF)
	switch way {
	case 0:
		length += 7
	case 1:
		chunk := fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
		return &oddAnswer{[]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk), io.EOF}
	case 2:
		length, end = length+100, syscall.ECONNRESET
	case 3:
		body = append([]byte("\xef\xbb\xbf"), body...)
		length = len(body)
	case 4:
		body = append(bytes.Clone(body), "\n<!-- served by edge 7 -->"...)
		length = len(body)
	case 5:
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(body)
		_ = w.Close()
		body, extra = packed.Bytes(), "Content-Encoding: gzip\r\n"
		length = len(body)
	case 6:
		var members map[string]any
		_ = json.Unmarshal(body, &members)
		for _, name := range []string{"access_token", "refresh_token"} {
			if token, ok := members[name].(string); ok {
				members[name] = " " + token + "\n"
			}
		}
		body, _ = json.Marshal(members)
		length = len(body)
	}
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + extra + "Content-Length: " + strconv.Itoa(length) + "\r\n\r\n"
	return &oddAnswer{append([]byte(head), body...), end}
}
