package pleoauth_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A change takes rules of the protocol out of the code: in the file, old becomes
// new, in which without("…") is true while that rule is taken out.
type change struct{ file, old, new string }

// caughtBy is what catches the absence of a rule: a schedule of the simulation that
// has done so, or a test of the few that schedules need too seldom.
type caughtBy struct {
	seed int
	test string
}

// rules are those that the protocol cannot do without. Where the schedule of a rule
// does not catch its absence any more, others are tried.
var rules = map[string]caughtBy{
	"a mark before the token leaves":                                           {seed: 19},
	"the record is read again before it is acted on":                           {seed: 7},
	"a mark is written under the lock, and over no other":                      {seed: 663},
	"a condition on the save":                                                  {seed: 365},
	"a version, not a count, tells grants apart":                               {seed: 6104},
	"an ambiguous refresh is asked about, never sent again":                    {seed: 0},
	"'active' is believed only once the mark is over":                          {seed: 4},
	"a mark's life counts on one's own clock":                                  {seed: 6491},
	"the token leaves only while the mark is fresh":                            {seed: 49},
	"the answer is read however late it comes":                                 {seed: 1045},
	"a condition on the end of a grant":                                        {seed: 25332},
	"a pair that the store does not take is held":                              {seed: 3},
	"a held pair is on disk":                                                   {seed: 528},
	"the disk is read at the start":                                            {seed: 4071},
	"a grant that the record lacks is restored":                                {seed: 2},
	"a restored grant comes with an unknown mark":                              {seed: 876},
	"an older record is not adopted":                                           {seed: 2},
	"a store in a new run may have forgotten":                                  {seed: 1},
	"what it may have forgotten is waited out":                                 {seed: 1},
	"an answer without a refresh token leaves a doubt":                         {seed: 32},
	"the later consent wins":                                                   {seed: 6},
	"an exchange waits for a mark":                                             {seed: 92},
	"a failed exchange leaves the doubt that it found":                         {seed: 2947},
	"an exchange's mark stays":                                                 {test: "TestAPairThatIsStoredDuringAnExchangeLeavesItsMark"},
	"a disconnect leaves a tombstone":                                          {seed: 1},
	"a disconnect leaves the mark":                                             {test: "TestAConsentAfterADisconnectWaitsForTheRefreshThatIsOnItsWay"},
	"the end of a grant leaves a mark that is not over":                        {test: "TestAConsentAfterARevocationWaitsForTheRefreshThatIsOnItsWay"},
	"the order of grants never restarts":                                       {seed: 1372},
	"the lock is renewed":                                                      {seed: 7},
	"Pleo is asked before every refresh":                                       {seed: 10},
	"Pleo's word is good for two seconds":                                      {test: "TestATokenDoesNotLeaveOnAWordOfPleoThatIsTwoSecondsOld"},
	"one's own request counts whatever the record shows":                       {seed: 7880},
	"a dead access token stops a refresh that Pleo does not speak about":       {test: "TestADeadAccessTokenStopsTheRefreshOfATokenThatPleoDoesNotSpeakAbout"},
	"a token that may have been spent is waited for where Pleo does not speak": {seed: 249},
	"a store without replicas in step proves nothing":                          {seed: 53},
	"'inactive' is confirmed":                                                  {seed: 19},
	"a whole pair is a pair":                                                   {seed: 31},
	"an exchange leaves the lock to a refresh":                                 {seed: 92},
	"an exchange gives the lock back with its mark":                            {seed: 122},
	"an ambiguous exchange leaves its mark":                                    {seed: 92},
	"a 429 holds all requests":                                                 {seed: 172},
	"a date is read against the clock that named it":                           {seed: 346},
	"the way out waits for refreshes":                                          {test: "TestAProcessThatEndsStoresAGrantWhoseCompanyIsBeingAsked"},
}

