package linkerdtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"

	"github.com/windlass-mesh/windlass/internal/testbed"
	"github.com/windlass-mesh/windlass/internal/testbed/linkerdtest"
	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/internal/webpki"
)

// meshed pods of a namespace that are not being deleted.
func pods(ctx context.Context, t *testing.T, c *testbed.Cluster, namespace string) []corev1.Pod {
	t.Helper()
	list, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	require.NoError(t, err)
	var out []corev1.Pod
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			out = append(out, p)
		}
	}
	return out
}

func TestAMeshOnRealAPIServers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	lab := testca.New(time.Now())
	clock := linkerdtest.NewFake(lab.Now())
	fleet := linkerdtest.NewFleet(clock)
	bed := testbed.Start(t, 1, fleet.Configure, func(o *testbed.Options) { o.Nodes = 2 })
	east := bed.Cluster("east")
	o, n := lab.Root("O"), lab.Root("N")
	issuer := o.Issuer("identity.linkerd.cluster.local")
	mesh, err := linkerdtest.Install(ctx, fleet, east, linkerdtest.Options{
		Roots: o.PEM(), Issuer: issuer.PEM(), IssuerKey: issuer.KeyPEM(), Replicas: 2,
	})
	require.NoError(t, err)
	t.Cleanup(mesh.Close)
	require.NoError(t, mesh.Deploy(ctx, "shop", "web", 2))

	// Injected by the real webhook, with a literal and the labels.
	web := pods(ctx, t, east, "shop")
	require.Len(t, web, 2)
	for _, p := range web {
		proxy := fleet.Proxy(east, "shop", p.Name)
		require.NotNil(t, proxy)
		require.Equal(t, "web.shop.serviceaccount.identity.linkerd.cluster.local", proxy.Name())
		require.Equal(t, "web", p.Labels["linkerd.io/proxy-deployment"])
		require.Equal(t, "linkerd-proxy", p.Spec.InitContainers[1].Name, "native from 2.20 on")
	}
	fleet.Ledger.Step("installed")

	// Issued leaves show as events of the ServiceAccount.
	require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		events, err := east.Client.CoreV1().Events("shop").List(ctx, metav1.ListOptions{FieldSelector: "reason=IssuedLeafCertificate"})
		return err == nil && len(events.Items) == 2 && events.Items[0].InvolvedObject.Kind == "ServiceAccount", err
	}))

	// The admin port is reached by port-forward.
	var env map[string]string
	require.NoError(t, json.Unmarshal(forwarded(t, east, web[0], "/env.json?"+linkerdtest.EnvTrustAnchors), &env))
	require.Equal(t, o.PEM(), env[linkerdtest.EnvTrustAnchors])

	// Both anchors are handed out, and trusted after a restart.
	require.NoError(t, mesh.WriteRoots(ctx, o.PEM()+n.PEM()))
	for _, name := range []string{linkerdtest.Identities, linkerdtest.Destinations, linkerdtest.Injectors} {
		require.NoError(t, mesh.Restart(ctx, "linkerd", name, "both"))
	}
	require.NoError(t, mesh.Restart(ctx, "shop", "web", "both"))
	fleet.Ledger.Step("both are trusted")

	// The issuer moves; identities see the Secret, leaves follow in their time.
	next := n.Issuer("identity.linkerd.cluster.local")
	require.NoError(t, mesh.WriteIssuer(ctx, next.PEM(), next.KeyPEM()))
	require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		events, err := east.Client.CoreV1().Events("linkerd").List(ctx, metav1.ListOptions{FieldSelector: "reason=IssuerUpdated"})
		return err == nil && len(events.Items) == 2, err
	}))
	clock.Advance(17 * time.Hour)
	fleet.Ledger.Step("N signs")
	for _, p := range pods(ctx, t, east, "shop") {
		require.Equal(t, next.Raw, fleet.Proxy(east, "shop", p.Name).Chain()[1].Raw)
	}
	fleet.Ledger.Finish()
	fleet.Ledger.Check(t)

	// A swapped serving certificate that the injectors have not seen: pods come
	// back without a sidecar, silently.
	for _, node := range east.Kubelet.Nodes() {
		require.NoError(t, node.Volumes.Hold(ctx))
	}
	require.NoError(t, mesh.SwapWebhookCertificate(ctx))
	require.NoError(t, mesh.Restart(ctx, "shop", "web", "swapped"))
	for _, p := range pods(ctx, t, east, "shop") {
		require.Nil(t, fleet.Proxy(east, "shop", p.Name), "unmeshed")
	}
	for _, node := range east.Kubelet.Nodes() {
		node.Volumes.Release()
	}
	require.NoError(t, mesh.WebhookWorks(ctx))
	require.NoError(t, mesh.Restart(ctx, "shop", "web", "seen"))
	for _, p := range pods(ctx, t, east, "shop") {
		require.NotNil(t, fleet.Proxy(east, "shop", p.Name))
	}
}

