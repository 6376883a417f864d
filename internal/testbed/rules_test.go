package testbed_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

const aPod = `apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: p}}
spec:
  containers:
  - {name: main, image: example.com/main}
`

func TestAPodThatIsHeldNeverGetsReadyAndStopsARollout(t *testing.T) {
	ctx, c, namespace := place(t)
	apply(t, c, namespace, workload("Deployment", "web", 3))
	require.NoError(t, c.RolledOut(ctx, "Deployment", namespace, "web"))
	release := c.Kubelet.Hold(func(p *corev1.Pod) bool {
		return p.Namespace == namespace && p.Annotations["kubectl.kubernetes.io/restartedAt"] == "held"
	})
	t.Cleanup(release)
	require.NoError(t, c.Restart(ctx, "Deployment", namespace, "web", "held"))
	require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		d, err := c.Client.AppsV1().Deployments(namespace).Get(ctx, "web", metav1.GetOptions{})
		return err == nil && d.Status.UpdatedReplicas == 1 && d.Status.UnavailableReplicas == 1, err
	}))
	release()
	require.NoError(t, c.RolledOut(ctx, "Deployment", namespace, "web"))
}

func TestAPodThatIsReadyCanBeHeldToo(t *testing.T) {
	ctx, c, namespace := place(t)
	onePod(ctx, t, c, namespace, aPod)
	release := c.Kubelet.Hold(testbed.Named(namespace, "p"))
	pod := until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool { return !ready(p) })
	require.Equal(t, corev1.PodRunning, pod.Status.Phase)
	release()
	until(ctx, t, c, namespace, "p", ready)
}

func TestAPodThatMayNotStartStaysPending(t *testing.T) {
	ctx, c, namespace := place(t)
	release := c.Kubelet.HoldStart(testbed.Labelled(namespace, "app=p"))
	apply(t, c, namespace, []byte(aPod))
	pod := until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" })
	require.Equal(t, corev1.PodPending, pod.Status.Phase)
	release()
	until(ctx, t, c, namespace, "p", ready)
}

func TestAPodThatFailsIsReplaced(t *testing.T) {
	ctx, c, namespace := place(t)
	apply(t, c, namespace, workload("Deployment", "web", 1))
	require.NoError(t, c.RolledOut(ctx, "Deployment", namespace, "web"))
	failed := pods(ctx, t, c, namespace, "web")[0]
	require.NoError(t, c.Kubelet.Fail(ctx, namespace, failed.Name, "Evicted"))
	pod, err := c.Client.CoreV1().Pods(namespace).Get(ctx, failed.Name, metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, corev1.PodFailed, pod.Status.Phase)
	require.Equal(t, "Evicted", pod.Status.Reason)
	require.NoError(t, c.RolledOut(ctx, "Deployment", namespace, "web"))
	require.True(t, runs.wasStopped(&failed))
	require.Error(t, c.Kubelet.Fail(ctx, namespace, "no-such-pod", "Evicted"))
}

func TestACrashLoopCountsItsRestartsAndEnds(t *testing.T) {
	ctx, c, namespace := place(t)
	first := onePod(ctx, t, c, namespace, aPod)
	crash := c.Kubelet.CrashLoop(testbed.Named(namespace, "p"), "")
	loops := func(n int32) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			s := p.Status.ContainerStatuses[0]
			return s.RestartCount == n && s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff" &&
				s.LastTerminationState.Terminated != nil && !s.Ready && !ready(p)
		}
	}
	until(ctx, t, c, namespace, "p", loops(1))
	crash.Again()
	pod := until(ctx, t, c, namespace, "p", loops(2))
	require.Equal(t, corev1.PodRunning, pod.Status.Phase)
	crash.Release()
	pod = until(ctx, t, c, namespace, "p", ready)
	require.EqualValues(t, 3, pod.Status.ContainerStatuses[0].RestartCount)
	require.Equal(t, first.UID, pod.UID)
	require.Len(t, runs.of(pod, "main"), 2)
}

func TestAContainerRestartsInPlace(t *testing.T) {
	ctx, c, namespace := place(t)
	first := onePod(ctx, t, c, namespace, aPod)
	for n := range int32(3) {
		require.NoError(t, c.Kubelet.RestartContainer(ctx, namespace, "p", "main"))
		pod := until(ctx, t, c, namespace, "p", ready)
		require.Equal(t, first.UID, pod.UID)
		s := pod.Status.ContainerStatuses[0]
		require.Equal(t, n+1, s.RestartCount)
		require.EqualValues(t, 137, s.LastTerminationState.Terminated.ExitCode)
	}
	require.Error(t, c.Kubelet.RestartContainer(ctx, namespace, "p", "no-such-container"))
}

func TestAContainerThatExitsIsRestarted(t *testing.T) {
	ctx, c, namespace := place(t)
	pod := onePod(ctx, t, c, namespace, aPod)
	for n := range int32(3) {
		all := runs.of(pod, "main")
		all[len(all)-1].Exit(2)
		until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool {
			return p.Status.ContainerStatuses[0].RestartCount == n+1 && ready(p)
		})
	}
}

func TestAPodTerminatesAsSlowlyAsWanted(t *testing.T) {
	ctx, c, namespace := place(t)
	pod := onePod(ctx, t, c, namespace, aPod)
	release := c.Kubelet.HoldTermination(testbed.Named(namespace, "p"))
	require.NoError(t, c.Client.CoreV1().Pods(namespace).Delete(ctx, "p", metav1.DeleteOptions{}))
	until(ctx, t, c, namespace, "p", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
	require.False(t, runs.wasStopped(pod))
	release()
	require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := c.Client.CoreV1().Pods(namespace).Get(ctx, "p", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	}))
	require.True(t, runs.wasStopped(pod))
}
