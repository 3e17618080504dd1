package pleoauth_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	seeds     = flag.Int("seeds", defaultSeeds(), "how many schedules TestSimulatedSchedules plays")
	firstSeed = flag.Int("seed", 0, "the first of them; with -seeds 1 and -v one schedule is played and told")
	workers   = flag.Int("workers", 1, "how many processes share them")
	progress  = flag.Int("progress", 0, "after how many schedules to say how far it is; 0: never")
	tallyFile = flag.String("tally", "", "a JSON file for what came of them, for the documentation")
)

// schedulesInTests is how many every run of the tests plays.
const schedulesInTests = 2000

// defaultSeeds is less under the race detector: the others are then played
// without it, by TestTheSimulationCatchesEveryRuleThatIsTakenOut with no rule
// taken out.
func defaultSeeds() int {
	if raceDetector {
		return schedulesInTests / 10
	}
	return schedulesInTests
}

// TestSimulatedSchedules plays schedules of replicas, store and Pleo in virtual
// time, each made from its seed: latencies, who calls when, and faults between
// the steps of the protocol. It judges after every step, and once more when the
// faults have ended.
//
// A schedule runs on one processor, so that its seed plays it again.
func TestSimulatedSchedules(t *testing.T) {
	var tally simTally
	if *workers > 1 {
		tally = shareSchedules(t)
	} else {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		for i := range *seeds {
			seed := *firstSeed + i
			t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
				outcome := simulate(t, uint64(seed), *seeds == 1, mutant{})
				require.Empty(t, outcome.violation, "play it again with -seeds 1 -seed %d -v", seed)
				tally.add(1, outcome)
			})
			if t.Failed() {
				break
			}
			if *progress > 0 && (i+1)%*progress == 0 {
				fmt.Println(tally)
			}
		}
	}
	fmt.Println(tally)
	if *tallyFile != "" && !t.Failed() {
		text, err := json.MarshalIndent(tally, "", "\t")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(*tallyFile, append(text, '\n'), 0o644)) //nolint:gosec // it is documentation
	}
}

// shareSchedules has several processes play a part of the schedules each.
func shareSchedules(t *testing.T) (all simTally) {
	var mu sync.Mutex
	var group sync.WaitGroup
	dir := t.TempDir()
	for w := range *workers {
		from, to := *seeds*w / *workers, *seeds*(w+1) / *workers
		group.Go(func() {
			file := filepath.Join(dir, strconv.Itoa(w))
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout", "0", "-test.run", "^TestSimulatedSchedules$",
				"-seed", strconv.Itoa(*firstSeed+from), "-seeds", strconv.Itoa(to-from), "-progress", strconv.Itoa(*progress), "-tally", file)
			cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
			err := cmd.Run()
			mu.Lock()
			defer mu.Unlock()
			var part simTally
			text, readErr := os.ReadFile(file)
			if err != nil || readErr != nil || json.Unmarshal(text, &part) != nil {
				t.Errorf("schedules %d to %d: %v", *firstSeed+from, *firstSeed+to-1, err)
				return
			}
			all.add(part.Schedules, part.simOutcome)
		})
	}
	group.Wait()
	return all
}

// simOutcome is what came of a schedule, or of many.
type simOutcome struct {
	Faults    int `json:"faults"`
	Refreshes int `json:"refreshes"`
	Replays   int `json:"replays"`
	// Lost are grants that went with a process, or with an answer.
	Lost      int    `json:"lost"`
	violation string // the first one, "" if there was none
}

type simTally struct {
	Schedules int `json:"schedules"`
	simOutcome
}

func (s *simTally) add(schedules int, o simOutcome) {
	s.Schedules += schedules
	s.Refreshes += o.Refreshes
	s.Replays += o.Replays
	s.Lost += o.Lost
	s.Faults += o.Faults
}

func (s simTally) String() string {
	return fmt.Sprintf("%d schedules, %d faults, %d refreshes: %d replays, %d grants lost with a process or an answer, all others in use",
		s.Schedules, s.Faults, s.Refreshes, s.Replays, s.Lost)
}
