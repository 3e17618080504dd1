package test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// curlReport makes the calls by curl.
func curlReport(t *testing.T, base, uploaded string) report {
	t.Helper()
	curl := func(args ...string) string {
		t.Helper()
		code, out := runProgram(t, os.Environ(), nil, need(t, "curl"), append([]string{"-sS"}, args...)...)
		require.Zero(t, code, out)
		return out
	}
	var r report
	var list struct{ Data []json.RawMessage }
	var one struct{ Data json.RawMessage }

	answer, body := headAndBody(t, curl("-i", base+"/v2/employees"))
	require.NoError(t, json.Unmarshal([]byte(body), &list))
	r.Employees = len(list.Data)
	etag := submatch(t, etagLine, answer)[1]

	answer, body = headAndBody(t, curl("-i", "-H", "If-None-Match: "+etag, base+"/v2/employees"))
	r.Unchanged.Status, r.Unchanged.Length = statusOf(t, answer), len(body)
	answer, body = headAndBody(t, curl("-I", base+"/v2/employees"))
	r.Head.Status, r.Head.Length, r.Head.Type = statusOf(t, answer), len(body), submatch(t, typeLine, answer)[1]

	upload := curl("-H", "Content-Type: application/pdf", "--data-binary", "@"+uploaded, base+"/v1/receipts")
	require.NoError(t, json.Unmarshal([]byte(upload), &one))
	require.NoError(t, json.Unmarshal(one.Data, &r.Upload))

	require.NoError(t, json.Unmarshal([]byte(curl("-H", "Content-Type: application/json", "-d", "{}", base+"/v3/export-job-items:search")), &list))
	r.Search = len(list.Data)
	require.NoError(t, json.Unmarshal([]byte(curl(base+"/v1/receipts/a%2Fb%20c")), &one))
	require.NoError(t, json.Unmarshal(one.Data, &r))

	began := time.Now()
	live(t, []string{"-N", base + "/v1/export-stream?rows=5&interval=200ms"}, func(rows *bufio.Scanner) {
		for rows.Scan() {
			if r.Stream.Rows++; r.Stream.Rows == 1 {
				r.Stream.First = time.Since(began).Seconds()
			}
		}
	})
	r.Stream.Whole = time.Since(began).Seconds()
	r.Echo = curlUpgrade(t, base)
	return r
}

// curlUpgrade asks for a WebSocket and returns the status: of WebSockets, only
// a new curl knows more than HTTP does.
func curlUpgrade(t *testing.T, base string) (status string) {
	t.Helper()
	// By -v it says at once what it gets, and not when it ends.
	args := []string{
		"--http1.1", "-v", "-N", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket",
		"-H", "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==", base + "/v1/echo-socket",
	}
	live(t, args, func(lines *bufio.Scanner) {
		for status == "" && lines.Scan() {
			if s, ok := strings.CutPrefix(lines.Text(), "< HTTP/1.1 "); ok {
				status = s
			}
		}
	})
	return status
}

var (
	etagLine   = regexp.MustCompile(`(?i)\r\netag: (\S+)`)
	typeLine   = regexp.MustCompile(`(?i)\r\ncontent-type: (\S+)`)
	statusLine = regexp.MustCompile(`^HTTP/1\.1 (\d+)`)
)

func statusOf(t *testing.T, head string) int {
	t.Helper()
	status, err := strconv.Atoi(submatch(t, statusLine, head)[1])
	require.NoError(t, err)
	return status
}

// live runs curl while look reads what it writes, and ends it then.
func live(t *testing.T, args []string, look func(*bufio.Scanner)) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need(t, "curl"), append([]string{"-sS"}, args...)...)
	cmd.SysProcAttr = endWithParent()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	look(bufio.NewScanner(out))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func headAndBody(t *testing.T, out string) (head, body string) {
	t.Helper()
	head, body, ok := strings.Cut(out, "\r\n\r\n")
	require.True(t, ok, out)
	return head, body
}
