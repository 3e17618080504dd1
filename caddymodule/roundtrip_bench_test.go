package caddymodule

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// constantTokens hands out one token, for nothing.
type constantTokens struct{ token callToken }

func (c constantTokens) Token(context.Context, string) (callToken, error) { return c.token, nil }

func (c constantTokens) Refused(context.Context, string, callToken) (callToken, error) {
	return c.token, nil
}

// atOnce answers without a network, so that what is left is the transport's own
// cost. It reads the body as a connection would.
type atOnce struct{ buffer []byte }

func (a *atOnce) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		for {
			if _, err := req.Body.Read(a.buffer); err != nil {
				break
			}
		}
		_ = req.Body.Close()
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// processorTime is what this process has used: on a busy machine the time that has
// passed says little.
func processorTime(b *testing.B) int64 {
	b.Helper()
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return used.Utime.Nano() + used.Stime.Nano()
}

// BenchmarkTransport compares what a call costs in transport pleo with what it
// costs in Caddy's own, the network left out of both.
func BenchmarkTransport(b *testing.B) {
	const server = "http://127.0.0.1:1"
	body := bytes.Repeat([]byte("x"), 10<<10)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, whose := range []string{"caddy", "pleo"} {
			b.Run(whose+"/"+method, func(b *testing.B) {
				tr := newTransport(b, server, constantTokens{new(pleoauth.Token)})
				tr.HTTPTransport.Transport.RegisterProtocol("http", &atOnce{make([]byte, 32<<10)})
				reader := bytes.NewReader(body)
				source := io.NopCloser(reader)
				req := callOf(b, server, method, nil)
				req.Header.Set("User-Agent", "bench")
				req.Header.Set("Accept", "application/json")
				req.Header.Set("X-Forwarded-For", "127.0.0.1")
				req.Header.Set("X-Forwarded-Proto", "http")
				req.Header.Set("X-Forwarded-Host", "localhost")
				send := tr.RoundTrip
				if whose == "caddy" {
					req.URL.Scheme = "http"
					send = tr.HTTPTransport.RoundTrip
				}
				b.ReportAllocs()
				b.ResetTimer()
				began := processorTime(b)
				for range b.N {
					if method == http.MethodPost {
						reader.Reset(body)
						req.Body, req.ContentLength = source, int64(len(body))
					}
					res, err := send(req)
					if err != nil || res.StatusCode != http.StatusOK {
						require.FailNow(b, "no answer", err)
					}
				}
				b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
