package deploytest

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// matching returns the workloads whose pods a selector finds.
func (m manifests) matching(t *testing.T, s *metav1.LabelSelector) (found []workload) {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	require.NoError(t, err)
	require.False(t, selector.Empty(), "a selector that finds everything")
	for _, w := range m.workloads {
		if selector.Matches(labels.Set(w.pod.Labels)) {
			found = append(found, w)
		}
	}
	return found
}

func (w workload) hasPort(port intstr.IntOrString) bool {
	for _, c := range w.containers() {
		for _, p := range c.Ports {
			if port.StrVal != "" && p.Name == port.StrVal || port.StrVal == "" && p.ContainerPort == port.IntVal {
				return true
			}
		}
	}
	return false
}

func TestSelectorsFindWhatTheyAreFor(t *testing.T) {
	m := render(t, overlay)
	for _, w := range m.workloads {
		if w.selector != nil {
			found := m.matching(t, w.selector)
			require.Len(t, found, 1, w.name)
			require.Equal(t, w.name, found[0].name)
		}
	}
	budgeted := map[string]bool{}
	for _, b := range m.budgets {
		found := m.matching(t, b.Spec.Selector)
		require.Len(t, found, 1, b.Name)
		budgeted[found[0].name] = true
	}
	require.Len(t, budgeted, 3, "the application, the callback and Redis")
	for _, s := range m.services {
		found := m.matching(t, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
		require.Len(t, found, 1, s.Name)
		for _, p := range s.Spec.Ports {
			require.True(t, found[0].hasPort(p.TargetPort), "%s: %s", s.Name, p.Name)
		}
	}
}

func TestNetworkPoliciesCoverEveryPodAndNameItsPorts(t *testing.T) {
	m := render(t, overlay)
	covered := map[string]bool{}
	for _, p := range m.policies {
		require.Len(t, p.Spec.PolicyTypes, 2, p.Name)
		found := m.matching(t, &p.Spec.PodSelector)
		require.NotEmpty(t, found, p.Name)
		for _, w := range found {
			covered[w.name] = true
			for _, rule := range p.Spec.Ingress {
				require.NotEmpty(t, rule.From, "from anywhere: %s", p.Name)
				for _, port := range rule.Ports {
					require.True(t, w.hasPort(*port.Port), "%s: %s", p.Name, port.Port)
					require.NotEqual(t, int32(7536), port.Port.IntVal, "the application's port is for nobody else")
				}
				for _, from := range rule.From {
					if from.PodSelector != nil {
						require.NotEmpty(t, m.matching(t, from.PodSelector), p.Name)
					}
				}
			}
			for _, rule := range p.Spec.Egress {
				for _, to := range rule.To {
					if to.PodSelector == nil {
						continue
					}
					for _, target := range m.matching(t, to.PodSelector) {
						require.True(t, target.hasPort(*rule.Ports[0].Port), p.Name)
					}
					require.NotEmpty(t, m.matching(t, to.PodSelector), p.Name)
				}
			}
		}
	}
	require.Len(t, covered, len(m.workloads))
}

// The Ingress leads to the routes that the configuration has, under the name
// that Pleo sends browsers back to.
func TestTheIngressLeadsToTheCallback(t *testing.T) {
	m := render(t, overlay)
	require.Len(t, m.ingresses, 1)
	in := m.ingresses[0]
	host := in.Spec.Rules[0].Host
	require.Equal(t, []string{host}, in.Spec.TLS[0].Hosts)
	path := in.Spec.Rules[0].HTTP.Paths[0]
	service, ok := m.services[path.Backend.Service.Name]
	require.True(t, ok)
	require.Equal(t, path.Backend.Service.Port.Name, service.Spec.Ports[0].Name)
	for _, config := range m.configs {
		for name, value := range config.Data {
			if name == "PLEO_REDIRECT_URI" || name == "PLEO_AUTHORISE_URI" {
				require.True(t, strings.HasPrefix(value, "https://"+host+path.Path+"/"), value)
			}
		}
	}
}

// What the Caddyfiles read from the environment is in the ConfigMap, and
// nothing else.
func TestTheSettingsAreThoseThatTheCaddyfilesRead(t *testing.T) {
	m := render(t, overlay)
	set, read := map[string]bool{}, map[string]bool{}
	for _, config := range m.configs {
		for name, value := range config.Data {
			if strings.HasPrefix(name, "PLEO_") {
				require.NotEmpty(t, value)
				set[name] = true
			}
			for _, found := range regexp.MustCompile(`\{\$([A-Z_]+)\}`).FindAllStringSubmatch(value, -1) {
				read[found[1]] = true
			}
		}
	}
	require.NotEmpty(t, read)
	require.Equal(t, read, set)
}

// grace returns the grace_period of the configuration that a pod mounts.
func grace(t *testing.T, m manifests, w workload) int {
	t.Helper()
	for _, v := range w.pod.Spec.Volumes {
		if v.ConfigMap == nil {
			continue
		}
		found := regexp.MustCompile(`(?m)^grace_period (\d+)s$`).FindStringSubmatch(m.configs[v.ConfigMap.Name].Data["pleo.caddyfile"])
		require.NotNil(t, found, "%s: without grace_period an open stream keeps the proxy from ending", w.name)
		seconds, err := strconv.Atoi(found[1])
		require.NoError(t, err)
		return seconds
	}
	require.Fail(t, "no configuration", w.name)
	return 0
}

func TestRedisKeepsWhatItIsGiven(t *testing.T) {
	m := render(t, overlay)
	for _, w := range m.workloads {
		if w.name != "pleo-redis" {
			continue
		}
		require.Contains(t, m.services, "pleo-redis", "PLEO_REDIS_URL names it")
		require.Len(t, w.pvcs, 1)
		require.Contains(t, w.pvcs[0].Spec.AccessModes, corev1.ReadWriteOnce)
		redis := w.containers()[0]
		require.Contains(t, redis.VolumeMounts, corev1.VolumeMount{Name: w.pvcs[0].Name, MountPath: "/data"})

		// A rewrite of the append-only file forks: what is written meanwhile is in
		// memory twice. On the volume are then two files of twice that, a copy for a
		// backup, and what a restore has replaced.
		var conf string
		for _, config := range m.configs {
			conf += config.Data["redis.conf"]
		}
		found := regexp.MustCompile(`(?m)^maxmemory (\d+)mb$`).FindStringSubmatch(conf)
		require.NotNil(t, found)
		megabytes, err := strconv.ParseInt(found[1], 10, 64)
		require.NoError(t, err)
		require.GreaterOrEqual(t, redis.Resources.Limits.Memory().Value(), 2*megabytes<<20)
		require.GreaterOrEqual(t, w.pvcs[0].Spec.Resources.Requests.Storage().Value(), 8*megabytes<<20)
		require.Contains(t, conf, "\nmaxmemory-policy noeviction\n")
		require.Contains(t, conf, "\nappendonly yes\nappendfsync always\n")
	}
}
