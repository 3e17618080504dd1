package webhook_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/certstore"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

const (
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	other  = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

var identity = pleoauth.Identity{Issuer: "https://auth.example.com", ClientID: "client"}

// world is a store, a receiver and workers, for a synctest bubble.
type world struct {
	t        *testing.T
	dir      string
	files    *memory
	records  *certstore.Store
	receiver *receiver
	log      *logBuffer

	mu      sync.Mutex
	events  []webhook.Event
	results map[webhook.Result]int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), files: &memory{values: map[string][]byte{}}, receiver: &receiver{t: t}, log: &logBuffer{}, results: map[webhook.Result]int{}}
	w.records = w.store()
	w.records.NoteChanges(func() {})
	return w
}

func (w *world) store() *certstore.Store {
	s, err := certstore.New(w.files, w.dir, identity)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (w *world) config() webhook.Config {
	return webhook.Config{
		URL: "https://app.example.com/events?token=of-the-url", Secrets: []string{secret}, Transport: w.receiver,
		AuthoriseURI: func(c string) string { return "https://proxy.example.com/authorise?connection=" + c },
		Emit: func(e webhook.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// worker starts one more replica's.
func (w *world) worker(change ...func(*webhook.Config)) *webhook.Worker {
	w.t.Helper()
	c := w.config()
	for _, f := range change {
		f(&c)
	}
	worker := webhook.New(identity, w.store(), func(_ webhook.Kind, r webhook.Result) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.results[r]++
	})
	require.NoError(w.t, worker.Configure(&c))
	w.t.Cleanup(func() { worker.Close(context.Background()) })
	return worker
}

// put changes a connection's record.
func (w *world) put(name string, change func(*pleoauth.Record)) {
	w.t.Helper()
	old, err := w.records.Read(w.t.Context(), name)
	require.NoError(w.t, err)
	next := old.Record
	next.Issuer, next.ClientID = identity.Issuer, identity.ClientID
	change(&next)
	_, err = w.records.Swap(w.t.Context(), name, old, next, pleoauth.SwapOptions{})
	require.NoError(w.t, err)
}

// authorise is what an authorisation leaves in the record.
func (w *world) authorise(name string) {
	w.t.Helper()
	w.put(name, func(r *pleoauth.Record) {
		r.State, r.Reason, r.Subject = pleoauth.StateConnected, "", "urn:pleo:company:1"
		r.Seq = max(r.Seq+1, time.Now().UnixMilli())
		r.Generation++
		r.Lineage, r.Version = pleoauth.GenerateKey(), pleoauth.GenerateKey()
	})
}

// end is what the end of a grant leaves, and restore its coming back.
func (w *world) end(name string) {
	w.t.Helper()
	w.put(name, func(r *pleoauth.Record) {
		r.State, r.Reason, r.Version = pleoauth.StateReauthorisationRequired, pleoauth.ReasonLostResponse, pleoauth.GenerateKey()
	})
}

func (w *world) restore(name string) {
	w.t.Helper()
	w.put(name, func(r *pleoauth.Record) {
		r.State, r.Reason, r.Version = pleoauth.StateConnected, "", pleoauth.GenerateKey()
		r.Generation++
	})
}

// emitted are the kinds of the events that were emitted.
func (w *world) emitted() []webhook.Kind {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds []webhook.Kind
	for _, e := range w.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func (w *world) count(r webhook.Result) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.results[r]
}

type logBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// memory is a storage that all replicas share.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (m *memory) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = slices.Clone(value)
	return nil
}

func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return slices.Clone(value), nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return nil
}

func (m *memory) List(_ context.Context, path string, _ bool) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.values {
		if strings.HasPrefix(key, path+"/") {
			keys = append(keys, key)
		}
	}
	return keys, nil
}
