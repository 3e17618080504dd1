package test

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// awaitOneListener waits until the servers of the configuration before have
// stopped listening. Caddy answers a reload when it has asked them to, and a
// connection that one of them still accepts is closed without an answer.
func (p *proxy) awaitOneListener(t *testing.T) {
	t.Helper()
	u, err := url.Parse(p.URL)
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !p.running() || listeners(t, port) == 1 }, startTimeout, tick)
}

// listeners counts the sockets that listen on a TCP port; 1 where the system
// does not tell.
func listeners(t *testing.T, port int) (n int) {
	t.Helper()
	const listen = "0A" // a state of the kernel's, in Linux's include/net/tcp_states.h
	suffix, known := fmt.Sprintf(":%04X", port), false
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		known = true
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 3 && f[3] == listen && strings.HasSuffix(f[1], suffix) {
				n++
			}
		}
	}
	if !known {
		return 1
	}
	return n
}
