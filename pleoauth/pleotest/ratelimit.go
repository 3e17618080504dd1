package pleotest

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// RateLimit is how many requests the authorisation server takes a second. A
// request beyond it is answered with 429 and Retry-After, is not processed and
// meets no [Fault]. What was refused does not count towards the limit.
type RateLimit struct {
	// Requests is how many are taken in any one second at the token and the
	// introspection endpoint together. 0: no limit.
	Requests int
	// Token and Introspect limit either endpoint alone, in addition. 0: no limit.
	Token      int
	Introspect int
	// RetryAfter is the form of Retry-After. Default: [Seconds].
	RetryAfter RetryAfter
	// Wait is how far ahead Retry-After points, in whole seconds, rounded up.
	// Default: until the limit has room again, which is at most a second.
	Wait time.Duration
}

// RetryAfter is a form of the header of that name (RFC 9110 section 10.2.3).
type RetryAfter string

// The forms.
const (
	// Seconds is a number: "Retry-After: 7".
	Seconds RetryAfter = "seconds"
	// HTTPDate is a moment by the emulator's clock, which the header Date shows
	// and [WithClockAhead] moves: "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT".
	HTTPDate RetryAfter = "date"
	// NoRetryAfter leaves the header out.
	NoRetryAfter RetryAfter = "none"
)

func (l RateLimit) check() error {
	switch l.RetryAfter {
	case "", Seconds, HTTPDate, NoRetryAfter:
	default:
		return fmt.Errorf("rate limit: no form %q of Retry-After", l.RetryAfter)
	}
	if l.Requests < 0 || l.Token < 0 || l.Introspect < 0 || l.Wait < 0 {
		return errors.New("rate limit: a limit or wait cannot be negative")
	}
	return nil
}

// SetRateLimit limits requests from now on. What was taken in the last second
// counts; the zero value is no limit.
func (e *Emulator) SetRateLimit(limit RateLimit) error {
	if err := limit.check(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.limit = limit
	return nil
}

// SetClockAhead moves the emulator's clock; see [WithClockAhead].
func (e *Emulator) SetClockAhead(ahead time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ahead = ahead
}

// window holds the moments of the last second, the oldest first.
type window []time.Time

// add puts in a moment and returns how many there are now.
func (w *window) add(now time.Time) int {
	w.prune(now)
	*w = append(*w, now)
	return len(*w)
}

func (w *window) prune(now time.Time) {
	old := 0
	for old < len(*w) && now.Sub((*w)[old]) >= time.Second {
		old++
	}
	*w = (*w)[old:]
}

// room returns how long it takes until fewer than limit moments are left: 0 if
// there is room now, or no limit.
func (w *window) room(limit int, now time.Time) time.Duration {
	w.prune(now)
	if limit == 0 || len(*w) < limit {
		return 0
	}
	return (*w)[len(*w)-limit].Add(time.Second).Sub(now)
}

// admitted are the requests that were let through, for the limits.
type admitted struct{ all, token, introspect window }

// limited lets a request through, or answers it with 429.
func (e *Emulator) limited(endpoint Endpoint, w http.ResponseWriter) bool {
	if endpoint != Token && endpoint != Introspect {
		return false
	}
	e.mu.Lock()
	limit, now, ahead := e.limit, time.Now(), e.ahead
	own, most := &e.admitted.token, limit.Token
	if endpoint == Introspect {
		own, most = &e.admitted.introspect, limit.Introspect
	}
	wait := max(e.admitted.all.room(limit.Requests, now), own.room(most, now))
	if wait == 0 {
		e.admitted.all.add(now)
		own.add(now)
		e.mu.Unlock()
		return false
	}
	e.countLocked(func(c *Counters) {
		if endpoint == Token {
			c.TokenRequestsLimited++
		} else {
			c.IntrospectionsLimited++
		}
	})
	e.mu.Unlock()
	if limit.Wait > 0 {
		wait = limit.Wait
	}
	switch limit.RetryAfter {
	case NoRetryAfter:
	case HTTPDate:
		w.Header().Set("Retry-After", httpDate(now.Add(ahead+wait+time.Second-1)))
	case Seconds, "":
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	(&oauthError{http.StatusTooManyRequests, "rate_limited", "too many requests"}).write(w)
	return true
}

// httpDate is a moment as HTTP spells it, in whole seconds, rounded down.
func httpDate(at time.Time) string { return at.UTC().Format(http.TimeFormat) }

// dated puts the date of the emulator's clock on answers, where that clock is
// ahead: net/http would use the real one.
func (e *Emulator) dated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&datedWriter{ResponseWriter: w, emulator: e}, r)
	})
}

type datedWriter struct {
	http.ResponseWriter
	emulator *Emulator
	sent     bool
}

// Unwrap lets http.ResponseController reach the connection.
func (w *datedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *datedWriter) WriteHeader(status int) {
	if !w.sent {
		w.emulator.date(w.Header())
	}
	w.sent = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *datedWriter) Write(b []byte) (int, error) {
	if !w.sent {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// date sets the header Date, if the clock is ahead and a fault has not set it.
func (e *Emulator) date(h http.Header) {
	e.mu.Lock()
	ahead := e.ahead
	e.mu.Unlock()
	if ahead != 0 && h.Get("Date") == "" {
		h.Set("Date", httpDate(time.Now().Add(ahead)))
	}
}
