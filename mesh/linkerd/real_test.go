package linkerd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/windlass-mesh/windlass/internal/testbed"
	"github.com/windlass-mesh/windlass/mesh"
)

// These tests run against real API servers and controllers. What they check is
// what the fake only claims.

func TestMain(m *testing.M) {
	if os.Getenv(benchServerEnv) != "" {
		benchServer()
		return
	}
	os.Exit(testbed.Main(m))
}

func realBed(t *testing.T) (context.Context, *testbed.Bed) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs API servers")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx, testbed.Shared(t, 3)
}

// installReal puts the ConfigMaps and Secrets of a release's fixture into a
// cluster's namespace linkerd.
func installReal(ctx context.Context, t *testing.T, c *testbed.Cluster, release string) {
	t.Helper()
	_, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "linkerd"}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		require.NoError(t, err)
	}
	b, err := os.ReadFile(filepath.Join("..", "..", "internal", "layout", "testdata", release+".yaml"))
	require.NoError(t, err)
	var keep []string
	for doc := range strings.SplitSeq(string(b), "\n---\n") {
		if strings.Contains(doc, "kind: ConfigMap") || strings.Contains(doc, "kind: Secret") && !strings.Contains(doc, "k8s-tls") && !strings.Contains(doc, "injector") {
			keep = append(keep, doc)
		}
	}
	_, err = c.Apply(ctx, "linkerd", []byte(strings.Join(keep, "\n---\n")))
	require.NoError(t, err)
}

func openReal(ctx context.Context, t *testing.T, config *rest.Config, o mesh.Options) *mesh.Cluster {
	t.Helper()
	c, err := mesh.Open(ctx, "real", config, o)
	require.NoError(t, err)
	return c
}

func manualDeployment(name, anchors string, replicas int) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      labels: {app: %[1]s, linkerd.io/control-plane-ns: linkerd}
      annotations: {linkerd.io/proxy-version: edge-25.4.4}
    spec:
      containers:
      - {name: app, image: example.com/app}
      - name: linkerd-proxy
        image: example.com/proxy
        env:
        - name: LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS
          value: |
            %[3]s
