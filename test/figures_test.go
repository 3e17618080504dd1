package test

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

var figuresFile = flag.String("figures", "", "a JSON file that what is measured is written to, beside what it has")

// long plays the long selection of faults, as `make faults` does: every step, every
// moment, whole minutes. Without it each kind is played once or twice.
var long = flag.Bool("faults", false, "play the long selection of faults")

// count returns how many rounds of a fault are to be played.
func count(short, all int) int {
	if *long {
		return all
	}
	return short
}

var figuresLock sync.Mutex

// figure notes what a test has measured of a fault, for the documentation: row
// names the fault's row there, name the figure. Without -figures it is logged.
func figure(t *testing.T, row, name string, value any) {
	t.Helper()
	t.Logf("%s: %s: %v", row, name, value)
	if *figuresFile == "" {
		return
	}
	figuresLock.Lock()
	defer figuresLock.Unlock()
	all := map[string]map[string]any{}
	text, err := os.ReadFile(*figuresFile)
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &all))
	}
	if all[row] == nil {
		all[row] = map[string]any{}
	}
	all[row][name] = value
	text, err = json.MarshalIndent(all, "", "\t")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(*figuresFile, append(text, '\n'), 0o644))
}
