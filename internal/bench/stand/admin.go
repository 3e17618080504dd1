//go:build linux

package stand

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// admin asks Caddy's admin endpoint.
func (c *Caddy) admin(path string) ([]byte, error) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.socket)
		},
	}}
	res, err := client.Get("http://127.0.0.1" + path) //nolint:noctx // the client has a timeout
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", path, res.Status)
	}
	return body.Bytes(), nil
}

// Metric returns the sum over all labels of a series of a metric.
func (c *Caddy) Metric(series string) (sum float64, err error) {
	text, err := c.admin("/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name, _, _ = strings.Cut(name, "{"); name != series {
			continue
		}
		number, err := strconv.ParseFloat(value[strings.LastIndexByte(value, ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		sum += number
	}
	return sum, nil
}

// Heap returns the heap in use after a collection.
func (c *Caddy) Heap() (float64, error) {
	// Twice: what has a finaliser, or is in a pool, outlives one.
	for range 2 {
		if _, err := c.admin("/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
	}
	return c.Metric("go_memstats_heap_inuse_bytes")
}

// HeapLive returns the bytes of live objects after a collection: what is in use
// without what lies unused between.
func (c *Caddy) HeapLive() (float64, error) {
	if _, err := c.Heap(); err != nil {
		return 0, err
	}
	return c.Metric("go_memstats_heap_alloc_bytes")
}

// Allocated returns how many objects and bytes the process has allocated so far.
func (c *Caddy) Allocated() (objects, bytes float64, err error) {
	if objects, err = c.Metric("go_memstats_mallocs_total"); err != nil {
		return 0, 0, err
	}
	bytes, err = c.Metric("go_memstats_alloc_bytes_total")
	return objects, bytes, err
}

// Profile returns a CPU profile of the given length.
func (c *Caddy) Profile(seconds int) ([]byte, error) {
	return c.admin(fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
}

// WriteHeapProfile writes a heap profile to a file.
func (c *Caddy) WriteHeapProfile(file string) error {
	profile, err := c.admin("/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	return os.WriteFile(file, profile, 0o644) //nolint:gosec // no secret is in it
}