---
`, name, replicas, strings.ReplaceAll(strings.TrimSpace(anchors), "\n", "\n            "))
}

func TestARealClusterIsSurveyedAndWrittenTo(t *testing.T) {
	ctx, bed := realBed(t)
	east := bed.Cluster("east")
	installReal(ctx, t, east, "linkerd-2.18")
	apps, err := east.Namespace(ctx, "apps")
	require.NoError(t, err)
	_, err = east.Apply(ctx, apps, []byte(manualDeployment("web", certs(t, "root"), 7)+manualDeployment("asleep", certs(t, "root2"), 0)))
	require.NoError(t, err)
	require.NoError(t, east.RolledOut(ctx, "Deployment", apps, "web"))

	cluster := openReal(ctx, t, east.Config, mesh.Options{PageSize: 3})
	assert.NotEmpty(t, cluster.UID)
	assert.NotEmpty(t, cluster.ServiceUID)
	s := Survey(ctx, cluster, Options{})
	require.Len(t, s.Installations, 1, "%v", s.Unknowns)
	assert.Empty(t, s.Unknowns)
	assert.False(t, s.Begun.IsZero())
	assert.Len(t, s.Peers, 7, "over three pages")
	for _, p := range s.Peers {
		assert.Equal(t, "Deployment "+apps+"/web", p.Workload.String(), "through the ReplicaSet that the controller made")
		assert.True(t, p.Proxy.Running)
		assert.False(t, p.Proxy.StartedAt.IsZero())
		assert.Equal(t, "root", names(p.Class.Trust))
	}
	inst := s.Installations[0]
	for _, c := range inst.Copies {
		assert.WithinDuration(t, time.Now(), c.ChangedAt, time.Minute, "the server says when %s changed", c.Object)
	}
	t.Logf("survey: %d requests, %d bytes", s.Cost.Requests, s.Cost.Bytes)

	// A bundle is written, by compare-and-swap that the server enforces.
	want := parseBundle(t, "root", "root2")
	plan, err := PlanBundle(inst, want)
	require.NoError(t, err)
	require.NoError(t, plan.Err())
	_, err = Apply(ctx, cluster.Client, plan, ApplyOptions{DryRun: true})
	require.NoError(t, err)
	same := Survey(ctx, cluster, Options{}).Installations[0]
	assert.Equal(t, inst.Copies[1].Object.ResourceVersion, same.Copies[1].Object.ResourceVersion, "a dry run leaves no trace")
	done, err := Apply(ctx, cluster.Client, plan, ApplyOptions{})
	require.NoError(t, err)
	require.Len(t, done, 3)
	after := Survey(ctx, cluster, Options{}).Installations[0]
	for i, c := range after.Copies {
		assert.Equal(t, "root+root2", names(c.Trust), c.Field)
		// The server applies SSA's defaults to nothing here: what it returned is
		// what is stored.
		assert.NotEqual(t, inst.Copies[i].Object.ResourceVersion, c.Object.ResourceVersion)
		assert.Equal(t, inst.Copies[i].Object.UID, c.Object.UID)
	}

	// The same plan a second time is out of date.
	_, err = Apply(ctx, cluster.Client, plan, ApplyOptions{})
	require.ErrorIs(t, err, mesh.ErrConflict)
}

func TestARealServerRefusesAWriteOverAnotherState(t *testing.T) {
	ctx, bed := realBed(t)
	east := bed.Cluster("east")
	ns, err := east.Namespace(ctx, "cas")
	require.NoError(t, err)
	created, err := east.Client.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "x", Annotations: map[string]string{"example.com/a": "1"}}, Data: map[string]string{"keep": "this"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	c := openReal(ctx, t, east.Config, mesh.Options{}).Client
	ref := mesh.ObjectRef{Kind: "ConfigMap", Namespace: ns, Name: "x", UID: string(created.UID), ResourceVersion: created.ResourceVersion}
	write := func(ref mesh.ObjectRef, value string) (mesh.ObjectRef, error) {
		var o mesh.Object
		err := c.Patch(ctx, mesh.ConfigMaps, ref, []mesh.PatchOp{{Op: "replace", Path: mesh.Pointer("metadata", "annotations", "example.com/a"), Value: value}}, mesh.PatchOptions{}, &o)
		return o.Metadata.Ref("ConfigMap"), err
	}
	stale := ref
	ref, err = write(ref, "2")
	require.NoError(t, err)
	_, err = write(stale, "3")
	require.ErrorIs(t, err, mesh.ErrConflict, "an old resourceVersion")
	another := ref
	another.UID = "11111111-2222-3333-4444-555555555555"
	_, err = write(another, "3")
	require.ErrorIs(t, err, mesh.ErrConflict, "another UID")
	got, err := east.Client.CoreV1().ConfigMaps(ns).Get(ctx, "x", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"example.com/a": "2"}, got.Annotations)
	assert.Equal(t, map[string]string{"keep": "this"}, got.Data)
	_, err = write(mesh.ObjectRef{Namespace: ns, Name: "x"}, "3")
	require.Error(t, err, "never without the state that was read")
	var none mesh.Object
	assert.ErrorIs(t, c.Get(ctx, mesh.ConfigMaps, ns, "absent", &none), mesh.ErrNotFound)
}

// linkCRD is as much of the CRD as the API server needs to serve Links.
const linkCRD = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: links.multicluster.linkerd.io}
spec:
  group: multicluster.linkerd.io
  scope: Namespaced
  names: {kind: Link, plural: links, singular: link, listKind: LinkList}
  versions:
  - {name: v1alpha1, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
  - {name: v1alpha2, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// serveLinks makes the CRD and waits until Links can be listed.
func serveLinks(ctx context.Context, t *testing.T, c *testbed.Cluster) {
	t.Helper()
	crd := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal([]byte(linkCRD), &crd.Object))
	_, err := c.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Create(ctx, crd, metav1.CreateOptions{})
	require.NoError(t, err)
	links := c.Dynamic.Resource(schema.GroupVersionResource{Group: "multicluster.linkerd.io", Version: "v1alpha2", Resource: "links"})
	require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := links.List(ctx, metav1.ListOptions{})
		return err == nil, nil
	}))
}

func TestRealLinksAreMatchedByTheirCredentials(t *testing.T) {
	ctx, bed := realBed(t)
	east, west := bed.Cluster("east"), bed.Cluster("west")
	installReal(ctx, t, west, "linkerd-2.18")

	// West lets east in, with the rights of the stock ClusterRole.
	ns, err := west.Namespace(ctx, "mc")
	require.NoError(t, err)
	stock := testbed.Rights{Everywhere: []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: []string{"list", "get", "watch"}},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"list", "get", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"pods", "endpoints", "services"}, Verbs: []string{"list", "get", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}, ResourceNames: []string{configName}},
	}}
	account, err := west.ServiceAccount(ctx, ns, "linkerd-service-mirror-remote-access-default", stock)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, west.WriteKubeconfig(file, account))
	kubeconfig, err := os.ReadFile(file)
	require.NoError(t, err)

	mc, err := east.Namespace(ctx, "mc")
	require.NoError(t, err)
	serveLinks(ctx, t, east)
	_, err = east.Apply(ctx, mc, []byte(credentials(mc, "cluster-credentials-west", string(kubeconfig), "")+`---
