package webhook

import (
	"math/rand/v2"
	"time"
)

// waits are those after the first failures; the last one holds for all that
// follow. With maxAttempts a message is tried for about three days.
var waits = []time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute,
	30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour,
}

const maxAttempts = 20

// wait is how long to wait after so many attempts, give or take a fifth.
func wait(attempts int) time.Duration {
	d := waits[min(max(attempts, 1), len(waits))-1]
	return d - d/5 + rand.N(2*d/5) //nolint:gosec // it spreads work, and protects nothing
}
