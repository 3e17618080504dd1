package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

// composeFile is what this test reads of it.
type composeFile struct {
	Services map[string]struct {
		Environment map[string]string
		Command     []string
		Volumes     []string
	}
}

func TestTheServicesOfTheComposeFileServeTogether(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../deploy/compose.yaml")
	require.NoError(t, err)
	var file composeFile
	require.NoError(t, yaml.Unmarshal(content, &file))
	r := redistest.Start(t)
	dir, env := home(t)
	ports := freePorts(t, 4) // the proxy's, the emulator's two, the browser's
	here := strings.NewReplacer(
		"7536", fmt.Sprint(ports), "7537", fmt.Sprint(ports+1), "7538", fmt.Sprint(ports+2), "8080", fmt.Sprint(ports+3),
		"redis://redis:6379/0", r.URL(), "/data", dir, "0.0.0.0", "127.0.0.1",
	)

	emulator := []string{"-emulator", "-dir", filepath.Join(dir, "emulator")} // the image's entry point
	for _, arg := range file.Services["emulator"].Command {
		emulator = append(emulator, here.Replace(arg))
	}
	pleo := startProcess(t, env, demoBinary, emulator...)
	require.Eventually(t, func() bool { return strings.Contains(pleo.stdout.String(), "Access tokens live") || !pleo.running() }, startTimeout, tick)
	require.True(t, pleo.running(), pleo.stderr.tail())

	settings := file.Services["proxy"].Environment
	require.Regexp(t, `^\$\{PLEO_ENCRYPTION_KEY:\?.+\}$`, settings["PLEO_ENCRYPTION_KEY"])
	settings["PLEO_ENCRYPTION_KEY"] = sealingKey
	for name, value := range settings {
		env = append(env, name+"="+here.Replace(value))
	}
	// What the emulator prints is what the proxy is given.
	for _, printed := range regexp.MustCompile(`PLEO_[A-Z_]+=\S+`).FindAllString(pleo.stdout.String(), -1) {
		require.Contains(t, env, printed)
	}
	require.Contains(t, file.Services["proxy"].Volumes, "../Caddyfile.example:/etc/pleo-auth-proxy/Caddyfile:ro")
	p := startProcess(t, env, proxyBinary, "run", "--config", "../Caddyfile.example", "--adapter", "caddyfile")
	health := func() bool {
		code, _ := runProgram(t, env, nil, proxyBinary, "pleo", "health", "--address", fmt.Sprintf("127.0.0.1:%d", ports))
		return code == 0
	}
	require.Eventually(t, func() bool { return !p.running() || health() }, startTimeout, 5*tick)
	require.True(t, p.running(), p.stderr.tail())

	approveOnThePage(t, fmt.Sprintf("http://localhost:%d/pleo/authorise", ports+3))
	a := get(t, here.Replace(file.Services["application"].Command[1]))
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
}
