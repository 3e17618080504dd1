package pleoauth_test

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// pace is what Pleo has asked a process for: not to send anything until then.
type pace struct {
	until time.Time
	early int // requests that it has sent all the same
}

// earlyAtMost is how many requests a process may send after it was asked to wait:
// those that had their turn when the 429 came, one for each connection.
const earlyAtMost = 8

// planLimit has Pleo take a few requests a second from the client, and answer the
// rest with 429 and a Retry-After, in seconds or as a date of a server whose clock
// is another.
func (s *sim) planLimit() {
	each, wait := s.between(300*time.Millisecond, time.Second), 1+s.odds.IntN(10)
	dated, ahead := s.chance(2), s.between(-time.Hour, time.Hour)
	s.in(s.between(0, s.window/2), "a limit at Pleo", func() {
		header := http.Header{"Retry-After": {strconv.Itoa(wait)}}
		if dated { // the distance between both dates is what counts
			now := time.Now().Add(ahead).UTC()
			header.Set("Date", now.Format(http.TimeFormat))
			header.Set("Retry-After", now.Add(time.Duration(wait)*time.Second).Format(http.TimeFormat))
		}
		s.say("Pleo takes one request in %v from the client, and two at once, else 429 with %v", each, header)
		var free time.Time // the requests that were let through fill the time up to here
		limited := func(*http.Request) bool {
			now := time.Now()
			if free.Before(now) {
				free = now
			}
			if free.Sub(now) >= 2*each {
				return true
			}
			free = free.Add(each)
			return false
		}
		for _, endpoint := range []pleotest.Endpoint{pleotest.Token, pleotest.Introspect} {
			s.pleo.Fault(pleotest.Fault{Endpoint: endpoint, Match: limited, Status: 429, Header: header, Times: pleotest.Always})
		}
	})
}

// told429 notes how long a process was asked to wait.
func (p *process) told429(answer []byte) {
	head, _, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	until := time.Now().Add(retryAfterOf(headerOf(head, "Retry-After"), headerOf(head, "Date")))
	p.mu.Lock()
	defer p.mu.Unlock()
	if !time.Now().Before(p.pace.until) {
		p.pace.early = 0
	}
	if until.After(p.pace.until) {
		p.pace.until = until
	}
}

// keepsPace: I4, one pace for one client. A process that Pleo has asked to wait,
// waits with all that no person waits for.
func (p *process) keepsPace() {
	p.mu.Lock()
	if time.Now().Before(p.pace.until) {
		p.pace.early++
	}
	early := p.pace.early
	p.mu.Unlock()
	if early > earlyAtMost {
		p.sim.broken("I4: %s has sent %d requests although Pleo had asked it to wait", p, early)
	}
}

// retryAfterOf reads a Retry-After, a date by that of the same answer.
func retryAfterOf(value, date string) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	now, errNow := http.ParseTime(date)
	if err != nil || errNow != nil {
		return 0
	}
	return at.Sub(now)
}
