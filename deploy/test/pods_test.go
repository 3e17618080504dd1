package deploytest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// secretKeys are what docs/kubernetes.md has the user put into the Secret.
var secretKeys = []string{"client_secret", "encryption_key", "redis_password"}

const secretName = "pleo-auth-proxy"

var pinned = regexp.MustCompile(`^[^:@]+:[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// What the Pod Security Standard "restricted" asks for, and more.
func TestNoContainerMayDoMoreThanItNeeds(t *testing.T) {
	for _, w := range render(t, overlay).workloads {
		pod := w.pod.Spec
		require.NotNil(t, pod.AutomountServiceAccountToken, w.name)
		require.False(t, *pod.AutomountServiceAccountToken, w.name)
		require.False(t, pod.HostNetwork || pod.HostPID || pod.HostIPC, w.name)
		require.True(t, *pod.SecurityContext.RunAsNonRoot, w.name)
		require.NotZero(t, *pod.SecurityContext.RunAsUser, w.name)
		require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type, w.name)
		for _, c := range w.containers() {
			name := w.name + "/" + c.Name
			require.NotNil(t, c.SecurityContext, name)
			require.False(t, *c.SecurityContext.AllowPrivilegeEscalation, name)
			require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, name)
			require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, name)
			require.Empty(t, c.SecurityContext.Capabilities.Add, name)
			require.Nil(t, c.SecurityContext.Privileged, name)
			require.Regexp(t, pinned, c.Image, name)
			require.NotRegexp(t, `:latest$`, c.Image, name)
			require.NotZero(t, c.Resources.Requests.Cpu().MilliValue(), name)
			require.NotZero(t, c.Resources.Requests.Memory().Value(), name)
			require.GreaterOrEqual(t, c.Resources.Limits.Memory().Value(), c.Resources.Requests.Memory().Value(), name)
		}
	}
}

func TestSecretsAreFilesAlone(t *testing.T) {
	for _, w := range render(t, overlay).workloads {
		for _, c := range w.containers() {
			for _, env := range c.Env {
				require.True(t, env.ValueFrom == nil || env.ValueFrom.SecretKeyRef == nil, "%s: %s", w.name, env.Name)
			}
			for _, from := range c.EnvFrom {
				require.Nil(t, from.SecretRef, w.name)
			}
		}
		for _, v := range w.pod.Spec.Volumes {
			if v.Secret != nil {
				require.EqualValues(t, 0o440, *v.Secret.DefaultMode, w.name)
			}
		}
	}
}

// Every file that a command or a Caddyfile names is mounted.
func TestWhatIsMountedIsThere(t *testing.T) {
	m := render(t, overlay)
	for _, w := range m.workloads {
		volumes := map[string]corev1.Volume{}
		for _, v := range w.pod.Spec.Volumes {
			volumes[v.Name] = v
		}
		for _, c := range w.claims() {
			volumes[c] = corev1.Volume{Name: c}
		}
		used := map[string]bool{}
		for _, c := range w.containers() {
			var files, texts []string
			texts = append(append(texts, c.Command...), c.Args...)
			for _, mount := range c.VolumeMounts {
				v, ok := volumes[mount.Name]
				require.True(t, ok, "%s/%s mounts %s", w.name, c.Name, mount.Name)
				used[mount.Name] = true
				switch {
				case v.ConfigMap != nil:
					config, ok := m.configs[v.ConfigMap.Name]
					require.True(t, ok, "%s: ConfigMap %s", w.name, v.ConfigMap.Name)
					require.True(t, mount.ReadOnly, w.name)
					for file, text := range config.Data {
						files, texts = append(files, mount.MountPath+"/"+file), append(texts, text)
					}
				case v.Secret != nil:
					require.Equal(t, secretName, v.Secret.SecretName)
					require.True(t, mount.ReadOnly, w.name)
					for _, file := range secretFiles(t, v.Secret) {
						files = append(files, mount.MountPath+"/"+file)
					}
				}
			}
			for _, from := range c.EnvFrom {
				require.Contains(t, m.configs, from.ConfigMapRef.Name, w.name)
			}
			for _, text := range texts {
				for _, path := range regexp.MustCompile(`(?:/etc/pleo|/run/secrets)[a-z_./-]*[a-z]`).FindAllString(text, -1) {
					require.Contains(t, files, path, "%s/%s", w.name, c.Name)
				}
			}
		}
		for name := range volumes {
			require.True(t, used[name], "%s: nobody mounts %s", w.name, name)
		}
	}
}

func (w workload) claims() (names []string) {
	for _, c := range w.pvcs {
		names = append(names, c.Name)
	}
	return names
}

func secretFiles(t *testing.T, s *corev1.SecretVolumeSource) []string {
	t.Helper()
	if s.Items == nil {
		return secretKeys
	}
	var files []string
	for _, item := range s.Items {
		require.Contains(t, secretKeys, item.Key)
		files = append(files, item.Path)
	}
	return files
}

func TestProbesAskPortsThatAreThere(t *testing.T) {
	for _, w := range render(t, overlay).workloads {
		for _, c := range w.containers() {
			name := w.name + "/" + c.Name
			ports := map[string]bool{}
			for _, p := range c.Ports {
				ports[p.Name] = true
			}
			probes := []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe}
			for _, probe := range probes {
				if c.Name == "application" {
					require.Nil(t, probe)
					continue
				}
				require.NotNil(t, probe, name)
				// Health asks Redis, which may take longer than the default of 1 s.
				require.GreaterOrEqual(t, probe.TimeoutSeconds, int32(3), name)
				if probe.HTTPGet != nil {
					require.True(t, ports[probe.HTTPGet.Port.StrVal], "%s: port %s", name, probe.HTTPGet.Port.StrVal)
				}
			}
		}
	}
}

func TestTheProxyIsASidecarThatStartsBeforeAndEndsAfterTheApplication(t *testing.T) {
	m := render(t, overlay)
	sidecars := 0
	for _, w := range m.workloads {
		if w.pod.Labels["pleo-auth-proxy/sidecar"] != "true" {
			require.Empty(t, w.pod.Spec.InitContainers, w.name)
			continue
		}
		sidecars++
		require.Len(t, w.pod.Spec.InitContainers, 1, w.name)
		sidecar := w.pod.Spec.InitContainers[0]
		require.Equal(t, corev1.ContainerRestartPolicyAlways, *sidecar.RestartPolicy, w.name)
		require.Equal(t, "/healthz", sidecar.StartupProbe.HTTPGet.Path, "what comes next waits for the start-up probe: %s", w.name)
		require.Equal(t, "/livez", sidecar.LivenessProbe.HTTPGet.Path, "Redis that is away is no reason to restart: %s", w.name)
		require.Contains(t, strings.Join(w.pod.Spec.Containers[0].Args, " "), "http://127.0.0.1:7536/", w.name)
	}
	require.Equal(t, 2, sidecars, "the application and the Job")
}

// One after the other: the application, calls that are under way, refreshes.
func TestThePodsTimeToEndIsLongEnough(t *testing.T) {
	m := render(t, overlay)
	const application, underWay = 10, 2 * (10 + 5) // the latter: refresh_timeout and what the proxy adds to it, twice
	for _, w := range m.workloads {
		if w.name == "pleo-redis" {
			continue
		}
		proxy := w.containers()[0]
		needed := int64(grace(t, m, w)) + underWay
		if len(w.pod.Spec.InitContainers) > 0 {
			needed += application
		}
		if l := proxy.Lifecycle; l != nil {
			needed += l.PreStop.Sleep.Seconds
		}
		require.GreaterOrEqual(t, *w.pod.Spec.TerminationGracePeriodSeconds, needed, w.name)
	}
}
