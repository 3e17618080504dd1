package caddymodule

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// maxReturnTo is the longest return_to, in bytes: it is stored with its flow.
const maxReturnTo = 2048

// errReturnTo is returned when a browser must not be sent to a target. The
// target is not part of it: it may come from anywhere.
var errReturnTo = errors.New("return_to is neither a local path nor a URL on return_to_origins")

// checkOption judges an option's value by parsing it.
func checkOption[T any](name, value string, parse func(string) (T, error)) error {
	if _, err := parse(value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// parseOrigin returns an origin in the form that browsers compare (RFC 6454):
// scheme and host in lower case, no default port.
func parseOrigin(value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http") ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return "", fmt.Errorf("%q is not an origin such as https://app.example.com", value)
	}
	return originOf(u), nil
}

func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}

// checkReturnTo returns nil if a browser may be sent to target after it has
// authorised: a path of this site, or a URL on one of the origins. Anything
// else would make this site an open redirector (RFC 9700, section 4.11.2).
//
// Browsers read URLs more loosely than [url.Parse]: they take \ for /, drop
// tabs and line ends, and resolve dots. So whatever has a second reading is
// refused, also under one more layer of percent-encoding.
func checkReturnTo(target string, origins []string) error {
	if len(target) > maxReturnTo || !plainText(target) {
		return errReturnTo
	}
	u, err := url.Parse(target)
	if err != nil || u.Opaque != "" || u.User != nil {
		return errReturnTo
	}
	if strings.ContainsFunc(u.Path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return errReturnTo
	}
	if strings.HasPrefix(target, "/") {
		if u.Scheme != "" || u.Host != "" || !localPath(u.EscapedPath()) || !localPath(u.Path) {
			return errReturnTo
		}
		return nil
	}
	if u.Hostname() == "" || !strings.HasPrefix(target, u.Scheme+"://") || !slices.Contains(origins, originOf(u)) {
		return errReturnTo
	}
	return nil
}

// plainText reports whether s is printable ASCII without blanks and without
// backslashes.
func plainText(s string) bool {
	for i := range len(s) {
		if b := s[i]; b <= ' ' || b >= 0x7f || b == '\\' {
			return false
		}
	}
	return true
}

// localPath reports whether path is absolute and cannot be read as //host,
// neither as it stands nor once its dots are resolved.
func localPath(path string) bool {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return false
	}
	if first, _, _ := strings.Cut(rest, "/"); isDots(first) != "" {
		return false
	}
	var left []string
	for segment := range strings.SplitSeq(rest, "/") {
		switch isDots(segment) {
		case ".":
		case "..":
			left = left[:max(0, len(left)-1)]
		default:
			left = append(left, segment)
		}
	}
	return len(left) < 2 || left[0] != ""
}

// isDots returns "." or ".." if browsers take a segment of a path for that.
func isDots(segment string) string {
	switch dots := strings.ReplaceAll(strings.ToLower(segment), "%2e", "."); dots {
	case ".", "..":
		return dots
	}
	return ""
}

// connectedTo returns target with pleo=connected in its query.
func connectedTo(target string) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", errReturnTo
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "pleo=connected"
	return u.String(), nil
}
