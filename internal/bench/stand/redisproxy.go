//go:build linux

package stand

import (
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisProxy is a reverse proxy as one would write it in an afternoon: it asks
// Redis for the connection's token for each call.
func RedisProxy(l net.Listener, upstream, redisAddr string) error {
	client := redis.NewClient(&redis.Options{Addr: redisAddr, PoolSize: 256})
	to := &url.URL{Scheme: "http", Host: upstream}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Del("Pleo-Connection")
		},
		Transport: &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 512, IdleConnTimeout: time.Minute},
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, err := client.Get(r.Context(), tokenKeyOf(r.Header.Get("Pleo-Connection"))).Result()
			if err != nil {
				http.Error(w, "no token", http.StatusServiceUnavailable)
				return
			}
			r.Header.Set("Authorization", "Bearer "+token)
			proxy.ServeHTTP(w, r)
		}),
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// tokenKeyOf is where the contenders that ask Redis for each call have a
// connection's token.
func tokenKeyOf(connection string) string { return "token:" + connection }
