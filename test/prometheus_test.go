package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

const rulesFolder = "../deploy/prometheus"

func TestTheAlertsAreValidAndFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	promtool := need(t, "promtool")
	for _, args := range [][]string{{"check", "rules", rulesFolder + "/rules.yaml"}, {"test", "rules", rulesFolder + "/rules_test.yaml"}} {
		code, out := runProgram(t, os.Environ(), nil, promtool, args...)
		require.Zero(t, code, out)
	}
}

// prometheus is a running server that scrapes every second.
type prometheus struct {
	*process
	url string
}

// startPrometheus starts a server that scrapes a proxy's further site, with the
// alerts that are delivered, which wait for nothing.
func startPrometheus(t *testing.T, p *proxy) *prometheus {
	t.Helper()
	dir, env := home(t)
	rules, err := os.ReadFile(rulesFolder + "/rules.yaml")
	require.NoError(t, err)
	impatient := regexp.MustCompile(`(?m)^( +for:) .*$`).ReplaceAll(rules, []byte("$1 1s"))
	require.NotEqual(t, rules, impatient)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), impatient, 0o600))
	config := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: pleo
    static_configs: [{targets: [%q]}]
`, strings.TrimPrefix(p.site(1), "http://"))
	file := filepath.Join(dir, "prometheus.yaml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	address := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1))
	s := &prometheus{url: "http://" + address}
	s.process = startProcess(t, env, need(t, "prometheus"), "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"),
		"--web.listen-address="+address, "--log.level=warn")
	require.Eventually(t, func() bool {
		return !s.running() || send(client, request(t, http.MethodGet, s.url+"/-/ready", "")).status == http.StatusOK
	}, startTimeout, tick)
	require.True(t, s.running(), s.stderr.tail())
	return s
}

// query returns how many series an expression has, which must be valid.
func (s *prometheus) query(t *testing.T, expression string) int {
	t.Helper()
	a := get(t, s.url+"/api/v1/query?query="+url.QueryEscape(expression))
	require.Equal(t, http.StatusOK, a.status, "%s: %s", expression, a.body)
	var found struct {
		Data struct{ Result []json.RawMessage }
	}
	a.decode(t, &found)
	return len(found.Data.Result)
}

// firing returns the names of the alerts that fire.
func (s *prometheus) firing(t *testing.T) (names []string) {
	t.Helper()
	var found struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels struct {
					Name string `json:"alertname"`
				}
			}
		}
	}
	get(t, s.url+"/api/v1/alerts").decode(t, &found)
	for _, a := range found.Data.Alerts {
		if a.State == "firing" {
			names = append(names, a.Labels.Name)
		}
	}
	return names
}

// panelQueries are the dashboard's, by panel, as Grafana sends them.
func panelQueries(t *testing.T) map[string][]string {
	t.Helper()
	content, err := os.ReadFile("../deploy/grafana/pleo-auth-proxy.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(content, &dashboard))
	queries := map[string][]string{}
	variables := strings.NewReplacer("$__rate_interval", "1m", "$job", ".+", "$instance", ".+")
	for _, p := range dashboard.Panels {
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			queries[p.Title] = append(queries[p.Title], variables.Replace(target.Expr))
		}
	}
	require.Greater(t, len(queries), 10)
	return queries
}

func TestEveryPanelOfTheDashboardShowsDataAndARevokedGrantAndARefusedReloadRaiseTheirAlerts(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t, pleotest.WithAccessTokenLife(2*time.Second)), redistest.Start(t, redistest.WithAppendOnly())
	c := onRedis(r)
	c.sites = "http://:{port+1} {\nbind 127.0.0.1\nmetrics /metrics\n}"
	p := startProxy(t, e, c)
	s := startPrometheus(t, p)
	e.authorise(t, p, "default", company(0))
	p.employees(t)

	for panel, queries := range panelQueries(t) {
		for _, q := range queries {
			require.Eventually(t, func() bool { return s.query(t, q) > 0 }, startTimeout, 20*tick, "%s: %s", panel, q)
		}
	}
	for _, alert := range []string{"PleoReauthorisationRequired", "PleoReloadRefused"} {
		require.NotContains(t, s.firing(t), alert, "nothing is wrong")
	}

	require.Positive(t, e.Revoke(pleotest.Target{}))
	awaitAlert(t, s, "PleoReauthorisationRequired", func() { send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "")) })
	e.authorise(t, p, "default", company(0))
	require.Eventually(t, func() bool { return !slices.Contains(s.firing(t), "PleoReauthorisationRequired") }, startTimeout, 20*tick)

	wrong := c
	wrong.secret = "{env.NO_SUCH_VARIABLE}"
	require.Equal(t, http.StatusBadRequest, p.load(t, wrong).status)
	awaitAlert(t, s, "PleoReloadRefused", func() {})
	p.employees(t)
}

// awaitAlert waits until an alert fires, while something is done again and again.
func awaitAlert(t *testing.T, s *prometheus, alert string, meanwhile func()) {
	t.Helper()
	require.Eventually(t, func() bool {
		meanwhile()
		return slices.Contains(s.firing(t), alert)
	}, startTimeout, 20*tick, alert)
}
