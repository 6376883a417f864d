package testbed_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/windlass-mesh/windlass/internal/testbed"
	"github.com/windlass-mesh/windlass/internal/testbed/binaries"
)

func TestThreeClustersStartAndKnowNothingOfEachOther(t *testing.T) {
	ctx, b := within(t), bed(t)
	require.Len(t, b.Clusters, 3)
	t.Logf("three clusters took %s", b.Took)
	for i, name := range []string{"east", "west", "north"} {
		c := b.Clusters[i]
		require.Equal(t, name, c.Name)
		version, err := c.Client.Discovery().ServerVersion()
		require.NoError(t, err)
		require.Equal(t, binaries.KubernetesVersion, version.GitVersion)
		nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		require.NoError(t, err)
		require.Len(t, nodes.Items, 2)
	}
	east, west := b.Cluster("east"), b.Cluster("west")
	namespace, err := east.Namespace(ctx, "only-east")
	require.NoError(t, err)
	_, err = west.Client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err), "%v", err)

	// The one's way in does not lead into the other.
	mixed := rest.CopyConfig(east.Config)
	mixed.Host = west.URL
	client, err := kubernetes.NewForConfig(mixed)
	require.NoError(t, err)
	_, err = client.Discovery().ServerVersion()
	require.ErrorContains(t, err, "certificate")
}

func TestTheKubeconfigHasAContextForEachCluster(t *testing.T) {
	b := bed(t)
	file, err := clientcmd.LoadFromFile(b.Kubeconfig)
	require.NoError(t, err)
	require.Equal(t, "east", file.CurrentContext)
	for _, c := range b.Clusters {
		config, err := clientcmd.NewNonInteractiveClientConfig(*file, c.Name, nil, nil).ClientConfig()
		require.NoError(t, err)
		client, err := kubernetes.NewForConfig(config)
		require.NoError(t, err)
		_, err = client.CoreV1().Nodes().Get(t.Context(), c.Name+"-node-0", metav1.GetOptions{})
		require.NoError(t, err)
	}
	info, err := os.Stat(b.Kubeconfig)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it holds keys")
}

func TestTwoBedsAtOnce(t *testing.T) {
	ctx, first := within(t), bed(t)
	second := testbed.Start(t, 1, func(o *testbed.Options) { o.Names = []string{"east"} })
	require.NotEqual(t, first.Clusters[0].URL, second.Clusters[0].URL)
	for _, b := range []*testbed.Bed{first, second} {
		c := b.Cluster("east")
		namespace, err := c.Namespace(ctx, "test")
		require.NoError(t, err)
		apply(t, c, namespace, workload("Deployment", "web", 2))
		require.NoError(t, c.RolledOut(ctx, "Deployment", namespace, "web"))
	}
}

func TestABedIsRefusedForBadNamesOrTooManyClusters(t *testing.T) {
	_, err := testbed.Up(within(t), testbed.Options{Names: []string{"a", "a"}})
	require.ErrorContains(t, err, `"a" is no name for a cluster, or is there twice`)
	_, err = testbed.Up(within(t), testbed.Options{Clusters: 99})
	require.ErrorContains(t, err, "at most")
}

func TestAComponentThatCannotStartSaysWhy(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a test bed")
	}
	_, err := testbed.Up(within(t), testbed.Options{APIServerFlags: []string{"--no-such-flag"}})
	require.ErrorContains(t, err, "unknown flag: --no-such-flag")
}