apiVersion: multicluster.linkerd.io/v1alpha1
kind: Link
metadata: {name: west}
spec: {targetClusterName: west, clusterCredentialsSecret: cluster-credentials-west, gatewayAddress: 203.0.113.1, gatewayPort: "4143", selector: {matchLabels: {a: b}}}
`))
	require.NoError(t, err)

	here := openReal(ctx, t, east.Config, mesh.Options{})
	s := Survey(ctx, here, Options{})
	require.Len(t, s.Links, 1)
	require.Len(t, s.Links[0].Credentials, 1)
	assert.ErrorIs(t, s.Links[0].Credentials[0].Refused, ErrAddress, "the bed is on loopback")

	s = Survey(ctx, here, Options{Credentials: CredentialOptions{AllowLocal: true}})
	link := s.Links[0]
	assert.Equal(t, "v1alpha2", link.Version, "the newest that is served")
	require.NoError(t, link.Credentials[0].Refused)
	assert.Equal(t, "linkerd-service-mirror-remote-access-default", link.Credentials[0].ServiceAccount)
	Probe(ctx, link, mesh.Options{})
	require.NoError(t, link.Credentials[0].TargetErr)

	there := openReal(ctx, t, west.Config, mesh.Options{})
	fleet := &mesh.Fleet{Surveys: []*mesh.Survey{s, Survey(ctx, there, Options{})}}
	assert.Same(t, fleet.Surveys[1], fleet.Target(link))
	assert.False(t, here.Identity.Same(there.Identity))

	// With no more than a Link's rights a survey sees pods and linkerd-config, and
	// says what it does not see.
	limited, err := mesh.NewClient(link.Credentials[0].Config, mesh.Options{})
	require.NoError(t, err)
	narrow := Survey(ctx, &mesh.Cluster{Name: "west", Client: limited}, Options{})
	require.Len(t, narrow.Installations, 1)
	assert.Equal(t, there.ServiceUID, narrow.ServiceUID)
	assert.Subset(t, unknowns(narrow.Unknowns), []string{"forbidden identity of the cluster", "forbidden control planes", "forbidden deployments", "forbidden accounts for other clusters"})
	assert.Contains(t, unknowns(narrow.Installations[0].Unknowns), "forbidden ConfigMap linkerd/linkerd-identity-trust-roots")
	assert.NotContains(t, unknowns(narrow.Unknowns), "forbidden meshed pods")
}

func TestARealServerThatHangsIsAFinding(t *testing.T) {
	ctx, bed := realBed(t)
	west := bed.Cluster("west")
	client, err := mesh.NewClient(west.Config, mesh.Options{Timeout: 500 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, west.API.Pause())
	defer func() { require.NoError(t, west.API.Resume()) }()
	s := Survey(ctx, &mesh.Cluster{Name: "west", Client: client}, Options{})
	assert.False(t, s.Reached)
	require.Len(t, s.Unknowns, 1)
	assert.Equal(t, mesh.CodeTimeout, s.Unknowns[0].Code)
}
