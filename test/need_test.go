package test

import (
	"os/exec"
	"testing"
)

// debianPackages say what to install for the commands that tests need.
var debianPackages = map[string]string{
	"curl": "curl", "python3": "python3", "node": "nodejs", "java": "default-jdk-headless", "php": "php-cli", "jq": "jq", "ip": "iproute2", "unshare": "util-linux", "chromium": "chromium",
	"kubectl": "kubernetes-client", "redis-cli": "redis-tools", "prometheus": "prometheus", "promtool": "prometheus",
}

// need returns the path of a command. A test that needs one must not pass
// without it.
func need(t *testing.T, command string) string {
	t.Helper()
	path, err := exec.LookPath(command)
	if err != nil {
		t.Fatalf("%s is not on the PATH: install it (Debian: apt-get install %s)", command, debianPackages[command])
	}
	return path
}