func TestCanariesOnRealAPIServers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	lab := testca.New(time.Now())
	clock := linkerdtest.NewFake(lab.Now())
	fleet := linkerdtest.NewFleet(clock)
	bed := testbed.Start(t, 2, fleet.Configure, func(o *testbed.Options) { o.Nodes = 2 })
	a, b := lab.Root("A"), lab.Root("B")
	issuerA, issuerB := a.Issuer("identity of A"), b.Issuer("identity of B")
	install := func(name, roots string, issuer *testca.Cert, replicas int) *linkerdtest.Mesh {
		mesh, err := linkerdtest.Install(ctx, fleet, bed.Cluster(name), linkerdtest.Options{
			Roots: roots, Issuer: issuer.PEM(), IssuerKey: issuer.KeyPEM(), Replicas: replicas, Scheme: "kubernetes.io/tls",
		})
		require.NoError(t, err)
		t.Cleanup(mesh.Close)
		require.NoError(t, mesh.Deploy(ctx, "shop", "web", 4))
		return mesh
	}
	east := install("east", a.PEM(), issuerA, 2)
	install("west", a.PEM()+b.PEM(), issuerB, 1)
	fleet.Ledger.Step("apart")
	require.Empty(t, fleet.Ledger.Failures())

	// East and west share A, and east takes nobody from west.
	fleet.Ledger.Link("east", "west")
	fleet.Ledger.Step("linked")
	failed := len(fleet.Ledger.Failures())
	require.NotZero(t, failed)
	for _, f := range fleet.Ledger.Failures() {
		require.ErrorIs(t, f.Err, webpki.UnknownIssuer, "%s", f)
		require.NotEqual(t, f.Client.Class.Cluster, f.Server.Class.Cluster, "%s", f)
	}
	fleet.Ledger.Unlink("east", "west")

	// The node of an injector is behind while web is restarted.
	c := east.Cluster
	var behind string
	for _, p := range pods(ctx, t, c, "linkerd") {
		if fleet.Injector(c, "linkerd", p.Name) != nil {
			behind = p.Spec.NodeName
		}
	}
	for _, node := range c.Kubelet.Nodes() {
		if node.Name == behind {
			require.NoError(t, node.Volumes.Hold(ctx))
			defer node.Volumes.Release()
		}
	}
	require.NoError(t, east.WriteRoots(ctx, a.PEM()+b.PEM()))
	require.NoError(t, east.Restart(ctx, "shop", "web", "both"))
	for _, node := range c.Kubelet.Nodes() {
		node.Volumes.Release()
	}
	for _, name := range []string{linkerdtest.Identities, linkerdtest.Destinations, linkerdtest.Injectors} {
		require.NoError(t, east.Restart(ctx, "linkerd", name, "both"))
	}
	fleet.Ledger.Step("all is restarted")
	require.Len(t, fleet.Ledger.Failures(), failed, "nothing shows so far")
	require.NoError(t, east.WriteIssuer(ctx, issuerB.PEM(), issuerB.KeyPEM()))
	require.NoError(t, testbed.Until(ctx, func(context.Context) (bool, error) {
		for _, p := range pods(ctx, t, c, "linkerd") {
			if id := fleet.Identity(c, "linkerd", p.Name); id != nil && !id.Issuer().Equal(issuerB.Certificate) {
				return false, nil
			}
		}
		return true, nil
	}))
	clock.Advance(17 * time.Hour)
	fleet.Ledger.Finish()
	require.Empty(t, fleet.Ledger.Coverage().Gaps)
	stale := 0
	for _, f := range fleet.Ledger.Failures()[failed:] {
		require.ErrorIs(t, f.Err, webpki.UnknownIssuer, "%s", f)
		stale++
	}
	require.NotZero(t, stale, "a pod came back with the old bundle, and was not found")
}

// forwarded asks the admin port of a pod through the API server.
func forwarded(t *testing.T, c *testbed.Cluster, pod corev1.Pod, path string) []byte {
	t.Helper()
	url := c.Client.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("portforward").URL()
	dialer, err := portforward.NewSPDYOverWebsocketDialer(url, c.Config)
	require.NoError(t, err)
	stop, ready := make(chan struct{}), make(chan struct{})
	defer close(stop)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:" + linkerdtest.AdminPort}, stop, ready, io.Discard, io.Discard)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("port-forward ends: %v", err)
	}
	ports, err := forwarder.GetPorts()
	require.NoError(t, err)
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", ports[0].Local, path))
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return body
}
