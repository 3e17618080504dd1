package test

import (
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// unsaved is how many pairs a replica says it holds.
func (p *proxy) unsaved(t *testing.T) int {
	t.Helper()
	var health struct{ Unsaved int }
	get(t, p.URL+"/healthz").decode(t, &health)
	return health.Unsaved
}

// spilled lists the pairs on a replica's disk.
func (p *proxy) spilled(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "data/caddy/pleo/held/*/*.pair"))
	require.NoError(t, err)
	return files
}

// holdPair has the first replica refresh while Redis goes away, so that the new
// pair is on its disk and in its memory alone.
func (s *stand) holdPair(t *testing.T, connection string, away func(*redistest.Server) error) {
	t.Helper()
	hold := s.e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
	s.call(t, s.first, connection)
	await(t, hold)
	require.NoError(t, away(s.r))
	hold.Release()
	require.Eventually(t, func() bool { return len(s.first.spilled(t)) == 1 }, patience, tick)
	require.Eventually(t, func() bool { return s.first.unsaved(t) == 1 }, patience, tick)
	require.Equal(t, "degraded", s.first.healthStatus(t))
}

func TestFaultAnUnsavedPairIsInUseAgainAfterTheReplicasRestart(t *testing.T) {
	t.Parallel()
	together(t, map[string]func(*testing.T){
		"killed":                             killedWithAnUnsavedPair,
		"told to end while a stream is open": toldToEndWithAnUnsavedPair,
	})
}

func killedWithAnUnsavedPair(t *testing.T) {
	const row = "killed with an unsaved pair"
	var mu sync.Mutex
	var longest time.Duration
	var replays int
	kinds := []string{"killed", "hung", "killed, and the others have given it up"}
	rounds := count(len(kinds), 3*len(kinds))
	atOnce(t, len(kinds), rounds, func(t *testing.T, mine []int) {
		outage := outages[[]string{"killed", "hung", "killed"}[mine[0]%len(kinds)]]
		givenUp := mine[0]%len(kinds) == 2
		for range mine {
			s := startStand(t)
			s.connect(t, "default")
			s.holdPair(t, "default", outage.begin)
			s.killFirst()
			require.NoError(t, outage.end(s.r))
			if givenUp {
				require.True(t, fateAt(t, s.second, "default").lost, "nobody else has the pair")
			}

			began := time.Now()
			s.first.restart(t)
			awaitUse(t, s.first, "default")
			took := time.Since(began)
			awaitUse(t, s.second, "default")
			require.Equal(t, 1, s.e.Counters().RefreshRequests, "the pair that is in use is the one that was held")
			require.Eventually(t, func() bool { return len(s.first.spilled(t)) == 0 }, patience, tick)
			mu.Lock()
			longest, replays = max(longest, took), replays+s.e.Counters().Replays
			mu.Unlock()
		}
	})
	figure(t, row, "kills", rounds)
	figure(t, row, "longest from the start of the process to the first answer", rounded(longest))
	figure(t, row, "replays", replays)
	require.Zero(t, replays)
}

func toldToEndWithAnUnsavedPair(t *testing.T) {
	const row = "told to end with an open stream and an unsaved pair"
	s := startStand(t)
	s.connect(t, "default", "streaming")
	awaitUse(t, s.first, "streaming")
	req := request(t, http.MethodGet, s.first.URL+"/v1/export-stream?rows=1000000&interval=100ms", "", on("streaming"))
	stream, err := client.Transport.RoundTrip(req)
	require.NoError(t, err)
	defer stream.Body.Close()
	require.Equal(t, http.StatusOK, stream.StatusCode)
	_, err = stream.Body.Read(make([]byte, 1))
	require.NoError(t, err)
	s.holdPair(t, "default", outages["killed"].begin)

	began := time.Now()
	s.first.stop(t, syscall.SIGTERM)
	ended := time.Since(began)
	require.Len(t, s.first.spilled(t), 1)
	require.NoError(t, s.r.Restart())
	began = time.Now()
	s.first.restart(t)
	awaitUse(t, s.first, "default")
	took := time.Since(began)
	awaitUse(t, s.second, "default")
	awaitUse(t, s.second, "streaming")
	require.Equal(t, 2, s.e.Counters().RefreshRequests, "one for each connection")
	figure(t, row, "from SIGTERM to the end of the process, grace_period being 10s", rounded(ended))
	figure(t, row, "from the start of the process to the first answer", rounded(took))
	figure(t, row, "replays", s.e.Counters().Replays)
}
