package caddymodule

import (
	"fmt"
	"net/url"
	"strings"
)

// keepEscapes makes u go out with the escapes that the caller chose. net/url
// drops all of them, %2F included, once a path holds a byte that belongs
// escaped (RFC 3986, section 3.3), such as '|': here that byte alone is.
func keepEscapes(u *url.URL) {
	if u.RawPath == "" || u.EscapedPath() == u.RawPath {
		return
	}
	const plain = "-._~!$&'()*+,;=:@/[]%"
	var path strings.Builder
	for _, c := range []byte(u.RawPath) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if letter || '0' <= c && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			path.WriteByte(c)
		} else {
			fmt.Fprintf(&path, "%%%02X", c)
		}
	}
	u.RawPath = path.String()
}
