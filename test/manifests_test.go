package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// manifest is what these tests read of an object; a module of its own looks at
// the whole.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Template struct {
			Spec struct {
				InitContainers []container `yaml:"initContainers"`
				Containers     []container
			}
		}
	}
}

type container struct {
	Args, Command  []string
	ReadinessProbe struct {
		Exec struct{ Command []string }
	} `yaml:"readinessProbe"`
}

// cluster stands for a node: what containers mount is in a folder, and their
// ports are free ones.
type cluster struct {
	dir     string
	objects []manifest
	replace *strings.Replacer
	ports   map[string]int
	env     []string
}

func newCluster(t *testing.T, e *pleo) *cluster {
	t.Helper()
	// What kubectl reads, go test does not see: a changed manifest would be passed
	// by a result from its cache.
	require.NoError(t, filepath.WalkDir("../deploy/kubernetes", func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			_, err = os.ReadFile(path)
		}
		return err
	}))
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), need(t, "kubectl"), "kustomize", "../deploy/kubernetes/overlays/staging")
	cmd.Stderr = &stderr
	rendered, err := cmd.Output()
	require.NoError(t, err, stderr.String())

	c := &cluster{ports: map[string]int{}}
	c.dir, c.env = home(t)
	decoder := yaml.NewDecoder(bytes.NewReader(rendered))
	for {
		var m manifest
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		c.objects = append(c.objects, m)
	}
	first := freePorts(t, 5)
	for i, name := range []string{"7536", "9180", "8080", "6379", "callback's 9180"} {
		c.ports[name] = first + i
	}
	c.replace = strings.NewReplacer(
		"/etc/pleo-auth-proxy", c.dir+"/proxy", "/run/secrets/pleo-auth-proxy", c.dir+"/secrets", "/run/pleo-auth-proxy", c.dir+"/run",
		"/etc/pleo-redis", c.dir+"/redis", "/run/secrets/pleo-redis", c.dir+"/secrets", "/run/redis", c.dir+"/run", "dir /data", "dir "+c.dir+"/data", "/data/", c.dir+"/data/", "-/data}", "-"+c.dir+"/data}",
		":7536", c.port("7536"), ":9180", c.port("9180"), ":8080", c.port("8080"),
		"port 6379", fmt.Sprintf("port %d", c.ports["6379"]), "redis-cli", fmt.Sprintf("redis-cli -p %d", c.ports["6379"]), "bind * -::*", "bind 127.0.0.1",
	)
	for _, folder := range []string{"proxy", "redis", "secrets", "run", "data"} {
		require.NoError(t, os.Mkdir(filepath.Join(c.dir, folder), 0o700))
	}
	c.file(t, "secrets/client_secret", e.ClientSecret+"\n")
	c.file(t, "secrets/encryption_key", sealingKey+"\n")
	c.file(t, "secrets/redis_password", "correct horse battery staple\n")
	c.mount(t, "pleo-auth-proxy-settings-", func(name, value string) { c.env = append(c.env, name+"="+value) })
	c.mount(t, "pleo-redis-", func(name, text string) { c.file(t, "redis/"+name, text) })
	for _, m := range c.objects {
		if m.Kind == "ConfigMap" && m.Data["sidecar.caddyfile"] != "" {
			for name, text := range m.Data {
				text = c.replace.Replace(text)
				if name == "callback.caddyfile" { // it has a pod of its own
					text = strings.ReplaceAll(text, c.port("9180"), c.port("callback's 9180"))
				}
				if name == "pleo.caddyfile" { // and so has its socket
					text = strings.ReplaceAll(text, "admin.sock", "{$ADMIN_SOCKET}")
				}
				c.file(t, "proxy/"+name, text)
			}
		}
	}
	// What is Pleo's and the browser's address there is the test's here.
	origin := fmt.Sprintf("http://localhost:%d", c.ports["8080"])
	e.allowRedirect(t, origin+"/pleo/callback")
	c.env = append(c.env, "PLEO_CLIENT_ID="+e.ClientID, "PLEO_AUTH_SERVER="+e.AuthURL, "PLEO_API_SERVER="+e.APIURL,
		"PLEO_REDIRECT_URI="+origin+"/pleo/callback", "PLEO_AUTHORISE_URI="+origin+"/pleo/authorise",
		fmt.Sprintf("PLEO_REDIS_URL=redis://127.0.0.1:%d/0", c.ports["6379"]))
	return c
}

func (c *cluster) port(name string) string      { return fmt.Sprintf(":%d", c.ports[name]) }
func (c *cluster) url(name, path string) string { return "http://127.0.0.1" + c.port(name) + path }
func (c *cluster) environment(pod string) []string {
	return append(slices.Clone(c.env), "ADMIN_SOCKET="+pod)
}

func (c *cluster) file(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, name), []byte(c.replace.Replace(text)), 0o600))
}

// mount gives each entry of the ConfigMap whose name begins like this.
func (c *cluster) mount(t *testing.T, prefix string, entry func(name, value string)) {
	t.Helper()
	found := 0
	for _, m := range c.objects {
		if m.Kind == "ConfigMap" && strings.HasPrefix(m.Metadata.Name, prefix) {
			for name, value := range m.Data {
				entry(name, value)
				found++
			}
		}
	}
	require.NotZero(t, found, prefix)
}

// workload returns an object's first container, sidecars first.
func (c *cluster) workload(t *testing.T, kind, name string) container {
	t.Helper()
	for _, m := range c.objects {
		if m.Kind == kind && m.Metadata.Name == name {
			return append(m.Spec.Template.Spec.InitContainers, m.Spec.Template.Spec.Containers...)[0]
		}
	}
	require.Fail(t, "no such object", "%s %s", kind, name)
	return container{}
}

