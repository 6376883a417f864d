package testbed_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAnAPIServerThatIsKilledComesBackWithItsData(t *testing.T) {
	ctx, c := within(t), bed(t).Cluster("north")
	namespace, err := c.Namespace(ctx, "test")
	require.NoError(t, err)
	before, url := c.API.PID(), c.URL
	c.API.Kill()
	require.Zero(t, c.API.PID())
	_, err = c.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NoError(t, c.API.Start(ctx))
	require.NotEqual(t, before, c.API.PID())
	require.Equal(t, url, c.URL)
	_, err = c.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	require.NoError(t, err)
	// Controllers and kubelet have found it again.
	apply(t, c, namespace, workload("Deployment", "web", 1))
	require.NoError(t, c.RolledOut(ctx, "Deployment", namespace, "web"))
}

func TestAnAPIServerThatIsFrozenAnswersNobodyUntilItGoesOn(t *testing.T) {
	ctx, c := within(t), bed(t).Cluster("north")
	require.NoError(t, c.API.Pause())
	t.Cleanup(func() { _ = c.API.Resume() })
	answered := make(chan error, 1)
	go func() {
		_, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		answered <- err
	}()
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err := c.Client.CoreV1().Nodes().List(short, metav1.ListOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, answered)
	require.NoError(t, c.API.Resume())
	require.NoError(t, <-answered)
}

func TestAFrozenAPIServerCanBeStopped(t *testing.T) {
	ctx, c := within(t), bed(t).Cluster("north")
	require.NoError(t, c.API.Pause())
	require.NoError(t, c.API.Stop(ctx))
	require.Zero(t, c.API.PID())
	require.ErrorContains(t, c.API.Pause(), "has ended")
	require.NoError(t, c.API.Start(ctx))
	require.NoError(t, c.API.Start(ctx), "a running process is left alone")
}

func TestWithoutControllersNothingRollsOutUntilTheyAreBack(t *testing.T) {
	ctx, c := within(t), bed(t).Cluster("north")
	namespace, err := c.Namespace(ctx, "test")
	require.NoError(t, err)
	c.Controllers.Kill()
	apply(t, c, namespace, workload("Deployment", "web", 1))
	d, err := c.Client.AppsV1().Deployments(namespace).Get(ctx, "web", metav1.GetOptions{})
	require.NoError(t, err)
	require.Zero(t, d.Status.ObservedGeneration)
	require.NoError(t, c.Controllers.Start(ctx))
	require.NoError(t, c.RolledOut(ctx, "Deployment", namespace, "web"))
}
