package pleoauth_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// mutant spoils one rule of the protocol, from outside: in the store, or on the
// way to Pleo. The simulation must catch each; where it did not, it would prove
// nothing.
type mutant struct {
	swap         func(next *pleoauth.Record) (unconditional bool)
	sameRun      bool
	resend       bool
	pauseInWrite bool

	// from is the schedule that the search begins at: one before the first
	// that is known to catch the mutant.
	from uint64
}

func TestTheSimulationCatchesEveryMutant(t *testing.T) {
	for name, m := range map[string]mutant{
		"no mark": {swap: func(next *pleoauth.Record) bool {
			next.Mark = nil
			return false
		}},
		"a mark that is over at once, so that 'active' is believed early": {swap: func(next *pleoauth.Record) bool {
			if next.Mark != nil {
				short := *next.Mark
				short.Life = 0
				next.Mark = &short
			}
			return false
		}},
		"no condition on writes":                                                    {from: 330, swap: func(*pleoauth.Record) bool { return true }},
		"a store whose failover is not noticed":                                     {sameRun: true},
		"a layer below that sends again":                                            {resend: true},
		"a pause between the clock check and the write, which no protocol excludes": {from: 430, pauseInWrite: true},
		"a restored grant without an unknown mark": {swap: func(next *pleoauth.Record) bool {
			if next.Mark != nil && next.Mark.Kind == pleoauth.MarkUnknown {
				next.Mark = nil
			}
			return false
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const limit = 2000
			for seed := m.from; seed < m.from+limit; seed++ {
				var outcome simOutcome
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					outcome = simulate(t, seed, false, m)
				})
				if outcome.violation != "" {
					t.Logf("caught by schedule %d: %s", seed, outcome.violation)
					return
				}
			}
			require.Fail(t, "the mutant lives", "after %d schedules", limit)
		})
	}
}
