package webhook

import (
	"testing"
	"time"
)

// PollEvery has a test's workers look for what others have left less often, so
// that days of virtual time cost no more than what happens in them.
func PollEvery(t *testing.T, d time.Duration) {
	before := longestPoll
	longestPoll = d
	t.Cleanup(func() { longestPoll = before })
}
