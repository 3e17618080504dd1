package pleotest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// faulty counts the requests of an endpoint and lets faults happen to them.
func (e *Emulator) faulty(endpoint Endpoint, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		form := url.Values{}
		if endpoint != API {
			form = bufferForm(r)
		}
		leave := e.arrive(endpoint, r, form)
		defer leave()
		if e.limited(endpoint, w) {
			return
		}
		if active := e.meet(endpoint, r, form); active != nil {
			e.serveFault(active, w, r, next, leave)
			return
		}
		next(w, r)
	})
}

// serveFault lets a fault happen, in the order that [Fault] gives.
func (e *Emulator) serveFault(active *ActiveFault, w http.ResponseWriter, r *http.Request, next http.HandlerFunc, leave func()) {
	f := &active.fault
	r = withFault(r, f)
	if f.GoAway && f.Drop == "" && f.Transfer == "" {
		w.Header().Set("Connection", "close")
	}
	if !e.pause(f.DelayBefore) || !active.holdAt(BeforeProcessing) || f.Drop == BeforeProcessing {
		leave()
		drop(w, r, f)
		return
	}
	if f.Status == 0 && f.beforeOnly() {
		next(w, r)
		return
	}
	own := newAnswer()
	switch {
	case f.Status == 0, f.Process == ProcessedFirst:
		next(own, r)
	case f.Process == ProcessedLater:
		later := detach(r)
		e.background(f.ProcessAfter, func() {
			defer func() {
				if cause := recover(); cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
					panic(cause)
				}
			}()
			next(newAnswer(), later)
		})
	}
	proceed := e.pause(f.DelayAfter) && active.holdAt(AfterProcessing) && f.Drop != AfterProcessing
	leave()
	if !proceed {
		drop(w, r, f)
		return
	}
	if f.Status != 0 {
		own = scripted(f)
	} else {
		own.edit(f)
	}
	own.wrap(f)
	if f.Transfer != "" {
		e.transfer(own, w, r, f)
		return
	}
	if f.Drop == MidBody {
		own.writeHalf(w)
		drop(w, r, f)
		return
	}
	own.writeTo(w)
}

// holdAt stops until the fault is released. It reports false if the emulator
// was closed meanwhile.
func (a *ActiveFault) holdAt(stage Stage) bool {
	if a.fault.Hold != stage {
		return true
	}
	a.emulator.mu.Lock()
	closeOnce(a.reached)
	a.emulator.mu.Unlock()
	select {
	case <-a.released:
		return true
	case <-a.emulator.done:
		return false
	}
}

// detach makes a request that can be processed after its connection has gone.
func detach(r *http.Request) *http.Request {
	body, _ := io.ReadAll(r.Body) // as much of it as came
	r = r.Clone(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r
}

// drop ends a connection without another byte.
func drop(w http.ResponseWriter, r *http.Request, f *Fault) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		endStream(r, f) // HTTP/2 has no connection to give
	}
	if f.Reset {
		reset(conn)
	}
	_ = conn.Close()
}

// answer is a response that has not been sent. It is the ResponseWriter of
// requests whose answer a fault delays, changes or hides.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func newAnswer() *answer { return &answer{header: http.Header{}} }

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, b...)
	return len(b), nil
}

// scripted is the answer that a fault gives.
func scripted(f *Fault) *answer {
	a := &answer{f.Header.Clone(), f.Status, []byte(f.Body)}
	if a.header == nil {
		a.header = http.Header{}
	}
	if a.header.Get("Content-Type") == "" && f.Body != "" {
		a.header.Set("Content-Type", "text/html; charset=utf-8")
		if strings.HasPrefix(f.Body, "{") || strings.HasPrefix(f.Body, "[") {
			a.header.Set("Content-Type", "application/json")
		}
	}
	return a
}

// edit changes members of a JSON object; any other body is left alone.
func (a *answer) edit(f *Fault) {
	if len(f.Set) == 0 && len(f.Omit) == 0 && len(f.Pad) == 0 {
		return
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(a.body, &members) != nil {
		return
	}
	pad(members, f.Pad)
	for name, value := range f.Set {
		encoded, err := json.Marshal(value)
		if err != nil {
			encoded = []byte("null")
		}
		members[name] = encoded
	}
	for _, name := range f.Omit {
		delete(members, name)
	}
	a.header.Del("Content-Length")
	a.body, _ = json.Marshal(members)
}

func (a *answer) writeHeader(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if w.Header().Get("Content-Length") == "" && a.status != http.StatusNoContent &&
		a.status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
}

func (a *answer) writeTo(w http.ResponseWriter) {
	a.writeHeader(w)
	_, _ = w.Write(a.body)
}

func (a *answer) writeHalf(w http.ResponseWriter) {
	a.writeHeader(w)
	_, _ = w.Write(a.body[:len(a.body)/2])
	_ = http.NewResponseController(w).Flush()
}
