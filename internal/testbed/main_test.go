package testbed_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }

// runs remembers what the kubelets of the shared bed had run.
var runs recorder

type recorder struct {
	testbed.AlwaysReady
	mu      sync.Mutex
	all     []*testbed.Container
	stopped []string // pods
}

func (r *recorder) StartContainer(ctx context.Context, run *testbed.Container) error {
	r.mu.Lock()
	r.all = append(r.all, run)
	r.mu.Unlock()
	if run.Pod.Object.Annotations["test/by-hand"] != "" {
		return nil
	}
	return r.AlwaysReady.StartContainer(ctx, run)
}

func (r *recorder) StopPod(_ context.Context, p *testbed.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = append(r.stopped, p.Object.Namespace+"/"+p.Object.Name)
}

// of returns the runs of a pod's container, the oldest first.
func (r *recorder) of(pod *corev1.Pod, container string) []*testbed.Container {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*testbed.Container
	for _, c := range r.all {
		if c.Pod.Object.UID == pod.UID && c.Spec.Name == container {
			out = append(out, c)
		}
	}
	return out
}

func (r *recorder) wasStopped(pod *corev1.Pod) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.stopped, pod.Namespace+"/"+pod.Name)
}

// bed is shared by the tests: three clusters of two nodes.
func bed(t *testing.T) *testbed.Bed {
	return testbed.Shared(t, 3, func(o *testbed.Options) {
		o.Nodes = 2
		o.Runtime = func(*testbed.Cluster) testbed.PodRuntime { return &runs }
	})
}

// within bounds a test that would else hang.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// place gives a test a cluster and a namespace of its own.
func place(t *testing.T) (context.Context, *testbed.Cluster, string) {
	ctx, c := within(t), bed(t).Cluster("east")
	namespace, err := c.Namespace(ctx, "test")
	require.NoError(t, err)
	return ctx, c, namespace
}

// workload is a manifest of one container called main, and whatever the pod
// template is to have besides: spec lines indented by six spaces.
func workload(kind, name string, replicas int, podSpec ...string) []byte {
	var count string
	if kind != "DaemonSet" {
		count = fmt.Sprintf("  replicas: %d\n", replicas)
	}
	return fmt.Appendf(nil, `apiVersion: apps/v1
kind: %s
metadata: {name: %s}
spec:
%s  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec:
      containers:
      - {name: main, image: example.com/main}
%s
`, kind, name, count, name, name, strings.Join(podSpec, "\n"))
}

// apply applies manifests that must be right.
func apply(t *testing.T, c *testbed.Cluster, namespace string, manifests []byte) {
	t.Helper()
	_, err := c.Apply(t.Context(), namespace, manifests)
	require.NoError(t, err)
}

func pods(ctx context.Context, t *testing.T, c *testbed.Cluster, namespace, app string) []corev1.Pod {
	t.Helper()
	list, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	require.NoError(t, err)
	return list.Items
}

// until waits for a condition of a pod, and returns the pod as it then is.
func until(ctx context.Context, t *testing.T, c *testbed.Cluster, namespace, name string, ok func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	err := testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		var err error
		pod, err = c.Client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		return err == nil && ok(pod), err
	})
	require.NoError(t, err, "the pod is %+v", pod)
	return pod
}

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// onePod applies a manifest of a bare pod and waits until it is ready.
func onePod(ctx context.Context, t *testing.T, c *testbed.Cluster, namespace, manifest string) *corev1.Pod {
	t.Helper()
	objects, err := c.Apply(ctx, namespace, []byte(manifest))
	require.NoError(t, err)
	return until(ctx, t, c, namespace, objects[len(objects)-1].GetName(), ready)
}
