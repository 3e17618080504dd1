package caddymodule

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyLocalPathsAndAllowedOriginsAreReturnedTo(t *testing.T) {
	origins := []string{"https://app.example.com", "https://other.example.com:8443", "http://localhost:3000"}
	for _, target := range []string{
		"/", "/settings", "/settings/", "/settings?tab=pleo&x=1#top", "/a//b", "/a/../b", "/a%20b", "/?next=//evil.example.com",
		"/path:with:colons", "/%C3%A9t%C3%A9",
		"https://app.example.com", "https://app.example.com/", "https://app.example.com/x?y=z", "https://APP.example.com/x",
		"https://app.example.com:443/x", "https://other.example.com:8443/x", "http://localhost:3000/done", "https://app.example.com?x=1",
	} {
		require.NoError(t, checkReturnTo(target, origins), target)
	}
	for _, target := range []string{
		"settings", "", "?x", "#x", ".", "..", "./x",
		"//evil.example.com", "///evil.example.com", "/\\evil.example.com", "\\\\evil.example.com", "/\t/evil.example.com", "/\n/evil.example.com",
		"/%2f%2fevil.example.com", "/%2Fevil.example.com", "/%5cevil.example.com", "/%5Cevil.example.com", "/a%0d%0aSet-Cookie:x=y", "/%09/evil.example.com",
		"/.//evil.example.com", "/..//evil.example.com", "/%2e//evil.example.com", "/%2e%2e//evil.example.com", "/./x", "/a\\..\\b",
		"/a/..//evil.example.com", "/a/%2E%2e//evil.example.com", "/a/b/../..//evil.example.com", "/a/./..//evil.example.com", "/%2e%2E/x",
		"javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "data:text/html,x", "vbscript:x", "mailto:x@example.com", "file:///etc/passwd",
		"https:/app.example.com", "https:app.example.com", "https:///app.example.com", "https://", "HTTPS://app.example.com/", "http://app.example.com/",
		"https://app.example.com.evil.example.com", "https://app.example.com@evil.example.com", "https://user@app.example.com/", "https://user:x@app.example.com/",
		"https://evil.example.com", "https://evil.example.com/?https://app.example.com", "https://evil.example.com#https://app.example.com",
		"https://app.example.com\\@evil.example.com", "https://app.example.com:8443/", "https://other.example.com/", "https://app.example.com%2eevil.example.com/",
		"https://app.example.com /", "https://аpp.example.com/", "https://app.example.com./", "/é", "/\x00", "/\x7f", "/%00",
	} {
		require.Error(t, checkReturnTo(target, origins), "%q", target)
	}
	require.Error(t, checkReturnTo("/"+string(make([]byte, maxReturnTo)), origins))
	require.Error(t, checkReturnTo("https://app.example.com/", nil), "no origin is allowed by default")
}

func TestConnectedIsAddedToTheQuery(t *testing.T) {
	for target, expected := range map[string]string{
		"/settings":                    "/settings?pleo=connected",
		"/settings?tab=pleo":           "/settings?tab=pleo&pleo=connected",
		"/settings?a=%2F+b#top":        "/settings?a=%2F+b&pleo=connected#top",
		"https://app.example.com":      "https://app.example.com?pleo=connected",
		"https://app.example.com/x?y=": "https://app.example.com/x?y=&pleo=connected",
	} {
		got, err := connectedTo(target)
		require.NoError(t, err)
		require.Equal(t, expected, got)
	}
}

func TestOriginsAreComparedAsBrowsersDo(t *testing.T) {
	for value, expected := range map[string]string{
		"https://App.Example.com":      "https://app.example.com",
		"https://app.example.com:443/": "https://app.example.com",
		"http://localhost:80":          "http://localhost",
		"https://app.example.com:8443": "https://app.example.com:8443",
		"http://[::1]:3000":            "http://[::1]:3000",
	} {
		got, err := parseOrigin(value)
		require.NoError(t, err, value)
		require.Equal(t, expected, got)
	}
	for _, value := range []string{"", "app.example.com", "ftp://app.example.com", "https://", "https://a/x", "https://a?x", "https://u@a", "*", "https://a#b"} {
		_, err := parseOrigin(value)
		require.Error(t, err, "%q", value)
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, seed := range []string{
		"/", "//x", "/\\x", "https://app.example.com/x", "javascript:x", "/%2f%2fx", "/a?b#c", "/a/..//x", "/%2e%2E//x", "https://app.example.com@x", "/a\tb",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if checkReturnTo(target, []string{"https://app.example.com"}) != nil {
			return
		}
		got, err := connectedTo(target)
		require.NoError(t, err)
		require.Contains(t, got, "pleo=connected")
		for _, where := range []string{target, got} {
			host := browsersHost(where)
			require.Contains(t, []string{"", "app.example.com", "app.example.com:443"}, host, "%q", where)
		}
	})
}

// browsersHost reads a target as browsers do (the URL standard): blanks at the
// ends and line ends anywhere go, and \ is /. It returns "" for this site.
func browsersHost(target string) string {
	target = strings.Trim(target, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	target = strings.NewReplacer("\t", "", "\n", "", "\r", "", "\\", "/").Replace(target)
	scheme, rest, absolute := strings.Cut(target, ":")
	if absolute && !strings.ContainsAny(scheme, "/?#") {
		if scheme = strings.ToLower(scheme); scheme != "https" {
			return scheme + ":" // leads elsewhere, or runs
		}
		rest = strings.TrimLeft(rest, "/")
	} else if rest = strings.TrimPrefix(target, "//"); rest == target {
		return ""
	}
	authority, _, _ := strings.Cut(strings.NewReplacer("?", "/", "#", "/").Replace(rest), "/")
	return strings.ToLower(authority)
}
