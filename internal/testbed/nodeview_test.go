package testbed_test

import (
	"context"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

// reader is a pod that has the ConfigMap in its environment, as a volume and as
// a single file, which never changes.
const reader = `---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: p}}
spec:
  containers:
  - name: main
    image: example.com/main
    args: ["--trust=$(ROOTS)", "--not=$(MISSING)", "$$(ROOTS)"]
    env:
    - name: ROOTS
      valueFrom: {configMapKeyRef: {name: roots, key: ca-bundle.crt}}
    - name: ADDRESS
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    volumeMounts:
    - {name: roots, mountPath: /roots}
    - {name: roots, mountPath: /fixed.crt, subPath: ca-bundle.crt}
    - {name: token, mountPath: /token}
  volumes:
  - name: roots
    configMap: {name: roots}
  - name: token
    projected:
      sources:
      - serviceAccountToken: {path: token, audience: identity.l5d.io}
      - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
`

func setRoots(ctx context.Context, t *testing.T, c *testbed.Cluster, namespace, value string) {
	t.Helper()
	_, err := c.Apply(ctx, namespace, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: roots}\ndata: {ca-bundle.crt: "+value+"}\n"))
	require.NoError(t, err)
}

// sees is what a run has of the ConfigMap: in its environment, as a volume, as
// a single file.
func sees(ctx context.Context, t *testing.T, run *testbed.Container) [3]string {
	t.Helper()
	volume, err := run.ReadFile(ctx, "/roots/ca-bundle.crt")
	require.NoError(t, err)
	fixed, err := run.ReadFile(ctx, "/fixed.crt")
	require.NoError(t, err)
	return [3]string{run.Env["ROOTS"], string(volume), string(fixed)}
}

func TestAContainerHasWhatItRefersTo(t *testing.T) {
	ctx, c, namespace := place(t)
	setRoots(ctx, t, c, namespace, "old")
	pod := onePod(ctx, t, c, namespace, reader)
	run := runs.of(pod, "main")[0]
	require.Equal(t, [3]string{"old", "old", "old"}, sees(ctx, t, run))
	require.Equal(t, []string{"--trust=old", "--not=$(MISSING)", "$(ROOTS)"}, run.Args)
	require.Equal(t, pod.Status.PodIP, run.Env["ADDRESS"])
	name, err := run.ReadFile(ctx, "/token/name")
	require.NoError(t, err)
	require.Equal(t, "p", string(name))
	token, err := run.ReadFile(ctx, "/token/token")
	require.NoError(t, err)
	require.NotEmpty(t, token)
	_, err = run.ReadFile(ctx, "/roots/other")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = run.ReadFile(ctx, "/elsewhere")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestAChangeReachesVolumesAtOnceAndTheEnvironmentByARestart(t *testing.T) {
	ctx, c, namespace := place(t)
	setRoots(ctx, t, c, namespace, "old")
	pod := onePod(ctx, t, c, namespace, reader)
	run := runs.of(pod, "main")[0]
	setRoots(ctx, t, c, namespace, "new")
	require.Equal(t, [3]string{"old", "new", "old"}, sees(ctx, t, run))
	select {
	case <-run.VolumesChanged():
	case <-ctx.Done():
		t.Fatal("the container is not told")
	}
	require.NoError(t, c.Kubelet.RestartContainer(ctx, namespace, "p", "main"))
	require.Equal(t, [3]string{"new", "new", "new"}, sees(ctx, t, runs.of(pod, "main")[1]))
}

func TestANodeThatLagsShowsAChangeWhenItIsDelivered(t *testing.T) {
	ctx, c, namespace := place(t)
	setRoots(ctx, t, c, namespace, "old")
	pod := onePod(ctx, t, c, namespace, reader)
	for _, n := range c.Kubelet.Nodes() {
		require.NoError(t, n.Env.Hold(ctx))
		require.NoError(t, n.Volumes.Hold(ctx))
		t.Cleanup(n.Env.Release)
		t.Cleanup(n.Volumes.Release)
	}
	setRoots(ctx, t, c, namespace, "new")
	require.NoError(t, c.Kubelet.RestartContainer(ctx, namespace, "p", "main"))
	run := runs.of(pod, "main")[1]
	require.Equal(t, [3]string{"old", "old", "old"}, sees(ctx, t, run), "the node does not know yet")

	node := run.Pod.Node
	require.NoError(t, node.Env.Deliver(ctx))
	require.Equal(t, [3]string{"old", "old", "old"}, sees(ctx, t, run), "an environment does not change")
	require.NoError(t, c.Kubelet.RestartContainer(ctx, namespace, "p", "main"))
	run = runs.of(pod, "main")[2]
	require.Equal(t, [3]string{"new", "old", "old"}, sees(ctx, t, run), "volumes come later")
	require.NoError(t, node.Volumes.Deliver(ctx))
	require.Equal(t, [3]string{"new", "new", "old"}, sees(ctx, t, run))

	setRoots(ctx, t, c, namespace, "newer")
	require.Equal(t, [3]string{"new", "new", "old"}, sees(ctx, t, run), "still held")
	node.Volumes.Release()
	require.Equal(t, [3]string{"new", "newer", "old"}, sees(ctx, t, run))
}

func TestALagPassesByItself(t *testing.T) {
	ctx, c, namespace := place(t)
	setRoots(ctx, t, c, namespace, "old")
	run := runs.of(onePod(ctx, t, c, namespace, reader), "main")[0]
	view := run.Pod.Node.Volumes
	require.NoError(t, view.SetLag(ctx, 10*time.Millisecond))
	t.Cleanup(view.Release)
	setRoots(ctx, t, c, namespace, "new")
	require.NoError(t, testbed.Until(ctx, func(context.Context) (bool, error) {
		return sees(ctx, t, run)[1] == "new", nil
	}))
}

func TestAPodWaitsForWhatItRefersTo(t *testing.T) {
	ctx, c, namespace := place(t)
	apply(t, c, namespace, []byte(reader))
	pod := until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool {
		for _, condition := range p.Status.Conditions {
			if condition.Type == corev1.PodReadyToStartContainers && condition.Message == `MountVolume.SetUp failed: configmap "roots" not found` {
				return true
			}
		}
		return false
	})
	require.Equal(t, corev1.PodPending, pod.Status.Phase)
	_, err := c.Client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "roots"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool {
		w := p.Status.ContainerStatuses[0].State.Waiting
		return w != nil && w.Reason == "CreateContainerConfigError" &&
			w.Message == "env ROOTS: couldn't find key ca-bundle.crt in ConfigMap "+namespace+"/roots"
	})
	setRoots(ctx, t, c, namespace, "there")
	until(ctx, t, c, namespace, "p", ready)
}
