package caddymodule

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// countedBody counts closes, and reads in small pieces.
type countedBody struct {
	io.Reader
	mu     sync.Mutex
	closed int
}

func (b *countedBody) Read(p []byte) (int, error) { return b.Reader.Read(p[:min(len(p), 7)]) }

func (b *countedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed++
	return nil
}

func replayOf(body io.Reader, declared, limit int64, memory *budget) (*replay, *countedBody) {
	source := &countedBody{Reader: body}
	return newReplay(&http.Request{Body: source, ContentLength: declared}, limit, memory), source
}

func attemptOf(r *replay) io.ReadCloser {
	out := new(http.Request)
	r.attempt(out)
	return out.Body
}

func TestABodyIsSentAgainAsItWas(t *testing.T) {
	for _, declared := range []int64{-1, 11} {
		memory := newBudget(1 << 20)
		r, source := replayOf(strings.NewReader("hello world"), declared, 1<<10, memory)
		first := attemptOf(r)
		got, err := io.ReadAll(first)
		require.NoError(t, err)
		require.Equal(t, "hello world", string(got))
		require.NoError(t, first.Close())
		require.Zero(t, source.closed, "there may be another attempt")
		require.True(t, r.again())

		second := attemptOf(r)
		got, err = io.ReadAll(second)
		require.NoError(t, err)
		require.Equal(t, "hello world", string(got))
		r.finish()
		require.NoError(t, second.Close())
		require.NoError(t, second.Close())
		require.Equal(t, 1, source.closed)
		require.EqualValues(t, 1<<20, memory.left.Load(), "memory is given back")
	}
}

func TestABodyThatWasReadInPartIsSentWhole(t *testing.T) {
	r, _ := replayOf(strings.NewReader("hello world"), -1, 1<<10, newBudget(1<<20))
	first := attemptOf(r)
	_, err := io.ReadFull(first, make([]byte, 4))
	require.NoError(t, err)
	second := attemptOf(r)
	_, err = first.Read(make([]byte, 1))
	require.ErrorIs(t, err, errAttemptOver)
	got, err := io.ReadAll(second)
	require.NoError(t, err)
	require.Equal(t, "hello world", string(got))
}

func TestWhatABlockedReadBringsGoesToTheNextAttempt(t *testing.T) {
	for name, limit := range map[string]int64{"within the limit": 1 << 10, "above the limit": 6} {
		t.Run(name, func(t *testing.T) {
			pr, pw := io.Pipe()
			r := newReplay(&http.Request{Body: pr, ContentLength: -1}, limit, newBudget(1<<20))
			first := attemptOf(r)
			go func() { _, _ = pw.Write([]byte("hello ")) }()
			_, err := io.ReadFull(first, make([]byte, 6))
			require.NoError(t, err)

			blocked, reading := make(chan error, 1), make(chan struct{})
			go func() {
				close(reading)
				_, err := first.Read(make([]byte, 64)) // an http.Transport that has its answer already
				blocked <- err
			}()
			<-reading
			require.True(t, r.again())
			second := attemptOf(r)
			got := make([]byte, 6)
			_, err = io.ReadFull(second, got)
			require.NoError(t, err)
			require.Equal(t, "hello ", string(got), "what is kept comes although a read is blocked")

			go func() {
				_, _ = pw.Write([]byte("world"))
				_ = pw.Close()
			}()
			rest, err := io.ReadAll(second)
			require.NoError(t, err)
			require.Equal(t, "world", string(rest))
			require.Error(t, <-blocked)
			r.finish()
			require.NoError(t, second.Close())
		})
	}
}

// A Read that is under way when the answer is there may bring more than is kept.
// It must not undo that the body is repeatable once that has been said: the
// transport's goroutine, in which it would panic, takes the process with it.
func TestAReadThatEndsAfterTheDecisionToRepeatLosesNothing(t *testing.T) {
	reader, writer := io.Pipe()
	defer reader.Close()
	r, _ := replayOf(reader, -1, 4, newBudget(1<<10))
	first := attemptOf(r)
	read := make(chan error, 1)
	go func() {
		_, err := first.Read(make([]byte, 16))
		read <- err
	}()
	_, err := writer.Write([]byte("a")) // it is kept, and the next Read is the one under way
	require.NoError(t, err)
	require.NoError(t, <-read)
	go func() {
		_, err := first.Read(make([]byte, 16))
		read <- err
	}()
	require.Eventually(t, func() bool {
		if !r.reading.TryLock() {
			return true
		}
		r.reading.Unlock()
		return false
	}, 5*time.Second, time.Millisecond, "the Read is under way")

	require.True(t, r.again())
	_, err = writer.Write([]byte("bcdefg"))
	require.NoError(t, err)
	require.ErrorIs(t, <-read, errAttemptOver)
	second := attemptOf(r)
	got := make([]byte, 7)
	_, err = io.ReadFull(second, got)
	require.NoError(t, err)
	require.Equal(t, "abcdefg", string(got))
}

