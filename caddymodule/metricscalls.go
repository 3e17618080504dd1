package caddymodule

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// The outcomes of calls.
const (
	callForwarded   = "forwarded"   // Pleo's answer was passed on
	callRepeated    = "repeated"    // the same, after the call was sent again with another token
	callRefused     = "refused"     // Pleo's 401 was passed on: the token lives, and it is about the call
	callUnreachable = "unreachable" // no answer came: Caddy's own 502 or 504
	callAbandoned   = "abandoned"   // the caller went away
	callAnswered    = "answered"    // with a problem of our own
)

// problemTypes are what the types of our answers to calls end in.
var problemTypes = []string{
	"invalid-connection", "not-connected", "reauthorisation-required", "client-not-allowed", "client-rejected",
	"refresh-failed", "refresh-unsettled", "store-unavailable", "call-not-repeated", "method-not-supported", "no-such-route",
}

// callCounters count calls by outcome. They are looked up once: each call
// passes here.
type callCounters struct {
	forwarded, repeated, refused, unreachable, abandoned prometheus.Counter
	answered                                             map[string]prometheus.Counter // by problem
}

func (c *callCounters) init() *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pleo_calls_total",
		Help: "Calls by outcome; those answered by the proxy itself also by problem.",
	}, []string{"outcome", "problem"})
	c.forwarded = vec.WithLabelValues(callForwarded, "")
	c.repeated = vec.WithLabelValues(callRepeated, "")
	c.refused = vec.WithLabelValues(callRefused, "")
	c.unreachable = vec.WithLabelValues(callUnreachable, "")
	c.abandoned = vec.WithLabelValues(callAbandoned, "")
	c.answered = make(map[string]prometheus.Counter, len(problemTypes))
	for _, problem := range problemTypes {
		c.answered[problem] = vec.WithLabelValues(callAnswered, problem)
	}
	return vec
}

// sent counts a call that was sent, again if it had been refused before, and
// came back with err.
func (c *callCounters) sent(req *http.Request, again bool, err error) {
	switch {
	case err != nil && req.Context().Err() != nil:
		c.abandoned.Inc()
	case err != nil:
		c.unreachable.Inc()
	case again:
		c.repeated.Inc()
	default:
		c.forwarded.Inc()
	}
}

func (c *callCounters) problem(p *problem) {
	if counter := c.answered[strings.TrimPrefix(p.Type, problemType)]; counter != nil {
		counter.Inc()
	}
}
