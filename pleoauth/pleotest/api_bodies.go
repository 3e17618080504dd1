package pleotest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// receipt says what arrived, so that a test can tell that nothing was changed
// on the way.
type receipt struct {
	ID      string      `json:"id"`
	RawPath string      `json:"rawPath,omitempty"`
	Size    int64       `json:"size"`
	SHA256  string      `json:"sha256,omitempty"`
	Type    string      `json:"contentType,omitempty"`
	Trailer http.Header `json:"trailer,omitempty"`
}

// receiveBody reads a body of any size to its end.
func receiveBody(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	size, err := io.Copy(hash, r.Body)
	if err != nil {
		badBody(w, "The body was cut short.")
		return
	}
	status, id := http.StatusOK, r.PathValue("id")
	if r.Method == http.MethodPost {
		status, id = http.StatusCreated, newUUID()
	}
	writeJSON(w, status, map[string]any{"data": receipt{
		ID: id, RawPath: rawPath(r), Size: size, SHA256: hex.EncodeToString(hash.Sum(nil)),
		Type: r.Header.Get("Content-Type"), Trailer: r.Trailer,
	}})
}

// rawPath is a request's path as it came, which net/http's own forms of it need
// not be.
func rawPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if u, err := url.Parse(path); err == nil && u.IsAbs() {
		return u.EscapedPath()
	}
	return path
}

// Limits of a stream.
const (
	maxRows     = 1_000_000
	maxInterval = time.Hour
)

// rowCountTrailer closes a stream, so that a test can see trailers arrive.
const rowCountTrailer = "Pleo-Row-Count"

// stream answers with one row of NDJSON at a time, the first one at once.
func (e *Emulator) stream(w http.ResponseWriter, r *http.Request) {
	rows, interval := 10, 100*time.Millisecond
	var err error
	if text := r.URL.Query().Get("rows"); text != "" {
		if rows, err = strconv.Atoi(text); err != nil || rows < 0 || rows > maxRows {
			badBody(w, "The number of rows must be 0 to 1000000.")
			return
		}
	}
	if text := r.URL.Query().Get("interval"); text != "" {
		if interval, err = time.ParseDuration(text); err != nil || interval < 0 || interval > maxInterval {
			badBody(w, "The interval must be a duration such as 100ms, up to an hour.")
			return
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Trailer", rowCountTrailer)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	items, encoder, flush := callerOf(r).company.exportItems(), json.NewEncoder(w), http.NewResponseController(w)
	for i := range rows {
		if i > 0 && !e.tick(r, interval) {
			panic(http.ErrAbortHandler) // a stream cut short must not look complete
		}
		if encoder.Encode(map[string]any{"row": i + 1, "item": items[i%len(items)]}) != nil {
			return
		}
		_ = flush.Flush() // fails where a fault buffers the answer
	}
	w.Header().Set(rowCountTrailer, strconv.Itoa(rows))
}

// tick waits, unless the caller goes or the emulator is closed.
func (e *Emulator) tick(r *http.Request, interval time.Duration) bool {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
	case <-e.done:
	}
	return false
}

// echo tells what arrived. In place of the token it names the company that the
// token is for.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxJSON))
	if err != nil {
		badBody(w, "The body is too long, or was cut short.")
		return
	}
	header := r.Header.Clone()
	header.Set("Authorization", "Bearer "+callerOf(r).company.Name)
	writeJSON(w, http.StatusOK, map[string]any{"data": map[string]any{
		"method": r.Method, "host": r.Host, "rawPath": rawPath(r), "rawQuery": r.URL.RawQuery, "proto": r.Proto,
		"header": header, "body": string(body), "companyId": callerOf(r).company.ID,
	}})
}
