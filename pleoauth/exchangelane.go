package pleoauth

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// exchangesAtOnce is how many exchanges are under way at the same time.
	exchangesAtOnce = 16
	// failedExchanges is how many exchanges may fail at once, and then in a second,
	// before the next has to wait.
	failedExchanges = 10
)

// exchangeLane bounds exchanges. They have no part in the pace of refreshes: every
// browser that can open the authorise route can bring exchanges about that Pleo refuses, limits
// or never answers, for as many names as there are.
type exchangeLane struct {
	mu    sync.Mutex
	under int
	// failures is what is left to fail.
	failures *rate.Limiter
}

func newExchangeLane() *exchangeLane {
	return &exchangeLane{failures: rate.NewLimiter(1, failedExchanges)}
}

// enter reports whether an exchange may begin. After true, leave has to be called.
func (l *exchangeLane) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.under >= exchangesAtOnce || l.failures.TokensAt(time.Now()) < 1 {
		return false
	}
	l.under++
	return true
}

// leave ends an exchange, which may have failed.
func (l *exchangeLane) leave(failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under--
	if failed {
		l.failures.Allow()
	}
}
