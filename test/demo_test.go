package test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// demo is a running pleo-demo.
type demo struct {
	*process
	openURL, curlURL string // as it prints them
}

var (
	printedLink = regexp.MustCompile(`open +(http://\S+)`)
	printedCurl = regexp.MustCompile(`curl +(http://\S+)`)
	formAction  = regexp.MustCompile(`<form method="post" action="([^"]+)"`)
	hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)"`)
	preselected = regexp.MustCompile(`<option value="([^"]+)" selected>`)
)

func startDemo(t *testing.T, env []string, port int, dir string) *demo {
	t.Helper()
	d := &demo{process: startProcess(t, env, demoBinary, "-port", fmt.Sprint(port), "-dir", dir, "-token-life", "3s")}
	require.Eventually(t, func() bool {
		out := d.stdout.String()
		return !d.running() || printedLink.MatchString(out) && printedCurl.MatchString(out)
	}, startTimeout, tick)
	require.True(t, d.running(), d.stderr.tail())
	d.openURL = printedLink.FindStringSubmatch(d.stdout.String())[1]
	d.curlURL = printedCurl.FindStringSubmatch(d.stdout.String())[1]
	return d
}

// call does what the printed curl command does.
func (d *demo) call(t *testing.T, env []string) (int, string) {
	t.Helper()
	return runProgram(t, env, nil, need(t, "curl"), "-sS", "-i", d.curlURL)
}

func TestTheDemoConnectsByItsPrintedLinkRefreshesByItselfAndSurvivesARestart(t *testing.T) {
	t.Parallel()
	homeDir, _ := home(t)
	// As a user has it: no XDG variables, all that a program keeps is under HOME.
	env := []string{"HOME=" + homeDir, "PATH=" + os.Getenv("PATH")}
	dir := filepath.Join(t.TempDir(), "demo")
	port := freePorts(t, 3)

	d := startDemo(t, env, port, dir)
	_, out := d.call(t, env)
	require.Contains(t, out, "401 Unauthorized")
	require.Contains(t, out, "urn:pleo-auth-proxy:not-connected")

	approveOnThePage(t, d.openURL)
	_, out = d.call(t, env)
	require.Contains(t, out, "HTTP/1.1 200 OK")
	require.Contains(t, out, `"data":[{`)

	// Access tokens live for 3 s: calls go on for longer than three lives, each
	// of them answered, because the proxy refreshes by itself.
	steady(t, func() bool {
		return strings.Count(readFile(t, filepath.Join(dir, "proxy.log")), "grant refreshed") >= 5
	}, func() { requireData(t, d) })

	d.stop(t, syscall.SIGINT)
	require.NoError(t, d.err, "SIGINT is how the demo is meant to be stopped")
	d = startDemo(t, env, port, dir)
	requireData(t, d)
	d.stop(t, syscall.SIGINT)

	require.Empty(t, filesUnder(t, homeDir), "the user's home is not the demo's")
}

func requireData(t *testing.T, d *demo) {
	t.Helper()
	a := get(t, d.curlURL)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	require.Contains(t, string(a.body), `"data":[{`)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// steady makes calls until something has come about.
func steady(t *testing.T, done func() bool, call func()) {
	t.Helper()
	deadline, ticker := time.After(patience), time.NewTicker(50*time.Millisecond)
	defer ticker.Stop()
	for !done() {
		call()
		select {
		case <-deadline:
			require.FailNow(t, "it does not come about")
		case <-ticker.C:
		}
	}
}

// approveOnThePage is the user who follows the link and clicks Approve.
func approveOnThePage(t *testing.T, link string) {
	t.Helper()
	b := newBrowser(t)
	start := b.open(t, link)
	require.Equal(t, http.StatusFound, start.status, "%s", start.body)
	consent := b.open(t, start.header.Get("Location"))
	require.Equal(t, http.StatusOK, consent.status, "%s", consent.body)
	back := b.clickApprove(t, start.header.Get("Location"), string(consent.body))
	require.Equal(t, http.StatusOK, b.open(t, back).status)
}

// clickApprove sends the consent page's form as it is, and returns where the
// browser is sent.
func (b *browser) clickApprove(t *testing.T, pageURL, page string) string {
	t.Helper()
	base, err := url.Parse(pageURL)
	require.NoError(t, err)
	action, err := base.Parse(submatch(t, formAction, page)[1])
	require.NoError(t, err)
	hidden := submatch(t, hiddenInput, page)
	form := url.Values{"company": {submatch(t, preselected, page)[1]}, "decision": {"approve"}, hidden[1]: {hidden[2]}}
	req := request(t, http.MethodPost, action.String(), form.Encode(), withHeader("Content-Type", "application/x-www-form-urlencoded"))
	decided := do(t, b.Client, req)
	require.Equal(t, http.StatusSeeOther, decided.status, "%s", decided.body)
	return decided.header.Get("Location")
}

func submatch(t *testing.T, pattern *regexp.Regexp, text string) []string {
	t.Helper()
	match := pattern.FindStringSubmatch(text)
	require.NotNil(t, match, "%s is not in %s", pattern, text)
	return match
}

func filesUnder(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	}))
	return files
}