func TestABodyAboveTheLimitIsSentOnceAndNotKept(t *testing.T) {
	memory := newBudget(1 << 20)
	for _, declared := range []int64{-1, 2000} {
		r, source := replayOf(bytes.NewReader(make([]byte, 2000)), declared, 1000, memory)
		first := attemptOf(r)
		got, err := io.ReadAll(first)
		require.NoError(t, err)
		require.Len(t, got, 2000)
		require.False(t, r.again())
		require.Nil(t, r.kept)
		require.NoError(t, first.Close())
		r.finish()
		require.Equal(t, 1, source.closed)
		require.EqualValues(t, 1<<20, memory.left.Load())
	}
}

func TestCallsShareTheMemoryForBodies(t *testing.T) {
	memory := newBudget(10 << 10)
	a, _ := replayOf(bytes.NewReader(make([]byte, 8<<10)), 8<<10, 64<<10, memory)
	b, _ := replayOf(bytes.NewReader(make([]byte, 8<<10)), 8<<10, 64<<10, memory)
	_, err := io.ReadAll(attemptOf(a))
	require.NoError(t, err)
	_, err = io.ReadAll(attemptOf(b))
	require.NoError(t, err)
	require.True(t, a.again())
	require.False(t, b.again(), "the memory is all taken")
	a.finish()
	b.finish()
	require.EqualValues(t, 10<<10, memory.left.Load())
}

func TestAnAnswerBeforeTheBodysEndLetsTheRestThrough(t *testing.T) {
	memory := newBudget(1 << 20)
	r, source := replayOf(strings.NewReader("hello world"), -1, 1<<10, memory)
	first := attemptOf(r)
	_, err := io.ReadFull(first, make([]byte, 4))
	require.NoError(t, err)
	r.finish() // the answer is there
	rest, err := io.ReadAll(first)
	require.NoError(t, err)
	require.Equal(t, "o world", string(rest))
	require.EqualValues(t, 1<<20, memory.left.Load())
	require.Zero(t, source.closed)
	require.NoError(t, first.Close())
	require.Equal(t, 1, source.closed)
}

func TestABodyWithSomethingLeftIsTheServersToClose(t *testing.T) {
	pr, pw := io.Pipe()
	body := &closeCounter{PipeReader: pr}
	r := newReplay(&http.Request{Body: body, ContentLength: -1}, 1<<10, newBudget(1<<20))
	first := attemptOf(r)
	reading, done := make(chan struct{}), make(chan struct{})
	go func() {
		close(reading)
		_, _ = first.Read(make([]byte, 8))
		close(done)
	}()
	<-reading
	r.finish() // does not wait for the Read
	require.NoError(t, first.Close())
	_ = pw.CloseWithError(io.ErrUnexpectedEOF) // the caller hangs up
	<-done
	require.Zero(t, body.closes.Load())
}

type closeCounter struct {
	*io.PipeReader
	closes atomic.Int64
}

func (c *closeCounter) Close() error {
	c.closes.Add(1)
	return c.PipeReader.Close()
}

func TestABodyWithTrailersIsRepeatedOnceItsEndIsKnown(t *testing.T) {
	trailer := http.Header{"X-Sum": nil}
	r := newReplay(&http.Request{Body: io.NopCloser(strings.NewReader("hello")), ContentLength: -1, Trailer: trailer}, 1<<10, newBudget(1<<20))
	first := attemptOf(r)
	require.False(t, r.again())
	_, err := io.ReadAll(first)
	require.NoError(t, err)
	require.True(t, r.again())
	trailer.Set("X-Sum", "1")
	out := &http.Request{Trailer: trailer}
	r.attempt(out)
	require.Equal(t, http.Header{"X-Sum": {"1"}}, out.Trailer)
}

// The body's end writes into the trailers, in the goroutine that reads it: they
// are not looked at before, even if all that was announced is not sent.
func TestABodyWithTrailersThatAreNotSentWaitsForItsEndToo(t *testing.T) {
	trailer := http.Header{"Authorization": nil}
	r := newReplay(&http.Request{Body: io.NopCloser(strings.NewReader("hello")), ContentLength: -1, Trailer: trailer}, 1<<10, newBudget(1<<20))
	first := attemptOf(r)
	require.False(t, r.again())
	_, err := io.ReadAll(first)
	require.NoError(t, err)
	require.True(t, r.again())

	none, _ := replayOf(strings.NewReader("hello"), -1, 1<<10, newBudget(1<<20))
	none.attempt(new(http.Request))
	require.True(t, none.again())
	out := &http.Request{Trailer: http.Header{}} // as Caddy makes it for each body, and clears it at its end
	none.attempt(out)
	require.Nil(t, out.Trailer)
}

func TestAnErrorOfTheBodyReachesEveryAttempt(t *testing.T) {
	broken := errors.New("the caller hung up")
	r, _ := replayOf(io.MultiReader(strings.NewReader("hello"), brokenReader{broken}), -1, 1<<10, newBudget(1<<20))
	_, err := io.ReadAll(attemptOf(r))
	require.ErrorIs(t, err, broken)
	_, err = io.ReadAll(attemptOf(r))
	require.ErrorIs(t, err, broken)
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func TestACallWithoutABodyIsAlwaysRepeatable(t *testing.T) {
	r := newReplay(&http.Request{Body: http.NoBody}, 0, newBudget(0))
	out := &http.Request{Body: http.NoBody}
	r.attempt(out)
	require.Equal(t, http.NoBody, out.Body)
	require.True(t, r.again())
	r.finish()
}
