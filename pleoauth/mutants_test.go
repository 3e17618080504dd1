package pleoauth_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// mutant spoils what the protocol relies on, from outside: the store, or the
// layers on the way to Pleo. The simulation must catch each; where it did not, it
// would prove nothing. What is taken out of the protocol itself is in
// rules_test.go.
type mutant struct {
	swap         func(next *pleoauth.Record) (unconditional bool)
	sameRun      bool
	resend       bool
	pauseInWrite bool
}

// mutantLimit is how many schedules a mutant may survive; the one that has caught
// it is played first.
const mutantLimit = 4000

func TestTheSimulationCatchesWhatGoesWrongBelowTheProtocol(t *testing.T) {
	for name, m := range map[string]struct {
		mutant
		caughtBy uint64 // a schedule, by its seed
	}{
		"a store that forgets marks": {mutant{swap: func(next *pleoauth.Record) bool {
			next.Mark = nil
			return false
		}}, 0},
		"a store that compares nothing":                                             {mutant{swap: func(*pleoauth.Record) bool { return true }}, 14},
		"a store whose failover is not noticed":                                     {mutant{sameRun: true}, 36},
		"a layer below that sends again":                                            {mutant{resend: true}, 0},
		"a pause between the clock check and the write, which no protocol excludes": {mutant{pauseInWrite: true}, 1064},
	} {
		t.Run(name, func(t *testing.T) {
			for k := range uint64(mutantLimit) {
				seed := (m.caughtBy + k) % mutantLimit
				var outcome simOutcome
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					outcome = simulate(t, seed, false, m.mutant)
				})
				if outcome.violation != "" {
					t.Logf("caught by schedule %d: %s", seed, outcome.violation)
					return
				}
			}
			require.Fail(t, "the mutant lives", "after %d schedules", mutantLimit)
		})
	}
}