var changes = []change{
	{"writes.go", "		r.Mark = &m\n		switch over", `		r.Mark = &m
		if without("a mark before the token leaves") && m.Kind == MarkRefresh {
			r.Mark = nil
		}
		switch over`},
	{"attempt.go", "	marked, err := a.applyReplicated(a.c.name, snap, writeMark(snap.Version, m, settled, said.seen), a.lock.Lock)", `	lock := a.lock.Lock
	if without("a mark is written under the lock, and over no other") {
		lock = nil
	}
	marked, err := a.applyReplicated(a.c.name, snap, writeMark(snap.Version, m, settled, said.seen), lock)`},
	{"attempt.go", "	case marked.Marked() == nil || marked.Marked().Nonce != m.Nonce:", `	case !without("a mark before the token leaves") && (marked.Marked() == nil || marked.Marked().Nonce != m.Nonce):`},
	{"attempt.go", "	if snap.Version != a.f.goal || snap.State != StateConnected {", `	if snap.State != StateConnected || snap.Version != a.f.goal && !without("the record is read again before it is acted on") {`},
	{"attempt.go", "	a.f.at(ErrRefreshFailed)\n	// Dialled", `	if v := a.c.view.Load(); v != nil && v.pair != nil && without("the record is read again before it is acted on") {
		g = v.pair.grant
	}
	a.f.at(ErrRefreshFailed)
	// Dialled`},
	{"writes.go", "standing != nil && standing.Nonce != settled:", `standing != nil && standing.Nonce != settled && !without("a mark is written under the lock, and over no other"):`},
	{"writesgrant.go", "		case s.Version != version || s.State != StateConnected:\n			return s.Record, errRefused\n		}\n		return p.into(s), nil", `		case without("a condition on the save"):
		case s.Version != version && !(without("a version, not a count, tells grants apart") && s.Generation == p.generation-1), s.State != StateConnected:
			return s.Record, errRefused
		}
		return p.into(s), nil`},
	{"exchange.go", "	m.Seq = nextSeq(snap.Record, e.began)\n", `	m.Seq = nextSeq(snap.Record, e.began)
	if without("the order of grants never restarts") {
		m.Seq = 1
	}
`},
	{"writesgrant.go", "		p.pair = &next\n", `		if without("a version, not a count, tells grants apart") || without("the order of grants never restarts") {
			next.generation = 1
		}
		p.pair = &next
`},
	{"settle.go", "	a.settled(snap, said, began, over)", `	if without("an ambiguous refresh is asked about, never sent again") {
		said = asked{tokenAnswer: tokenLives, at: time.Now()}
	}
	a.settled(snap, said, began, over)`},
	{"settle.go", "	if !over {", `	if !over && !without("'active' is believed only once the mark is over") {`},
	{"settle.go", "	since := c.markSince(m.Nonce, time.Now())", `	since := c.markSince(m.Nonce, time.Now())
	if without("a mark's life counts on one's own clock") {
		since = time.Now().Add(m.Time.Sub(snap.Clock()))
	}`},
	{"settle.go", "		rest = a.restOf(a.c, snap, m)", `		rest = a.restOf(a.c, snap, m)
		if m.Kind == MarkUnknown && without("what it may have forgotten is waited out") {
			rest = 0
		}`},
	{"attempt.go", "	first := !a.sent\n", `	if without("the token leaves only while the mark is fresh") {
		deadlines = nil
	}
	first := !a.sent
`},
	{"tokenconn.go", "	go cancelAfterTicks(cancel, readTicks, stopTicks)", `	ticks := readTicks
	if without("the answer is read however late it comes") {
		ticks = 3
	}
	go cancelAfterTicks(cancel, ticks, stopTicks)`},
	{"writes.go", "		if r.Version != version || r.State != StateConnected || standing != nonce && (m == nil || m.Kind != MarkUnknown) {", `		if !without("a condition on the end of a grant") && (r.Version != version || r.State != StateConnected || standing != nonce && (m == nil || m.Kind != MarkUnknown)) {`},
	{"held.go", "	s.unsavedPair(c, h)\n	c.mu.Lock()", `	if without("a pair that the store does not take is held") {
		return saveHeld
	}
	s.unsavedPair(c, h)
	c.mu.Lock()`},
	{"held.go", "	if err := s.spill.write(s, c.name, h.pair); err != nil {", `	if without("a held pair is on disk") {
	} else if err := s.spill.write(s, c.name, h.pair); err != nil {`},
	{"spill.go", `	if s.spill.dir == "" {`, `	if s.spill.dir == "" || without("the disk is read at the start") {`},
	{"restore.go", "	if snap.Version == h.pair.version && snap.State == StateConnected {", `	if without("a grant that the record lacks is restored") {
		return false, s.adoptInstead(c, h.pair, snap, subscription)
	}
	if snap.Version == h.pair.version && snap.State == StateConnected {`},
	{"held.go", "	if h.unanswered || h.pair.grant.NoRefreshToken {", `	if h.unanswered && !without("a restored grant comes with an unknown mark") ||
		h.pair.grant.NoRefreshToken && !without("an answer without a refresh token leaves a doubt") {`},
	{"adopt.go", "	case now.outranks(snap):", `	case now.outranks(snap) && !without("an older record is not adopted"):`},
	{"attempt.go", "	if v := a.c.view.Load(); v.outranks(snap) {", `	if v := a.c.view.Load(); v.outranks(snap) && !without("an older record is not adopted") {`},
	{"writes.go", "		if r.State == StateConnected && r.Epoch != s.Run {", `		if r.State == StateConnected && r.Epoch != s.Run && !without("a store in a new run may have forgotten") {`},
	{"writesgrant.go", "		case s.Seq >= p.seq:", `		case s.Seq >= p.seq && !without("the later consent wins"):`},
	{"writesgrant.go", "!p.over(*other)) {", `!p.over(*other)) && !without("an exchange's mark stays") {`},
	{"exchange.go", "			rest := e.restOf(e.c, snap, m)\n", `			rest := e.restOf(e.c, snap, m)
			if without("an exchange waits for a mark") {
				rest = 0
			}
`},
	{"exchange.go", `	if e.over != "" || e.before.State == StateConnected {`, `	if (e.over != "" || e.before.State == StateConnected) && !without("a failed exchange leaves the doubt that it found") {`},
	{"writes.go", `		r.State, r.Reason, r.Subject = StateDisconnected, "", ""`, `		if without("a disconnect leaves a tombstone") {
			return Record{}, nil
		}
		r.State, r.Reason, r.Subject = StateDisconnected, "", ""`},
	{"writes.go", "		if m != nil && (travelling || m.Nonce != nonce) {", `		if m != nil && (travelling || m.Nonce != nonce) && !without("the end of a grant leaves a mark that is not over") {`},
	{"writes.go", "		if travelling != nil {", `		if travelling != nil && !without("a disconnect leaves the mark") {`},
	{"attempt.go", "		said = a.ask(snap, g, false)\n", `		said = asked{tokenAnswer: tokenLives, at: time.Now()}
		if !without("Pleo is asked before every refresh") {
			said = a.ask(snap, g, false)
		}
`},
	{"attempt.go", "	if said.tokenAnswer == tokenLives {\n		deadlines", `	if said.tokenAnswer == tokenLives && !without("Pleo's word is good for two seconds") {
		deadlines`},
	{"introspection.go", "func (a asked) stale() bool { return time.Since(a.at) > answerGood }", `func (a asked) stale() bool {
	return time.Since(a.at) > answerGood && !without("Pleo's word is good for two seconds")
}`},
	{"attempt.go", "	if m, own := snap.Marked(), a.c.sentWith(g.RefreshToken); m != nil || own != nil {", `	m, own := snap.Marked(), a.c.sentWith(g.RefreshToken)
	if own != nil && (m == nil || m.Nonce != own.nonce) && without("one's own request counts whatever the record shows") {
		own = nil
	}
	if m != nil || own != nil {`},
	{"attempt.go", "	return a.f.for401 || v != nil && v.dead\n", `	return (a.f.for401 || v != nil && v.dead) && !without("a dead access token stops a refresh that Pleo does not speak about")
`},
	{"introspection.go", "		case access == tokenDead, access == tokenSilent && verdict != VerdictUnusable:", `		case without("a dead access token stops a refresh that Pleo does not speak about"):
		case access == tokenDead, access == tokenSilent && verdict != VerdictUnusable:`},
	{"introspection.go", "	said.tokenAnswer, said.wait = tokenSilent, said.wait || settling\n", `	said.tokenAnswer = tokenSilent
	said.wait = said.wait || settling && !without("a token that may have been spent is waited for where Pleo does not speak")
`},
	{"attempt.go", "	case marked.Alone && said.tokenAnswer != tokenLives:", `	case marked.Alone && said.tokenAnswer != tokenLives && !without("a store without replicas in step proves nothing"):`},
	{"introspection.go", "	said.err = nil\n	if a.c.accessLives", `	said.err = nil
	if said.tokenAnswer = tokenDead; inactive && without("'inactive' is confirmed") {
		return said
	}
	if a.c.accessLives`},
	{"tokenanswer.go", "	case (a.cut != nil || !body.whole) && (access == \"\" || refresh == \"\"):", `	case (a.cut != nil || !body.whole) && (access == "" || refresh == "" || without("a whole pair is a pair")):`},
	{"exchange.go", "Yield: true}", `Yield: !without("an exchange leaves the lock to a refresh")}`},
	{"exchange.go", "		case <-over.C:\n", `		case <-over.C:
			if without("an exchange gives the lock back with its mark") {
				return <-result
			}
`},
	{"exchange.go", "		if notExchanged(err) {", `		if notExchanged(err) || e.before.State != StateConnected && without("an ambiguous exchange leaves its mark") {`},
	{"paced.go", "		s.pace.Refused(sent, refusal.RetryAfter)\n", `		if !without("a 429 holds all requests") {
			s.pace.Refused(sent, refusal.RetryAfter)
		}
`},
	{"tokenanswer.go", "	now, err := http.ParseTime(h.Get(\"Date\"))\n	if err != nil {", `	now, err := http.ParseTime(h.Get("Date"))
	if err != nil || without("a date is read against the clock that named it") {`},
	{"source.go", "		s.work.Wait()\n", `		if !without("the way out waits for refreshes") {
			s.work.Wait()
		}
`},
	{"heldlock.go", "		err := h.Renew(ctx, h.source.times().lock)", `		var err error
		if !without("the lock is renewed") {
			err = h.Renew(ctx, h.source.times().lock)
		}`},
}

