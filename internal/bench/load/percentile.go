//go:build linux

package load

import (
	"math"
	"slices"
	"time"
)

// Percentile returns the value that p hundredths of all do not exceed, and 0 of
// none. It sorts them.
func Percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all), max(1, int(math.Ceil(p/100*float64(len(all))))))-1]
}
