package caddymodule

import (
	"math/rand/v2"
	"sync/atomic"
)

// stripes count what every call does. Callers add to one of many lines of
// memory, so that cores do not wait for each other.
type stripes [64]struct {
	n atomic.Uint64
	_ [120]byte // to the end of two cache lines: processors fetch them in pairs
}

func (s *stripes) add() {
	s[rand.Uint32()%uint32(len(s))].n.Add(1) //nolint:gosec // it spreads, and protects nothing
}

func (s *stripes) sum() uint64 {
	var sum uint64
	for i := range s {
		sum += s[i].n.Load()
	}
	return sum
}
