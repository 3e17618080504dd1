package pleoauth_test

import (
	"slices"
	"time"
)

// theme is what a schedule is about beside the faults of plan and moreFaults. A
// schedule has one at the most: two together are often what no protocol excludes.
type theme string

const (
	plain         theme = ""
	splitStore    theme = "a split store"
	strangeHand   theme = "a strange hand on the store"
	otherConsent  theme = "a consent of another name"
	twoNames      theme = "two names, one authorisation"
	introspection theme = "an introspection that cannot be believed"
	exchanges     theme = "exchanges that are ambiguous"
	manyNames     theme = "many connections, and a limit at Pleo"
)

// themes says how often each comes, of all schedules.
var themes = slices.Concat(
	slices.Repeat([]theme{plain}, 8), slices.Repeat([]theme{splitStore}, 2), slices.Repeat([]theme{strangeHand}, 2),
	slices.Repeat([]theme{introspection}, 2), slices.Repeat([]theme{exchanges}, 2),
	[]theme{otherConsent, twoNames, manyNames},
)

// chance draws from the stream that the themes are made from: what the first
// stream makes of a seed stays as it was.
func (s *sim) chance(n int) bool { return s.odds.IntN(n) == 0 }

// between returns a time between two others.
func (s *sim) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.odds.Int64N(int64(most-least)))
}

func (s *sim) anyProcess() *process { return s.procs[s.odds.IntN(len(s.procs))] }

// instead returns a process, or another in its place if it is dead.
func (s *sim) instead(p *process) *process {
	if living := s.living(); p.dead.Load() && len(living) > 0 {
		return living[0]
	}
	return p
}

// planTheme places what the schedule is about, and faults that go with all of it.
func (s *sim) planTheme() {
	s.say("theme: %q", s.theme)
	switch s.theme {
	case splitStore:
		s.planSplit()
	case strangeHand:
		s.planStrangeHand()
	case otherConsent:
		s.planOtherConsent()
	case twoNames:
		s.planTwoNames()
	case introspection:
		s.planIntrospection()
	case exchanges:
		s.planExchanges()
	case manyNames:
		s.planLimit()
	case plain:
	}
	if s.nuisance {
		return
	}
	for _, k := range []struct {
		oneIn int
		plan  func()
	}{
		{12, s.planEarlyDeath}, {9, s.planClose}, {9, s.planHang}, {14, s.planReadOnly}, {9, s.planOddAnswers}, {14, s.planSleep},
	} {
		if s.chance(k.oneIn) {
			k.plan()
		}
	}
}

// in has an event happen at a moment of the schedule, and counts it.
func (s *sim) in(delay time.Duration, what string, event func()) {
	s.faults++
	s.say("planned in %v: %s", delay, what)
	time.AfterFunc(delay, func() {
		s.awaitTruce()
		if !s.calm.Load() {
			event()
		}
	})
}

// truce keeps every other event away for a while: what happens now is what one
// fault alone may not break.
func (s *sim) truce(length time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.truceUntil = time.Now().Add(length)
}

func (s *sim) inTruce() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.truceUntil)
}

func (s *sim) awaitTruce() {
	for s.inTruce() && s.sleep(100*time.Millisecond) {
	}
}

// sleep waits, and reports whether the schedule still goes on.
func (s *sim) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return !s.over.Load()
	case <-s.end:
		return false
	}
}

// believes reports whether the schedule's faults are survivable only with an
// introspection that answers: that it fails at the same time is a second fault,
// which no protocol excludes (P10).
func (s *sim) believes() bool {
	return slices.Contains([]theme{splitStore, strangeHand, otherConsent, twoNames}, s.theme)
}

// apart reports whether requests about one authorisation are made that know
// nothing of each other: by both sides of a split, or under two names.
func (s *sim) apart() bool {
	return slices.Contains([]theme{splitStore, otherConsent, twoNames}, s.theme)
}
