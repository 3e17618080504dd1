package caddymodule

import (
	"errors"
	"io"
)

var errAttemptOver = errors.New("the attempt that this body belongs to is over")

// attempt is the view of a replay that one attempt reads.
type attempt struct {
	*replay
	read int
	over bool
}

// unread returns how much of what is kept the attempt has yet to read.
func (a *attempt) unread() int { return a.total - a.read }

// Read returns what is kept first, and reads the source from there on.
func (a *attempt) Read(p []byte) (int, error) {
	if n, err, ok := a.readKept(p); ok {
		return n, err
	}
	a.reading.Lock()
	defer a.reading.Unlock()
	if n, err, ok := a.readKept(p); ok { // another attempt's Read was under way
		return n, err
	}
	n, err := a.source.Read(p)
	if err != nil {
		dropPrivate(a.trailer)
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	a.readLocked(a, p[:n])
	if err != nil {
		a.end = err
	}
	if a.over {
		return 0, errAttemptOver
	}
	return n, err
}

func (a *attempt) readKept(p []byte) (int, error, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.over:
		return 0, errAttemptOver, true
	case a.unread() > 0:
		n := copy(p, a.kept[len(a.kept)-a.unread():])
		a.read += n
		a.releaseLocked()
		return n, nil, true
	case a.end != nil:
		return 0, a.end, true
	}
	return 0, nil, false
}

// Close ends the attempt; the last one's ends the replay.
func (a *attempt) Close() error {
	a.mu.Lock()
	a.over = true
	last := a.final && a.current == a
	a.releaseLocked()
	a.mu.Unlock()
	if last {
		a.close()
	}
	return nil
}

// Interface guards
var (
	_ io.ReadCloser = (*attempt)(nil)
)
