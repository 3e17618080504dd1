package caddymodule

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPathKeepsItsEscapesBesideAByteThatNeedsOne(t *testing.T) {
	for path, want := range map[string]string{
		"/a%2Fb":           "/a%2Fb",
		"/a%2fb|c":         "/a%2fb%7Cc",
		"/a%2Fb{c}[d]:e":   "/a%2Fb%7Bc%7D[d]:e",
		"/a%2F\xc3\xbc%41": "/a%2F%C3%BC%41",
	} {
		u, err := url.ParseRequestURI(path)
		require.NoError(t, err)
		decoded := u.Path
		keepEscapes(u)
		require.Equal(t, want, u.EscapedPath())
		require.Equal(t, decoded, u.Path)
	}
}
