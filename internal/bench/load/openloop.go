//go:build linux

package load

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Open makes rate calls a second for warm and then for length, whatever becomes
// of those before; only the latter is measured. A call's time counts from when it
// was due, so that a server that falls behind is seen to do so.
func Open(t *Target, rate float64, warm, length time.Duration) Measured {
	// A thread of its own that sleeps in the kernel: Go's timers are late by up
	// to a millisecond where nothing else happens, which is more than a call takes.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)

	var phase atomic.Int32
	callers := make([]caller, len(t.Conns))
	due := make([]chan time.Time, len(t.Conns))
	free := make(chan int, len(t.Conns))
	var group sync.WaitGroup
	for i := range callers {
		due[i] = make(chan time.Time, 1)
		free <- i
		names := t.Names()
		group.Go(func() {
			for at := range due[i] {
				measured := phase.Load() == measuring
				err := t.Conns[i].Call(t.Request, names())
				if measured {
					callers[i].note(time.Since(at), err)
				}
				free <- i
			}
		})
	}
	m := Measured{}
	began := time.Now()
	every := time.Duration(float64(time.Second) / rate)
	var cpu time.Duration
	for n := 0; ; n++ {
		at := began.Add(time.Duration(n) * every)
		if at.Sub(began) >= warm && phase.Load() == warming {
			cpu = t.CPU()
			phase.Store(measuring)
		}
		if at.Sub(began) >= warm+length {
			break
		}
		sleepUntil(at)
		due[<-free] <- at
	}
	m.Took, m.CPU = time.Since(began)-warm, t.CPU()-cpu
	for _, d := range due {
		close(d)
	}
	group.Wait()
	return m.sum(callers)
}

func sleepUntil(at time.Time) {
	for wait := time.Until(at); wait > 0; wait = time.Until(at) {
		_ = unix.Nanosleep(new(unix.NsecToTimespec(wait.Nanoseconds())), nil)
	}
}
