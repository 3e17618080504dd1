package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// startExampleOf runs a folder's Caddyfile as it is.
func startExampleOf(t *testing.T, e *pleo, folder string, env ...string) *proxy {
	t.Helper()
	file := filepath.Join("../examples", folder, "Caddyfile")
	p := &proxy{pleo: e}
	p.dir, p.env = home(t)
	p.port = freePorts(t, 3)
	p.URL = fmt.Sprintf("http://127.0.0.1:%d", p.port)
	site := fmt.Sprintf("http://localhost:%d", p.port+2)
	e.allowRedirect(t, site+"/pleo/callback")
	p.env = append(p.env,
		"PLEO_CLIENT_ID="+e.ClientID, "PLEO_CLIENT_SECRET="+e.ClientSecret, "PLEO_AUTH_SERVER="+e.AuthURL, "PLEO_API_SERVER="+e.APIURL,
		fmt.Sprintf("PLEO_PORT=%d", p.port), fmt.Sprintf("PLEO_PORT_ACME=%d", p.port), fmt.Sprintf("PLEO_PORT_UMBRELLA=%d", p.port+1),
		"PLEO_SITE_ADDRESS="+site, "CADDY_ADMIN=unix/"+p.adminSocket(),
	)
	p.env = append(p.env, env...)
	code, out := runProgram(t, p.env, nil, proxyBinary, "fmt", "--diff", file)
	require.Zero(t, code, out)
	require.NotRegexp(t, `(?m)^[-+]`, out)

	p.process = startProcess(t, p.env, proxyBinary, "run", "--config", file)
	waiting := &proxy{process: p.process, URL: p.URL}
	if folder == "hard-coded-host" {
		waiting.URL = site
	}
	require.Eventually(t, func() bool { return !p.running() || waiting.health() == 200 }, startTimeout, tick)
	require.True(t, p.running(), p.stderr.tail())
	return p
}

// browserSite is where the browser's routes of an example are.
func (p *proxy) browserSite() string { return fmt.Sprintf("http://localhost:%d", p.port+2) }

// commandsIn returns the lines of the block with the given comment in a README.
func commandsIn(t *testing.T, readme, comment string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../examples", readme))
	require.NoError(t, err)
	block := submatch(t, regexp.MustCompile("(?s)<!-- "+comment+" -->\n```sh\n(.*?)```"), string(content))[1]
	return strings.Split(strings.TrimSpace(block), "\n")
}

// runCommand runs a command of a README in the repository's root.
func runCommand(t *testing.T, command string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Dir, cmd.SysProcAttr = "..", endWithParent()
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s:\n%s", command, out)
	return string(out)
}

var receiptLine = regexp.MustCompile(`\nreceipt: [0-9a-f-]{36}\n$`)

// requireTask requires that a client has done its task for a company.
func requireTask(t *testing.T, c pleotest.Company, employees int, out string) {
	t.Helper()
	lines := strings.Split(out, "\n")
	require.Len(t, lines, employees+3, out)
	require.Regexp(t, receiptLine, out)
	require.Contains(t, out, "\nexport items: 320\n", "all pages of %s", c.Name)
}

// employeesOf asks for the number of a company's employees, and one name.
func employeesOf(t *testing.T, url string, options ...option) (total int, first string) {
	t.Helper()
	var list struct {
		Data []struct {
			FirstName, LastName string
		}
		Pagination struct{ Total int }
	}
	get(t, url+"/v2/employees", options...).decode(t, &list)
	require.NotEmpty(t, list.Data)
	return list.Pagination.Total, list.Data[0].FirstName + " " + list.Data[0].LastName
}

func TestTheExampleClientsAllDoTheSameWithNothingButAnotherBaseURL(t *testing.T) {
	t.Parallel()
	need(t, "jq")
	e := startPleo(t)
	p := startExampleOf(t, e, "customers-by-header")
	unconnected := exec.CommandContext(t.Context(), need(t, "python3"), "../examples/python/sync.py", "../examples/receipt.pdf")
	unconnected.Env = append(os.Environ(), "PLEO_API="+p.URL)
	out, err := unconnected.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), p.browserSite()+"/pleo/authorise?connection=default", "the error says what to do")

	e.authoriseWith(t, newBrowser(t), p.browserSite(), "default", company(0))
	total, first := employeesOf(t, p.URL)

	commands := commandsIn(t, "README.md", "the clients")
	require.Equal(t, "export PLEO_API=http://127.0.0.1:7536", commands[0])
	require.Len(t, commands, 6, "five languages")
	need(t, "java")
	for _, command := range commands[1:] {
		t.Run(command, func(t *testing.T) {
			out := runCommand(t, command, "PLEO_API="+p.URL)
			requireTask(t, company(0), total, out)
			require.True(t, strings.HasPrefix(out, first+"\n"), out)
		})
	}
}

func TestTheExamplesForManyCustomersGiveEachItsOwnData(t *testing.T) {
	t.Parallel()
	need(t, "jq")
	for folder, base := range map[string]func(p *proxy, customer string) string{
		"customers-by-header": func(p *proxy, _ string) string { return p.URL },
		"customers-by-path":   func(p *proxy, c string) string { return p.URL + "/" + c },
		"customers-by-port":   func(p *proxy, c string) string { return map[string]string{"acme": p.URL, "umbrella": p.site(1)}[c] },
	} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			e := startPleo(t)
			p := startExampleOf(t, e, folder)
			customers := map[string]pleotest.Company{"acme": company(0), "umbrella": company(1)}
			var counts strings.Builder
			for _, c := range []string{"acme", "umbrella"} {
				requireProblem(t, get(t, base(p, c)+"/v2/employees", on(c)), 401, "not-connected")
				e.authoriseWith(t, newBrowser(t), p.browserSite(), c, customers[c])
				echo := get(t, base(p, c)+"/v1/receipts/a%2Fb%20c?q=%2F", on(c))
				require.Equal(t, 200, echo.status, "%s", echo.body)
				require.Contains(t, string(echo.body), `"/v1/receipts/a%2Fb%20c"`, "the path is Pleo's, as it was sent")
				require.Equal(t, customers[c].ID, get(t, base(p, c)+"/v1/echo", on(c)).companyID(t))
				total, _ := employeesOf(t, base(p, c), on(c))
				fmt.Fprintf(&counts, "%s: %d\n", c, total)
				if folder != "customers-by-header" { // an application that knows of no header
					out := runCommand(t, "python3 examples/python/sync.py examples/receipt.pdf", "PLEO_API="+base(p, c))
					requireTask(t, customers[c], total, out)
				}
			}
			switch folder {
			case "customers-by-header":
				command := commandsIn(t, folder+"/README.md", "try")[0]
				require.Equal(t, counts.String(), runCommand(t, command, "PLEO_API="+p.URL))
			case "customers-by-path":
				requireProblem(t, get(t, p.URL+"/nobody/v2/employees"), 401, "not-connected")
				requireProblem(t, get(t, p.URL+"/a%20b/v2/employees"), 400, "invalid-connection")
				require.Equal(t, 404, get(t, p.URL+"/acme").status)
			}
		})
	}
}
