package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// report is what a client found, of whatever kind it is.
type report struct {
	Employees int
	Upload    struct {
		Size        int
		SHA256      string
		ContentType string
	}
	// Stream is a stream of 5 rows, 200 ms apart: how many came, and after how
	// many seconds the first one and all had.
	Stream struct {
		Rows         int
		First, Whole float64
	}
	Search  int
	RawPath string
	Head    struct {
		Status, Length int
		Type           string
	}
	Unchanged struct{ Status, Length int }
	Echo      string
}

// clients are programs that know nothing of the proxy but its base URL. Each
// returns its report.
var clients = map[string]func(t *testing.T, base, uploaded string) report{
	"curl": curlReport,
	"Python's urllib": func(t *testing.T, base, uploaded string) report {
		t.Helper()
		return programReport(t, need(t, "python3"), "testdata/clients/client.py", base, uploaded)
	},
	"Node's fetch": func(t *testing.T, base, uploaded string) report {
		t.Helper()
		return programReport(t, need(t, "node"), "testdata/clients/client.mjs", base, uploaded)
	},
	"Go's net/http": goReport,
}

func programReport(t *testing.T, args ...string) report {
	t.Helper()
	code, out := runProgram(t, os.Environ(), nil, args[0], args[1:]...)
	require.Zero(t, code, out)
	var r report
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	return r
}

func TestClientsWorkUnchangedButForTheBaseURL(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{})
	e.authorise(t, p, "default", company(0))

	uploaded := filepath.Join(t.TempDir(), "receipt.pdf")
	body := bytes.Repeat([]byte("receipt\n"), 5<<20/8)
	require.NoError(t, os.WriteFile(uploaded, body, 0o600))
	sum := sha256.Sum256(body)

	for name, run := range clients {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, p.URL, uploaded)

			require.Positive(t, r.Employees)
			require.Positive(t, r.Search)
			require.Equal(t, 5<<20, r.Upload.Size)
			require.Equal(t, hex.EncodeToString(sum[:]), r.Upload.SHA256)
			require.Equal(t, "application/pdf", r.Upload.ContentType)
			require.Equal(t, 5, r.Stream.Rows)
			// The rows take 0.8 s. Had they been kept back, the first one would
			// have come with the last one.
			require.GreaterOrEqual(t, r.Stream.Whole-r.Stream.First, 0.6)
			require.Equal(t, "/v1/receipts/a%2Fb%20c", r.RawPath)
			require.Equal(t, 200, r.Head.Status)
			require.Equal(t, 0, r.Head.Length)
			require.Contains(t, r.Head.Type, "application/json")
			require.Equal(t, 304, r.Unchanged.Status)
			require.Equal(t, 0, r.Unchanged.Length)
			echo := "hello, Pleo"
			if name == "curl" {
				echo = "101 Switching Protocols"
			}
			require.Equal(t, echo, r.Echo)
		})
	}
}
