package cli_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/windlass-mesh/windlass/internal/cli"
	"github.com/windlass-mesh/windlass/internal/testbed"
	"github.com/windlass-mesh/windlass/internal/testbed/linkerdtest"
	"github.com/windlass-mesh/windlass/internal/testca"
)

// realFleet is two clusters with a mesh each, and east linked to west with the
// stock permissions.
type realFleet struct {
	east, west *linkerdtest.Mesh
	bed        *testbed.Bed
	lab        *testca.Lab
	root       *testca.Cert
}

func newRealFleet(ctx context.Context, t *testing.T) *realFleet {
	t.Helper()
	f := &realFleet{lab: testca.New(time.Now())}
	f.root = f.lab.Root("root")
	fleet := linkerdtest.NewFleet(linkerdtest.NewFake(f.lab.Now()))
	f.bed = testbed.Start(t, 2, fleet.Configure)
	for name, into := range map[string]**linkerdtest.Mesh{"east": &f.east, "west": &f.west} {
		issuer := f.root.Issuer("issuer of " + name)
		m, err := linkerdtest.Install(ctx, fleet, f.bed.Cluster(name), linkerdtest.Options{Roots: f.root.PEM(), Issuer: issuer.PEM(), IssuerKey: issuer.KeyPEM()})
		require.NoError(t, err)
		t.Cleanup(m.Close)
		require.NoError(t, m.Deploy(ctx, "shop", "web", 2))
		*into = m
	}
	f.link(ctx, t)
	return f
}

func (f *realFleet) link(ctx context.Context, t *testing.T) {
	t.Helper()
	east, west := f.east.Cluster, f.west.Cluster
	remote, err := west.Namespace(ctx, "mc")
	require.NoError(t, err)
	// linkerd2 multicluster/charts, remote-access-service-mirror-rbac.yaml, 2.14
	// and later.
	read := []string{"list", "get", "watch"}
	account, err := west.ServiceAccount(ctx, remote, "linkerd-service-mirror-remote-access-default", testbed.Rights{Everywhere: []rbacv1.PolicyRule{
		{APIGroups: []string{"apps"}, Resources: []string{"replicasets"}, Verbs: read},
		{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: read},
		{APIGroups: []string{""}, Resources: []string{"pods", "endpoints", "services"}, Verbs: read},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get"}, ResourceNames: []string{"linkerd-config"}},
	}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, west.WriteKubeconfig(file, account))
	kubeconfig, err := os.ReadFile(file)
	require.NoError(t, err)

	crd := &unstructured.Unstructured{}
	require.NoError(t, yaml.Unmarshal([]byte(linkCRD), &crd.Object))
	_, err = east.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Create(ctx, crd, metav1.CreateOptions{})
	require.NoError(t, err)
	links := east.Dynamic.Resource(schema.GroupVersionResource{Group: "multicluster.linkerd.io", Version: "v1alpha2", Resource: "links"})
	require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := links.List(ctx, metav1.ListOptions{})
		return err == nil, nil
	}))
	mc, err := east.Namespace(ctx, "mc")
	require.NoError(t, err)
	_, err = east.Apply(ctx, mc, fmt.Appendf(nil, `
apiVersion: v1
kind: Secret
type: mirror.linkerd.io/remote-kubeconfig
metadata: {name: cluster-credentials-west}
data: {kubeconfig: %s}
---
apiVersion: multicluster.linkerd.io/v1alpha2
kind: Link
metadata: {name: west}
spec: {targetClusterName: west, targetClusterLinkerdNamespace: linkerd, clusterCredentialsSecret: cluster-credentials-west, remoteDiscoverySelector: {matchLabels: {a: b}}}
`, base64.StdEncoding.EncodeToString(kubeconfig)))
	require.NoError(t, err)
}

const linkCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: links.multicluster.linkerd.io}
spec:
  group: multicluster.linkerd.io
  scope: Namespaced
  names: {kind: Link, plural: links, singular: link}
  versions:
  - {name: v1alpha2, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`

// run carries out a command line now, over both clusters unless it names others.
func (f *realFleet) run(t *testing.T, words string, v any) (text string, code cli.ExitCode) {
	t.Helper()
	args := append(strings.Fields(words), "--kubeconfig", f.bed.Kubeconfig, "--allow-local-links")
	if !strings.Contains(words, "--context") {
		args = append(args, "--context", "east", "--context", "west")
	}
	if v != nil {
		args = append(args, "-o", "json")
	}
	var out, errs bytes.Buffer
	env := testEnv(t)
	env.Stdout, env.Stderr, env.Now = &out, &errs, time.Now
	code = cli.Run(t.Context(), args, env)
	if v != nil {
		require.NoError(t, json.Unmarshal(out.Bytes(), v), "%s%s", out.String(), errs.String())
	}
	return out.String() + errs.String(), code
}

type linksDoc struct {
	Links []struct{ Verdict, Via string }
}

type checkDoc struct {
	Verdict  string
	Findings []struct{ Cluster, Level, Code, Subject, Message string }
}

func (d *checkDoc) has(cluster, level, code, subject string) bool {
	for _, f := range d.Findings {
		if f.Cluster == cluster && f.Level == level && f.Code == code && strings.Contains(f.Subject, subject) {
			return true
		}
	}
	return false
}

func TestRealClustersAreSurveyedAndChecked(t *testing.T) {
	if testing.Short() {
		t.Skip("needs API servers")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	f := newRealFleet(ctx, t)

	text, code := f.run(t, "survey", nil)
	require.Equal(t, cli.ExitOK, code, text)
	assert.Contains(t, text, "Deployment shop/web")
	assert.Contains(t, text, "env-in-spec")
	assert.Contains(t, text, "which is west")

	text, code = f.run(t, "survey --live", nil)
	require.Equal(t, cli.ExitOK, code, text)
	assert.Contains(t, text, "admin-endpoint")

	var check checkDoc
	text, code = f.run(t, "check --live", &check)
	assert.Equal(t, cli.ExitOK, code, text)
	text, code = f.run(t, "check", &check)
	assert.Equal(t, cli.ExitOK, code, text)
	var links linksDoc
	text, code = f.run(t, "link check", &links)
	assert.Equal(t, cli.ExitOK, code, text)
	require.Len(t, links.Links, 1, text)
	assert.Equal(t, "sound", links.Links[0].Verdict, text)
	assert.Equal(t, "member", links.Links[0].Via)
	text, code = f.run(t, "link check --context east", &links)
	assert.Equal(t, cli.ExitOK, code, text)
	require.Len(t, links.Links, 1, text)
	assert.Equal(t, "credentials", links.Links[0].Via, text)

	// East moves on to another root before its pods have: they refuse what is
	// signed now, and so does west.
	fresh := f.lab.Root("fresh")
	issuer := fresh.Issuer("fresh issuer")
	require.NoError(t, f.east.WriteRoots(ctx, f.root.PEM()+fresh.PEM()))
	require.NoError(t, f.east.WriteIssuer(ctx, issuer.PEM(), issuer.KeyPEM()))
	check = checkDoc{}
	text, code = f.run(t, "check", &check)
	assert.Equal(t, cli.ExitNo, code, text)
	assert.True(t, check.has("east", "error", "peer-untrusted", "Deployment shop/web"), text)
	assert.True(t, check.has("east", "error", "link-broken", "/west"), text)
	text, code = f.run(t, "link check", &links)
	assert.Equal(t, cli.ExitNo, code, text)
	assert.Equal(t, "broken", links.Links[0].Verdict)

	// A server that hangs is a row, within its time.
	require.NoError(t, f.west.Cluster.API.Pause())
	defer func() { _ = f.west.Cluster.API.Resume() }() // it has been resumed below, if all went well
	check = checkDoc{}
	text, code = f.run(t, "check --context east --context west --timeout 3s", &check)
	assert.Equal(t, cli.ExitNo, code, text)
	assert.True(t, check.has("west", "error", "timeout", ""), text)
	assert.True(t, check.has("east", "error", "peer-untrusted", "Deployment shop/web"), text)
	text, code = f.run(t, "survey --context east --context west --timeout 3s", nil)
	assert.Equal(t, cli.ExitOK, code, text)
	assert.Contains(t, text, "west: not reached: get namespaces kube-system: no answer in time")
	require.NoError(t, f.west.Cluster.API.Resume())
}
