package test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// progress says how far the first replica's refresh has come, as its links see
// it, and does something at one moment of it.
type progress struct {
	mu sync.Mutex
	// steps counts messages: each is a step before it is passed on, and those
	// that the replica sends are another one afterwards.
	steps   int
	marking *linkConn // the connection that the mark has reached Redis on
	// due and coming are set when the refresh token and its answer are about to
	// be passed on: what follows may overtake that.
	due, coming     bool
	answered, saved bool // the answer, and what came of it, have been passed on

	when    moment
	do      func() (pass bool)
	reached chan struct{} // closed once it has been done
	until   <-chan struct{}
}

// moment tells whether a message comes at the moment that is meant.
type moment func(p *progress, m message) bool

// step is the k-th message, counted from 1.
func step(k int) moment { return func(p *progress, _ message) bool { return p.steps == k } }

// The moments of a refresh, before a message is passed on; afterSend alone is
// when it has been.
var (
	atLock moment = func(p *progress, m message) bool {
		return !m.passed && m.to == toServer && bytes.Contains(m.bytes, []byte(":lock:")) && !isWrite(m)
	}
	atMark moment = func(p *progress, m message) bool { return !m.passed && isWrite(m) && !p.due }
	// atMarked is when Redis has the mark, and the replica does not know yet.
	atMarked moment = func(p *progress, m message) bool {
		return !m.passed && m.to == toClient && m.conn == p.marking && !p.due
	}
	atSend    moment = func(p *progress, m message) bool { return !m.passed && isRefresh(m) }
	afterSend moment = func(p *progress, m message) bool { return m.passed && isRefresh(m) }
	atAnswer  moment = func(p *progress, m message) bool { return !m.passed && isAnswer(m) && p.due }
	atSave    moment = func(p *progress, m message) bool { return !m.passed && isWrite(m) && p.coming }
)

func isRefresh(m message) bool {
	return m.to == toServer && bytes.Contains(m.bytes, []byte("POST /oauth/token HTTP"))
}

func isAnswer(m message) bool {
	return m.to == toClient && bytes.Contains(m.bytes, []byte(`"refresh_token":`))
}

// isWrite tells a swap of a record from other commands: it has its fields.
func isWrite(m message) bool {
	return m.to == toServer && bytes.Contains(m.bytes, []byte("generation"))
}

// observe watches both links. do is called once, at the given moment, with the
// message kept where it is until it returns; what it returns says whether the
// message is passed on then. Without a moment it only watches.
func (s *stand) observe(when moment, do func() (pass bool)) *progress {
	return s.observeHolding(when, do, nil)
}

// observeHolding also keeps that message where it is until a channel is closed.
func (s *stand) observeHolding(when moment, do func() (pass bool), until <-chan struct{}) *progress {
	p := &progress{when: when, do: do, reached: make(chan struct{}), until: until}
	s.toRedis.setWatcher(p.see)
	s.toPleo.setWatcher(p.see)
	return p
}

func (s *stand) ignore() {
	s.toRedis.setWatcher(nil)
	s.toPleo.setWatcher(nil)
}

func (p *progress) see(m message) bool {
	if !p.note(m) {
		return true
	}
	pass := p.do()
	close(p.reached)
	if p.until != nil {
		<-p.until
	}
	return pass
}

// note reports whether the moment has come.
func (p *progress) note(m message) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.to == toServer || !m.passed {
		p.steps++
	}
	now := p.when != nil && p.when(p, m)
	switch {
	case isRefresh(m):
		p.due = true
	case isAnswer(m) && p.due:
		p.coming, p.answered = true, p.answered || m.passed
	case m.passed && isWrite(m):
		p.saved = p.saved || p.coming
		if !p.due {
			p.marking = m.conn
		}
	}
	if now {
		p.when = nil
	}
	return now
}

// await waits until the moment has come and what is done then has been done.
func (p *progress) await(t *testing.T) {
	t.Helper()
	select {
	case <-p.reached:
	case <-time.After(patience):
		require.FailNow(t, "the refresh does not come to that moment")
	}
}

// doNow does what the moment was waited for, unless it has been done, and
// returns when it has been.
func (p *progress) doNow() {
	p.mu.Lock()
	pending := p.when != nil
	p.when = nil
	p.mu.Unlock()
	if pending {
		p.do()
		close(p.reached)
	}
	<-p.reached
}

// mayLose reports whether the only copy of a pair may have been in the replica
// or on its way to it.
func (p *progress) mayLose() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.due && !p.saved
}

// whole reports whether a refresh has been seen from its mark to its end.
func (p *progress) whole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.marking != nil && p.due && p.coming && p.saved
}

func (p *progress) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.steps
}

// unanswered reports whether a token has left, or was about to, whose answer has
// not come.
func (p *progress) unanswered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.due && !p.answered
}
