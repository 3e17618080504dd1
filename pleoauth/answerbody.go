package pleoauth

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// maxAnswer bounds what is read of an answer, packed or not, in bytes.
const maxAnswer = 1 << 20

var errUnreadable = errors.New("the answer is unreadable") // the decoder's own error would quote the body

// readBody reads an answer's body for as far as it came. An error beside bytes
// says how the transport ended: without the last chunk, short of its length, by a
// reset. The bytes that came before that are as good as any others.
//
// A body that is packed is unpacked although identity was asked for.
func readBody(from io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, maxAnswer))
	var packed io.Reader
	var failed error
	switch { // no JSON begins like these
	case bytes.HasPrefix(body, []byte{0x1f, 0x8b}): // RFC 1952, section 2.3.1
		packed, failed = gzip.NewReader(bytes.NewReader(body))
	case bytes.HasPrefix(body, []byte{0x78}): // RFC 1950, section 2.2, which HTTP calls deflate
		packed, failed = zlib.NewReader(bytes.NewReader(body))
	default:
		return body, err
	}
	if failed != nil {
		return nil, errors.Join(err, errUnreadable)
	}
	body, failed = io.ReadAll(io.LimitReader(packed, maxAnswer))
	if err == nil && failed != nil {
		err = errUnreadable
	}
	return body, err
}

// object is a JSON object of an answer.
type object struct {
	members map[string]json.RawMessage // by name in lower case; of several with one name the last
	whole   bool                       // its end was read
}

// readObject reads the first object of a body. What stands before it is passed over,
// such as a byte order mark or the prefix that some servers put before all JSON, and
// what follows it is ignored. Of an object that is cut off it has the members that
// came whole.
func readObject(body []byte) object {
	o := object{members: map[string]json.RawMessage{}}
	body = body[max(bytes.IndexByte(body, '{'), 0):]
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return o
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return o
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return o
		}
		if name, ok := name.(string); ok {
			o.members[strings.ToLower(name)] = value
		}
	}
	_, err := d.Token()
	o.whole = err == nil
	return o
}

// text returns a member's string, or "" if it is none.
func (o object) text(name string) string {
	var text string
	_ = json.Unmarshal(o.members[name], &text)
	return text
}

// token returns a member's token without white space around it, which no token has
// and some servers send.
func (o object) token(name string) string { return strings.TrimSpace(o.text(name)) }
