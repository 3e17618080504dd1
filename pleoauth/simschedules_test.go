package pleoauth_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	seeds     = flag.Int("seeds", defaultSeeds(), "how many schedules TestSimulatedSchedules plays")
	firstSeed = flag.Int("seed", 0, "the first of them; with -seeds 1 and -v one schedule is played and told")
	workers   = flag.Int("workers", 1, "how many processes share them")
	portion   = flag.Int("portion", 0, "after how many schedules to say what has come of them so far; 0: in the end")
	tallyFile = flag.String("tally", "", "a JSON file for that; a run that was interrupted goes on from it")
)

// schedulesInTests is how many every run of the tests plays.
const schedulesInTests = 2000

// defaultSeeds is less under the race detector: the others are then played
// without it, by TestTheAbsenceOfEveryRuleIsCaught with no rule
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
// A seed plays its schedule again, but for what happens at the very same instant.
func TestSimulatedSchedules(t *testing.T) {
	tally := resumedTally(t)
	for tally.Schedules < *seeds && !t.Failed() {
		from, to := *firstSeed+tally.Schedules, *firstSeed+*seeds
		if *portion > 0 {
			to = min(to, from+*portion)
		}
		if *workers > 1 {
			tally.add(to-from, shareSchedules(t, from, to))
		} else {
			tally.add(to-from, playSchedules(t, from, to))
		}
		fmt.Println(tally)
		if *tallyFile != "" && !t.Failed() {
			text, err := json.MarshalIndent(tally, "", "\t")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(*tallyFile, append(text, '\n'), 0o644))
		}
	}
}

func playSchedules(t *testing.T, from, to int) (all simOutcome) {
	for seed := from; seed < to && !t.Failed(); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			outcome := simulate(t, uint64(seed), *seeds == 1, mutant{})
			require.Empty(t, outcome.violation, "play it again with -seeds 1 -seed %d -v", seed)
			all.add(outcome)
		})
	}
	return all
}

// shareSchedules has several processes play a part of the schedules each.
func shareSchedules(t *testing.T, from, to int) (all simOutcome) {
	var mu sync.Mutex
	var group sync.WaitGroup
	dir := t.TempDir()
	for w := range *workers {
		first, end := from + (to-from)*w / *workers, from + (to-from)*(w+1) / *workers
		if first == end {
			continue
		}
		group.Go(func() {
			file := filepath.Join(dir, strconv.Itoa(w))
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout", "0", "-test.run", "^TestSimulatedSchedules$",
				"-seed", strconv.Itoa(first), "-seeds", strconv.Itoa(end-first), "-tally", file)
			out, err := cmd.CombinedOutput()
			mu.Lock()
			defer mu.Unlock()
			var part simTally
			text, readErr := os.ReadFile(file)
			if err != nil || readErr != nil || json.Unmarshal(text, &part) != nil {
				t.Errorf("schedules %d to %d: %v\n%s", first, end-1, err, out)
				return
			}
			all.add(part.simOutcome)
		})
	}
	group.Wait()
	return all
}

// resumedTally is what an interrupted run of the same code has left.
func resumedTally(t *testing.T) (tally simTally) {
	text, err := os.ReadFile(*tallyFile)
	code := codeID(t)
	if err != nil || json.Unmarshal(text, &tally) != nil || tally.Code != code || tally.Schedules >= *seeds {
		return simTally{Code: code}
	}
	return tally
}

// codeID identifies what is simulated, and how.
func codeID(t *testing.T) string {
	hash := sha256.New()
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	below, err := filepath.Glob("internal/*/*.go")
	require.NoError(t, err)
	for _, file := range append(files, below...) {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if !strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "sim") || strings.HasPrefix(file, "mem") {
			fmt.Fprintln(hash, file, len(text))
			hash.Write(text)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
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
	// Code identifies the sources that were simulated.
	Code string `json:"code"`
}

func (s *simTally) add(schedules int, o simOutcome) {
	s.Schedules += schedules
	s.simOutcome.add(o)
}

func (s *simOutcome) add(o simOutcome) {
	s.Refreshes += o.Refreshes
	s.Replays += o.Replays
	s.Lost += o.Lost
	s.Faults += o.Faults
}

func (s simTally) String() string {
	return fmt.Sprintf("%d schedules, %d faults, %d refreshes: %d replays, %d grants lost with a process or an answer, all others in use",
		s.Schedules, s.Faults, s.Refreshes, s.Replays, s.Lost)
}