func (c *cluster) arguments(args []string) (replaced []string) {
	for _, a := range args {
		replaced = append(replaced, c.replace.Replace(a))
	}
	return replaced
}

func (c *cluster) startRedis(t *testing.T) *process {
	t.Helper()
	w := c.workload(t, "StatefulSet", "pleo-redis")
	command := c.arguments(w.Command)
	p := startProcess(t, c.env, command[0], command[1:]...)
	probe := c.arguments(w.ReadinessProbe.Exec.Command)
	require.Eventually(t, func() bool {
		code, _ := runProgram(t, c.env, nil, probe[0], probe[1:]...)
		return code == 0 || !p.running()
	}, startTimeout, 5*tick)
	require.True(t, p.running(), p.stdout.tail())
	return p
}

// redis runs one command and returns what it prints.
func (c *cluster) redis(t *testing.T, args ...string) string {
	t.Helper()
	_, out := runProgram(t, c.env, nil, need(t, "redis-cli"), append([]string{"-p", fmt.Sprint(c.ports["6379"]), "--no-auth-warning"}, args...)...)
	return out
}

// startPod runs a container with the proxy, until its start-up probe succeeds.
func (c *cluster) startPod(t *testing.T, workload, metrics string) *process {
	t.Helper()
	p := startProcess(t, c.environment(workload), proxyBinary, c.arguments(c.workload(t, "Deployment", workload).Args)...)
	require.Eventually(t, func() bool {
		return !p.running() || send(client, request(t, http.MethodGet, c.url(metrics, "/healthz"), "")).status == http.StatusOK
	}, startTimeout, tick)
	require.True(t, p.running(), p.stderr.tail())
	return p
}

func TestTheConfigurationThatKubernetesMountsServesFromTheFirstCallOn(t *testing.T) {
	t.Parallel()
	e := startPleo(t, pleotest.WithAccessTokenLife(4*time.Second))
	c := newCluster(t, e)
	for _, workload := range []string{"example-application", "pleo-callback"} {
		args := c.arguments(c.workload(t, "Deployment", workload).Args)
		require.Equal(t, "run", args[0])
		code, out := runProgram(t, c.environment(workload), nil, proxyBinary, append([]string{"validate"}, args[1:]...)...)
		require.Zero(t, code, out)
	}

	redis := c.startRedis(t)
	callback := c.startPod(t, "pleo-callback", "callback's 9180")
	e.authoriseWith(t, newBrowser(t), fmt.Sprintf("http://localhost:%d", c.ports["8080"]), "default", company(0))

	// The application starts when the sidecar's start-up probe has succeeded.
	sidecar := c.startPod(t, "example-application", "9180")
	first := get(t, c.url("7536", "/v2/employees"))
	require.Equal(t, http.StatusOK, first.status, "%s", first.body)
	require.Equal(t, http.StatusOK, get(t, c.url("9180", "/livez")).status)
	require.Contains(t, string(get(t, c.url("9180", "/metrics")).body), "pleo_store_risks")
	require.Equal(t, http.StatusNotFound, get(t, c.url("9180", "/v2/employees")).status, "nobody calls by the pod's address")
	var report healthReport
	get(t, c.url("9180", "/healthz")).decode(t, &report)
	require.Equal(t, healthReport{Status: "ready"}, report, "this Redis keeps what it is given")

	// The user pleo may do what a refresh needs.
	e.ResetCounters()
	require.Eventually(t, func() bool {
		return get(t, c.url("7536", "/v2/employees")).status == http.StatusOK && e.Counters().RefreshRequests > 0
	}, patience, 5*tick)

	// Redis has it all after a crash.
	redis.stop(t, syscall.SIGKILL)
	require.Equal(t, http.StatusOK, get(t, c.url("9180", "/livez")).status)
	c.startRedis(t)
	require.Contains(t, c.redis(t, "--user", "pleo", "--pass", "correct horse battery staple", "hgetall", "pleo:nothing"), "\n")
	require.Eventually(t, func() bool {
		return send(client, request(t, http.MethodGet, c.url("7536", "/v2/employees"), "")).status == http.StatusOK
	}, patience, 5*tick)

	for _, p := range []*process{sidecar, callback} {
		p.stop(t, syscall.SIGTERM)
	}
}

func TestTheRedisThatIsDeliveredLetsNobodyElseInAndTheProxyDoNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	c := newCluster(t, startPleo(t))
	c.startRedis(t)
	rules, err := os.ReadFile("../deploy/kubernetes/redis/config/pleo.acl")
	require.NoError(t, err)
	require.Equal(t, redisstore.LeastACL, strings.Join(strings.Fields(string(rules)), " "))
	pleo := []string{"--user", "pleo", "--pass", "correct horse battery staple"}
	for _, refused := range [][]string{
		{"get", "pleo:x"},
		{"ping"},
		{"--user", "probe", "--pass", "-", "get", "pleo:x"},
		append(slices.Clone(pleo), "get", "other:x"),
		append(slices.Clone(pleo), "config", "get", "*"),
		append(slices.Clone(pleo), "keys", "*"),
		append(slices.Clone(pleo), "flushall"),
		{"--user", "pleo", "--pass", "wrong", "ping"},
	} {
		require.Regexp(t, "NOAUTH|NOPERM|WRONGPASS", c.redis(t, refused...), "%v", refused)
	}
	require.Contains(t, c.redis(t, append(pleo, "ping")...), "PONG")
}
