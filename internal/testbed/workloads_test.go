package testbed_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

func TestEveryKindOfWorkloadRollsOutAndRestarts(t *testing.T) {
	for kind, count := range map[string]int{"Deployment": 3, "StatefulSet": 3, "DaemonSet": 2} {
		t.Run(kind, func(t *testing.T) {
			ctx, c, namespace := place(t)
			apply(t, c, namespace, workload(kind, "web", 3))
			require.NoError(t, c.RolledOut(ctx, kind, namespace, "web"))
			before := pods(ctx, t, c, namespace, "web")
			require.Len(t, before, count)
			require.NoError(t, c.Restart(ctx, kind, namespace, "web", "once"))
			require.NoError(t, c.RolledOut(ctx, kind, namespace, "web"))
			addresses, nodes := make(map[string]bool), make(map[string]bool)
			for _, p := range before {
				require.NoError(t, testbed.Until(ctx, func(context.Context) (bool, error) { return runs.wasStopped(&p), nil }))
			}
			for _, p := range pods(ctx, t, c, namespace, "web") {
				if p.DeletionTimestamp != nil {
					continue
				}
				require.True(t, ready(&p))
				require.Equal(t, "once", p.Annotations["kubectl.kubernetes.io/restartedAt"])
				addresses[p.Status.PodIP], nodes[p.Spec.NodeName] = true, true
			}
			require.Len(t, addresses, count, "every pod has an address of its own")
			require.Len(t, nodes, 2)
		})
	}
}

func TestAServiceHasItsPodsAsEndpoints(t *testing.T) {
	ctx, c, namespace := place(t)
	apply(t, c, namespace, append(workload("Deployment", "web", 2), []byte(`---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
`)...))
	require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		slices, err := c.Client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=web"})
		return err == nil && len(slices.Items) == 1 && len(slices.Items[0].Endpoints) == 2, err
	}))
}

func TestJobsRunToTheirEnd(t *testing.T) {
	ctx, c, namespace := place(t)
	apply(t, c, namespace, []byte(`apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      completions: 2
      template:
        spec:
          restartPolicy: Never
          initContainers:
          - {name: proxy, image: example.com/proxy, restartPolicy: Always}
          containers:
          - {name: main, image: example.com/main}
`))
	cron, err := c.Client.BatchV1().CronJobs(namespace).Get(ctx, "nightly", metav1.GetOptions{})
	require.NoError(t, err)
	_, err = c.Client.BatchV1().Jobs(namespace).Create(ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "now"}, Spec: cron.Spec.JobTemplate.Spec,
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		j, err := c.Client.BatchV1().Jobs(namespace).Get(ctx, "now", metav1.GetOptions{})
		return err == nil && j.Status.Succeeded == 2 && j.Status.CompletionTime != nil, err
	}))
	list, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	for _, p := range list.Items {
		require.Equal(t, corev1.PodSucceeded, p.Status.Phase)
		require.NotNil(t, p.Status.InitContainerStatuses[0].State.Terminated, "the sidecar ends with its pod")
	}
}

// What must come first comes first: init containers one by one, a sidecar with
// a startup probe, and then the rest.
func TestContainersStartInTheirOrder(t *testing.T) {
	ctx, c, namespace := place(t)
	apply(t, c, namespace, []byte(`apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {test/by-hand: "yes"}}
spec:
  initContainers:
  - {name: setup, image: example.com/setup}
  - name: proxy
    image: example.com/proxy
    restartPolicy: Always
    startupProbe: {httpGet: {port: 4191, path: /ready}}
  containers:
  - {name: main, image: example.com/main}
`))
	next := func(container string, n int) *testbed.Container {
		t.Helper()
		var pod *corev1.Pod
		require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
			var err error
			pod, err = c.Client.CoreV1().Pods(namespace).Get(ctx, "p", metav1.GetOptions{})
			return err == nil && len(runs.of(pod, container)) == n, err
		}))
		return runs.of(pod, container)[n-1]
	}
	setup := next("setup", 1)
	require.True(t, setup.Init && setup.Ends() && !setup.Sidecar())
	setup.Exit(1) // it is tried again
	setup = next("setup", 2)
	require.EqualValues(t, 1, setup.Restarts)
	setup.Exit(0)
	proxy := next("proxy", 1)
	require.True(t, proxy.Sidecar() && !proxy.Ends())
	pod := until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool {
		return len(p.Status.InitContainerStatuses) == 2 && p.Status.InitContainerStatuses[1].State.Running != nil
	})
	require.Empty(t, runs.of(pod, "main"))
	require.Equal(t, corev1.PodPending, pod.Status.Phase)
	proxy.SetReady(true)
	main := next("main", 1)
	require.False(t, ready(until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })))
	main.SetReady(true)
	until(ctx, t, c, namespace, "p", ready)
	proxy.SetReady(false)
	until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool { return !ready(p) })
	proxy.Exit(0) // a sidecar is restarted whatever its code
	proxy.SetReady(true)
	require.False(t, ready(until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool {
		return p.Status.InitContainerStatuses[1].RestartCount == 1
	})), "the word of a run that is over does not count")
	next("proxy", 2).SetReady(true)
	until(ctx, t, c, namespace, "p", ready)
}