// TestTheAbsenceOfEveryRuleIsCaught builds the package with a switch at every rule,
// and plays schedules, or runs the rule's test, with one rule taken out at a time.
func TestTheAbsenceOfEveryRuleIsCaught(t *testing.T) {
	program := buildWithSwitches(t)
	run := func(without string, arguments ...string) (out string, failed bool) {
		cmd := exec.CommandContext(t.Context(), program, arguments...)
		cmd.Env = append(os.Environ(), "PLEOAUTH_WITHOUT="+without)
		text, err := cmd.CombinedOutput()
		return string(text), err != nil
	}
	play := func(without string, seed, seeds int) (caught string) {
		out, failed := run(without, "-test.run", "^TestSimulatedSchedules$", "-seed", strconv.Itoa(seed), "-seeds", strconv.Itoa(seeds))
		if !failed {
			return ""
		}
		violation := regexp.MustCompile(`seed=\d+|Should be empty, but was .*`).FindAllString(out, 2)
		require.Len(t, violation, 2, "%s", out)
		return strings.Join(violation, ": ")
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, play("nothing", 0, schedulesInTests))
	})
	for rule, by := range rules {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			if by.test != "" {
				with, failed := run("nothing", "-test.v", "-test.run", "^"+by.test+"$")
				require.False(t, failed, "%s", with)
				require.Contains(t, with, "--- PASS: "+by.test)
				out, failed := run(rule, "-test.run", "^"+by.test+"$")
				require.True(t, failed, "%s has not missed it", by.test)
				require.Contains(t, out, "--- FAIL: "+by.test)
				return
			}
			caught := ""
			for range 3 { // what happens at the very same instant has no order
				if caught = play(rule, by.seed, 1); caught != "" {
					break
				}
			}
			if caught == "" {
				caught = play(rule, 0, mutantLimit)
			}
			require.NotEmpty(t, caught, "%d schedules have not missed it", mutantLimit)
			t.Log(caught)
		})
	}
}

