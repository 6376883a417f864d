package linkerd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
)

func noWait(context.Context, time.Duration) error { return nil }

func typesUID(s string) types.UID { return types.UID(s) }

// certs returns certificates of the fixtures by name, as one text.
func certs(t testing.TB, names ...string) (pem string) {
	t.Helper()
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join("..", "..", "internal", "layout", "testdata", "certs", n+".pem"))
		require.NoError(t, err)
		pem += string(b)
	}
	return pem
}

// meshedPod returns a running pod with a proxy that was given the anchors.
func meshedPod(name, namespace, anchors string, edit ...func(*corev1.Pod)) *corev1.Pod {
	started := metav1.NewTime(now.Add(-time.Hour))
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID("pod-" + namespace + "-" + name),
			Labels:      map[string]string{labelControlPlane: "linkerd"},
			Annotations: map[string]string{annotationProxyVersion: "edge-25.4.4"}},
		Spec: corev1.PodSpec{ServiceAccountName: "sa", NodeName: "node-0", Containers: []corev1.Container{
			{Name: "app"},
			{Name: layout.ProxyContainer, Image: "cr.l5d.io/linkerd/proxy:edge-25.4.4", Env: []corev1.EnvVar{
				{Name: layout.ProxyAnchorsEnv, Value: anchors},
				{Name: envLocalName, Value: "$(_pod_sa).$(_pod_ns).serviceaccount.identity.linkerd.cluster.local"},
			}},
		}},
		Status: corev1.PodStatus{Phase: "Running", PodIP: "10.0.0.7", ContainerStatuses: []corev1.ContainerStatus{
			{Name: layout.ProxyContainer, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: started}}},
		}},
	}
	for _, e := range edit {
		e(p)
	}
	return p
}

func ownedBy(apiVersion, kind, name, uid string) func(*corev1.Pod) {
	yes := true
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(uid), Controller: &yes}}
	}
}

func fromRoots(p *corev1.Pod) {
	p.Spec.Containers[1].Env[0] = corev1.EnvVar{Name: layout.ProxyAnchorsEnv, ValueFrom: &corev1.EnvVarSource{
		ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: rootsName}, Key: rootsKey}}}
}

// unknowns renders what a survey does not know, without the reasons.
func unknowns(list []mesh.Unknown) (out []string) {
	for _, u := range list {
		out = append(out, fmt.Sprintf("%s %s", u.Code, u.About))
	}
	return out
}

// names returns the subjects of a trust set's anchors.
func names(t *mesh.TrustSet) string {
	if t == nil {
		return "?"
	}
	var out []string
	for _, a := range t.Anchors {
		out = append(out, a.Subject())
	}
	slices.Sort(out)
	return strings.Join(out, "+")
}
