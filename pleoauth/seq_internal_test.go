package pleoauth

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Two users consent one after the other, through replicas whose clocks are ten
// minutes apart; the first one's grant is held, and comes to the store last. The
// later consent stands. (exchangeOnce, with the clocks as arguments.)
func TestTheLaterConsentStandsAlthoughItsReplicasClockIsBehind(t *testing.T) {
	now := time.Now()
	snap := Snapshot{Record: Record{}, Run: "run", Now: now, ReadAt: now}
	consent := func(name string, clock time.Time, settled string) stored {
		seq := nextSeq(snap.Record, clock)
		marked, err := writeMark(snap.Version, Mark{Nonce: name, Kind: MarkAuthorise, Seq: seq, Life: 15 * time.Second}, settled, Introspection{})(snap)
		require.NoError(t, err)
		snap.Record = marked
		return stored{pair: &pair{seq: seq, generation: marked.Generation + 1, lineage: name, version: name, obtained: now}}
	}
	first := consent("first", now.Add(10*time.Minute), "")
	second := consent("second", now.Add(time.Minute), "first") // the mark is over
	after, err := writeAuthorise(second)(snap)
	require.NoError(t, err)
	snap.Record = after
	_, err = writeAuthorise(first)(snap)
	require.ErrorIs(t, err, errRefused)
}