// buildWithSwitches builds this package's tests with all changes in them.
func buildWithSwitches(t *testing.T) (program string) {
	t.Helper()
	dir := t.TempDir()
	here, err := filepath.Abs(".")
	require.NoError(t, err)
	texts := map[string]string{"without.go": `package pleoauth

import "os"

var takenOut = os.Getenv("PLEOAUTH_WITHOUT")

func without(rule string) bool { return takenOut == rule }
`}
	named := map[string]bool{}
	for _, c := range changes {
		if texts[c.file] == "" {
			text, err := os.ReadFile(c.file)
			require.NoError(t, err)
			texts[c.file] = string(text)
		}
		require.Equal(t, 1, strings.Count(texts[c.file], c.old), "in %s: %s", c.file, c.old)
		texts[c.file] = strings.Replace(texts[c.file], c.old, c.new, 1)
		for _, call := range regexp.MustCompile(`without\("(.*?)"\)`).FindAllStringSubmatch(c.new, -1) {
			require.Contains(t, rules, call[1])
			named[call[1]] = true
		}
	}
	require.Len(t, named, len(rules), "each rule has a change")

	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range texts {
		changed := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(changed, []byte(text), 0o600))
		overlay.Replace[filepath.Join(here, name)] = changed
	}
	list, err := json.Marshal(overlay)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600))
	program = filepath.Join(dir, "without.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", program, "-overlay", filepath.Join(dir, "overlay.json"), ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}
