package deploytest

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// workload is something that makes pods.
type workload struct {
	name string
	pod  corev1.PodTemplateSpec
	// selector is nil for Jobs, whose selectors Kubernetes makes.
	selector *metav1.LabelSelector
	pvcs     []corev1.PersistentVolumeClaim
}

// manifests are what a folder renders to.
type manifests struct {
	names     map[string]bool // kind/name
	namespace map[string]string
	workloads []workload
	configs   map[string]corev1.ConfigMap
	services  map[string]corev1.Service
	ingresses []networkingv1.Ingress
	policies  []networkingv1.NetworkPolicy
	budgets   []policyv1.PodDisruptionBudget
}

// overlay is what a user applies.
const overlay = "../kubernetes/overlays/staging"

// rendered are the folders that kubectl has rendered, which takes it a while.
var rendered = map[string]string{}

func kustomize(t *testing.T, folder string) string {
	t.Helper()
	if out, ok := rendered[folder]; ok {
		return out
	}
	kubectl, err := exec.LookPath("kubectl")
	require.NoError(t, err, "kubectl is not on the PATH: install it (Debian: apt-get install kubernetes-client)")
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), kubectl, "kustomize", folder)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	rendered[folder] = string(out)
	return rendered[folder]
}

// render decodes each object strictly: a field that Kubernetes does not have, or
// has twice, is an error.
func render(t *testing.T, folder string) manifests {
	t.Helper()
	m := manifests{
		names: map[string]bool{}, namespace: map[string]string{},
		configs: map[string]corev1.ConfigMap{}, services: map[string]corev1.Service{},
	}
	for document := range strings.SplitSeq(kustomize(t, folder), "\n---\n") {
		var head struct {
			metav1.TypeMeta   `json:",inline"`
			metav1.ObjectMeta `json:"metadata"`
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &head))
		key := head.Kind + "/" + head.Name
		require.False(t, m.names[key], "%s is there twice", key)
		m.names[key], m.namespace[key] = true, head.Namespace
		m.add(t, head.APIVersion+" "+head.Kind, []byte(document))
	}
	return m
}

func (m *manifests) add(t *testing.T, kind string, document []byte) {
	t.Helper()
	switch kind {
	case "apps/v1 Deployment":
		o := decode[appsv1.Deployment](t, document)
		m.workloads = append(m.workloads, workload{o.Name, o.Spec.Template, o.Spec.Selector, nil})
	case "apps/v1 StatefulSet":
		o := decode[appsv1.StatefulSet](t, document)
		m.workloads = append(m.workloads, workload{o.Name, o.Spec.Template, o.Spec.Selector, o.Spec.VolumeClaimTemplates})
	case "batch/v1 CronJob":
		o := decode[batchv1.CronJob](t, document)
		m.workloads = append(m.workloads, workload{o.Name, o.Spec.JobTemplate.Spec.Template, nil, nil})
	case "v1 ConfigMap":
		o := decode[corev1.ConfigMap](t, document)
		m.configs[o.Name] = o
	case "v1 Service":
		o := decode[corev1.Service](t, document)
		m.services[o.Name] = o
	case "v1 Namespace":
		decode[corev1.Namespace](t, document)
	case "networking.k8s.io/v1 Ingress":
		m.ingresses = append(m.ingresses, decode[networkingv1.Ingress](t, document))
	case "networking.k8s.io/v1 NetworkPolicy":
		m.policies = append(m.policies, decode[networkingv1.NetworkPolicy](t, document))
	case "policy/v1 PodDisruptionBudget":
		m.budgets = append(m.budgets, decode[policyv1.PodDisruptionBudget](t, document))
	default:
		require.Fail(t, "an object that no test looks at", kind)
	}
}

func decode[T any](t *testing.T, document []byte) (object T) {
	t.Helper()
	require.NoError(t, yaml.UnmarshalStrict(document, &object, yaml.DisallowUnknownFields), string(document))
	return object
}

// containers returns all of a pod's containers, sidecars included.
func (w workload) containers() []corev1.Container {
	return append(append([]corev1.Container{}, w.pod.Spec.InitContainers...), w.pod.Spec.Containers...)
}

func TestDecodingIsStrict(t *testing.T) {
	var service corev1.Service
	require.Error(t, yaml.UnmarshalStrict([]byte("spec:\n  portz: []\n"), &service, yaml.DisallowUnknownFields))
	require.Error(t, yaml.UnmarshalStrict([]byte("spec: {}\nspec: {}\n"), &service, yaml.DisallowUnknownFields))
}

func TestTheOverlayPutsEverythingIntoOneNamespace(t *testing.T) {
	m := render(t, overlay)
	for key, namespace := range m.namespace {
		if !strings.HasPrefix(key, "Namespace/") {
			require.Equal(t, "pleo-staging", namespace, key)
		}
	}
	require.True(t, m.names["Namespace/pleo-staging"])
}

func TestBaseAndRedisRenderAlone(t *testing.T) {
	require.True(t, render(t, "../kubernetes/base").names["Deployment/example-application"])
	require.True(t, render(t, "../kubernetes/redis").names["StatefulSet/pleo-redis"])
}
