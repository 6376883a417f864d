package testbed_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

func TestTheAuditLogCountsCalls(t *testing.T) {
	ctx, c, namespace := place(t)
	client, err := kubernetes.NewForConfig(c.Calling(namespace))
	require.NoError(t, err)
	_, err = client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	mark, err := c.AuditMark()
	require.NoError(t, err)
	for range 3 {
		_, err = client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
		require.NoError(t, err)
	}
	_, err = client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "made"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().ConfigMaps(namespace).Get(ctx, "missing", metav1.GetOptions{})
	require.True(t, apierrors.IsNotFound(err))

	calls, err := c.Calls(mark, testbed.ByUserAgent(namespace))
	require.NoError(t, err)
	require.Equal(t, map[string]int{"list": 3, "create": 1, "get": 1}, testbed.Count(calls, func(c testbed.Call) string { return c.Verb }))
	require.Equal(t, "create configmaps "+namespace+"/made 201", calls[3].String())
	require.True(t, calls[3].Writes())
	require.Equal(t, 404, calls[4].Code)
	all, err := c.Calls(testbed.Mark{}, testbed.ByUserAgent(namespace))
	require.NoError(t, err)
	require.Len(t, all, 6)
	health, err := c.Calls(testbed.Mark{}, func(c testbed.Call) bool { return strings.HasPrefix(c.URI, "/readyz") })
	require.NoError(t, err)
	require.Empty(t, health)
}

func TestAServiceAccountMayDoWhatItMayAndNoMore(t *testing.T) {
	ctx, c, namespace := place(t)
	other, err := c.Namespace(ctx, "other")
	require.NoError(t, err)
	config, err := c.ServiceAccount(ctx, namespace, "reader", testbed.Rights{
		Everywhere: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list"}}},
		In: map[string][]rbacv1.PolicyRule{
			namespace: {{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list"}}},
		},
	})
	require.NoError(t, err)
	file := t.TempDir() + "/kubeconfig"
	require.NoError(t, c.WriteKubeconfig(file, config))
	config, err = clientcmd.BuildConfigFromFlags("", file)
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	mark, err := c.AuditMark()
	require.NoError(t, err)
	_, err = client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	_, err = client.CoreV1().Secrets(other).List(ctx, metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	_, err = client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	calls, err := c.Calls(mark, testbed.ByUser("system:serviceaccount:"+namespace+":reader"))
	require.NoError(t, err)
	require.Len(t, calls, 4)
}

func TestActingAsAnotherUser(t *testing.T) {
	ctx, c, namespace := place(t)
	client, err := kubernetes.NewForConfig(c.As(namespace, "nogroup"))
	require.NoError(t, err)
	_, err = client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	calls, err := c.Calls(testbed.Mark{}, testbed.ByUser(namespace))
	require.NoError(t, err)
	require.Len(t, calls, 1)
}
