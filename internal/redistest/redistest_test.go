package redistest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestServerRestartsOnItsPortWithWhatItKept(t *testing.T) {
	s := Start(t, WithAppendOnly())
	c := s.Client(t)
	require.NoError(t, c.Set(t.Context(), "key", "value", 0).Err())
	require.Contains(t, s.Dump(t), "key string forever value")
	addr := s.Addr()
	s.Kill()
	require.Error(t, c.Ping(t.Context()).Err())
	require.NoError(t, s.Restart())
	require.Equal(t, addr, s.Addr())
	require.Eventually(t, func() bool {
		return c.Get(t.Context(), "key").Val() == "value"
	}, 10*time.Second, 20*time.Millisecond)
}

func TestAPortThatIsTakenMeanwhileIsReplacedByAnother(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, sentinel := range []bool{false, true} {
		s := &Server{dir: t.TempDir(), sentinel: sentinel, do: func(f func()) { f() }}
		choices := 0
		require.NoError(t, s.startOn(func() error {
			if choices++; choices == 1 {
				s.port = taken.Addr().(*net.TCPAddr).Port
				return nil
			}
			return s.choosePorts()
		}))
		t.Cleanup(s.Kill)
		require.Equal(t, 2, choices)
		require.True(t, s.answers())
	}
}

func TestPausedServerAnswersOnceItGoesOn(t *testing.T) {
	s := Start(t)
	c := s.Client(t)
	require.NoError(t, s.Pause())
	answered := make(chan error, 1)
	go func() { answered <- c.Ping(context.WithoutCancel(t.Context())).Err() }()
	select {
	case err := <-answered:
		require.Fail(t, "a paused server answered", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, s.Continue())
	require.NoError(t, <-answered)
}

func TestMissingServerIsAFailureThatSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := New(t.TempDir())
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "apt-get install redis-server")
}
