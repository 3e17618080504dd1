package caddymodule_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhetherAnAnswerIsCompressedIsBetweenTheCallerAndPleo(t *testing.T) {
	const text = `{"data":[]}`
	api := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" {
			_, _ = io.WriteString(out, text)
			return
		}
		out.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(out)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
	}))
	defer api.Close()
	w := connectAndSwitch(t, api.URL, "")

	plain := w.call(http.MethodGet, "/v1/echo", nil)
	require.Equal(t, http.StatusOK, plain.StatusCode)
	require.Empty(t, plain.Header["Content-Encoding"])
	require.EqualValues(t, len(text), plain.ContentLength, "it was compressed on the way, and unpacked by the proxy")
	require.Equal(t, text, plain.body)

	compressed := w.call(http.MethodGet, "/v1/echo", nil, "Accept-Encoding: gzip")
	require.Equal(t, http.StatusOK, compressed.StatusCode)
	require.Equal(t, []string{"gzip"}, compressed.Header["Content-Encoding"])
	z, err := gzip.NewReader(strings.NewReader(compressed.body))
	require.NoError(t, err)
	body, err := io.ReadAll(z)
	require.NoError(t, err)
	require.Equal(t, text, string(body))
}
