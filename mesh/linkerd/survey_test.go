package linkerd

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/windlass-mesh/windlass/mesh"
)

// copies renders the copies of a control plane.
func copies(i *mesh.Installation) (out []string) {
	for _, c := range i.Copies {
		out = append(out, fmt.Sprintf("%s %s: %s %v", c.Object, c.Store, names(c.Trust), c.Uses))
	}
	return out
}

func TestEveryLayoutIsReadAndEveryCopyCountsForWhatItCounts(t *testing.T) {
	const config, deploy = "ConfigMap linkerd/linkerd-config linkerd-config: ", "Deployment linkerd/linkerd-identity "
	for release, want := range map[string]struct {
		layout, version string
		copies          []string
	}{
		"linkerd-2.6.1": {"global", "stable-2.6.1", []string{
			config + "root [new-pods identity next-upgrade manual-injection]",
			deploy + "proxy-env: root [control-plane]"}},
		"linkerd-2.10.2": {"values-flat", "stable-2.10.2", []string{
			config + "root [new-pods manual-injection]",
			"Secret linkerd/linkerd-config-overrides overrides: root [next-upgrade]",
			deploy + "identity-env: root [identity]",
			deploy + "proxy-env: root [control-plane]"}},
		"linkerd-2.9.5": {"values-nested", "stable-2.9.5", []string{
			config + "root [new-pods manual-injection]",
			"Secret linkerd/linkerd-config-overrides overrides: root [next-upgrade]",
			deploy + "identity-flag: root [identity]",
			deploy + "proxy-env: root [control-plane]"}},
		"linkerd-2.18": {"values-flat", "edge-25.4.4", []string{
			config + "root [manual-injection]",
			"ConfigMap linkerd/linkerd-identity-trust-roots trust-roots: root [new-pods identity control-plane]",
			"Secret linkerd/linkerd-config-overrides overrides: root [next-upgrade]"}},
	} {
		t.Run(release, func(t *testing.T) {
			f := newFake(t)
			f.release(release)
			s := f.survey(Options{})
			require.Len(t, s.Installations, 1, "%v", s.Unknowns)
			i := s.Installations[0]
			assert.Equal(t, want.layout, i.Layout)
			assert.Equal(t, want.version, i.Release)
			assert.Equal(t, want.copies, copies(i))
			assert.Equal(t, "cluster.local", i.TrustDomain)
			assert.Equal(t, 24*time.Hour, i.IssuanceLifetime)
			assert.Equal(t, 20*time.Second, i.ClockSkew)
			if release == "linkerd-2.10.2" { // its fixture has none
				assert.Equal(t, []string{"not-found Secret linkerd/linkerd-identity-issuer"}, unknowns(i.Unknowns))
				return
			}
			require.NotNil(t, i.Issuer)
			require.NoError(t, i.Issuer.Err)
			assert.Equal(t, "issuer", i.Issuer.Chain[0].Subject())
			assert.Equal(t, "linkerd.io/tls", i.Issuer.Scheme)
			assert.True(t, i.Issuer.HasKey)
			assert.Equal(t, mesh.Identity{UID: "cluster-uid", ServiceUID: "service-uid"}, s.Identity)
		})
	}
}

func TestAnExternalCAIsReadWithoutItsMissingCopies(t *testing.T) {
	f := newFake(t)
	f.release("linkerd-external-ca")
	s := f.survey(Options{})
	require.Len(t, s.Installations, 1)
	assert.Contains(t, unknowns(s.Installations[0].Unknowns), "missing-copy ConfigMap linkerd/linkerd-identity-trust-roots")

	f.addYAML("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: linkerd-identity-trust-roots\n  namespace: linkerd\n  labels: {trust.cert-manager.io/bundle: linkerd-identity-trust-roots}\ndata:\n  ca-bundle.crt: |\n    " +
		strings.ReplaceAll(certs(t, "root", "root2"), "\n", "\n    "))
	i := f.survey(Options{}).Installations[0]
	assert.True(t, i.ExternalCA)
	assert.Equal(t, []string{
		"ConfigMap linkerd/linkerd-config linkerd-config: ? [manual-injection]",
		"ConfigMap linkerd/linkerd-identity-trust-roots trust-roots: root+root2 [new-pods identity control-plane]"}, copies(i))
	assert.NotContains(t, unknowns(i.Unknowns), "disagreement ConfigMap linkerd/linkerd-config")
	assert.Equal(t, mesh.ToolTrustManager, mesh.ActiveOwner(i.Copies[1].Owners).Tool)
	assert.Equal(t, "kubernetes.io/tls", i.Issuer.Scheme)
	assert.NotEmpty(t, i.Issuer.CAPEM)
}

func TestCopiesThatDisagreeAreNamed(t *testing.T) {
	f := newFake(t)
	f.release("linkerd-2.18")
	f.data("/api/v1/namespaces/linkerd/configmaps/linkerd-identity-trust-roots")[rootsKey] = certs(t, "root", "root2")
	i := f.survey(Options{}).Installations[0]
	assert.Equal(t, []string{"disagreement ConfigMap linkerd/linkerd-config", "disagreement Secret linkerd/linkerd-config-overrides"}, unknowns(i.Unknowns))
}

func TestTwoControlPlanesAndNone(t *testing.T) {
	f := newFake(t)
	s := f.survey(Options{})
	assert.Empty(t, s.Installations)
	assert.Equal(t, []string{"no-linkerd control plane"}, unknowns(s.Unknowns))

	f.release("linkerd-2.18")
	f.addYAML("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: linkerd-config, namespace: linkerd-two}\ndata:\n  values: \"identityTrustAnchorsPEM: x\\n\"\n")
	f.addObject(meshedPod("stray", "apps", certs(t, "root"), func(p *podType) { p.Labels[labelControlPlane] = "gone" }))
	s = f.survey(Options{})
	assert.Len(t, s.Installations, 2)
	assert.Equal(t, []string{"two-installs control planes", "no-plane control plane gone"}, unknowns(s.Unknowns))
}

func TestWhatMayNotBeReadIsUnknownAndTheRestIsRead(t *testing.T) {
	f := newFake(t)
	f.release("linkerd-2.18")
	f.addObject(meshedPod("web", "apps", certs(t, "root"), ownedBy("apps/v1", "ReplicaSet", "web-1", "rs-1")))
	f.fault = func(r *http.Request) (int, string) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/configmaps"), strings.Contains(r.URL.Path, "secrets"), strings.HasSuffix(r.URL.Path, "kube-system"), strings.HasSuffix(r.URL.Path, "/replicasets"):
			return http.StatusForbidden, "forbidden: User \"x\" cannot do this"
		}
		return 0, ""
	}
	s := f.survey(Options{})
	require.Len(t, s.Installations, 1, "found by looking where it usually is")
	i := s.Installations[0]
	assert.Nil(t, i.Issuer)
	assert.Equal(t, []string{"forbidden Secret linkerd/linkerd-config-overrides", "forbidden Secret linkerd/linkerd-identity-issuer"}, unknowns(i.Unknowns))
	assert.Subset(t, unknowns(s.Unknowns), []string{"forbidden identity of the cluster", "forbidden control planes", "forbidden replicasets", "forbidden tokens of other clusters"})
	assert.Equal(t, "service-uid", s.ServiceUID)
	assert.Equal(t, "ReplicaSet apps/web-1", s.Workloads[0].String())
	assert.Equal(t, mesh.RestartUnknown, s.Workloads[0].Method)
	assert.Equal(t, "root", names(s.Classes[0].Trust))
}

func TestAnAPIServerThatFailsIsARowWithAReason(t *testing.T) {
	for name, c := range map[string]struct {
		fault  func(*http.Request) (int, string)
		code   mesh.Code
		reason string
	}{
		"throttles":        {func(*http.Request) (int, string) { return 429, "slow down" }, mesh.CodeThrottled, "HTTP 429"},
		"fails":            {func(*http.Request) (int, string) { return 500, "etcd is gone" }, mesh.CodeServerError, "etcd is gone"},
		"does not know us": {func(*http.Request) (int, string) { return 401, "Unauthorized" }, mesh.CodeUnauthorized, "HTTP 401"},
		"redirects":        {func(*http.Request) (int, string) { return 302, "" }, mesh.CodeServerError, "redirects"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.fault = c.fault
			s := f.survey(Options{})
			require.Len(t, s.Unknowns, 1, "%v", s.Unknowns)
			assert.Equal(t, c.code, s.Unknowns[0].Code)
			assert.Contains(t, s.Unknowns[0].Reason, c.reason)
			assert.Empty(t, s.Installations)
		})
	}
	t.Run("is not there", func(t *testing.T) {
		client, err := mesh.NewClient(&rest.Config{Host: "http://127.0.0.1:1"}, mesh.Options{})
		require.NoError(t, err)
		s := Survey(t.Context(), &mesh.Cluster{Client: client}, Options{})
		assert.False(t, s.Reached)
		require.Len(t, s.Unknowns, 1)
		assert.Equal(t, mesh.CodeUnreachable, s.Unknowns[0].Code)
		assert.Contains(t, s.Unknowns[0].Reason, "connection refused")
	})
	t.Run("hangs", func(t *testing.T) {
		release := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}))
		defer server.Close()
		defer close(release)
		client, err := mesh.NewClient(&rest.Config{Host: server.URL}, mesh.Options{Timeout: 50 * time.Millisecond})
		require.NoError(t, err)
		s := Survey(t.Context(), &mesh.Cluster{Client: client}, Options{})
		require.Len(t, s.Unknowns, 1)
		assert.Equal(t, mesh.CodeTimeout, s.Unknowns[0].Code)
		assert.EqualValues(t, 1, s.Cost.Requests, "it is not asked again and again")
	})
	t.Run("answers nonsense", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
		defer server.Close()
		client, err := mesh.NewClient(&rest.Config{Host: server.URL}, mesh.Options{})
		require.NoError(t, err)
		s := Survey(t.Context(), &mesh.Cluster{Client: client}, Options{})
		require.Len(t, s.Unknowns, 1)
		assert.Contains(t, s.Unknowns[0].Reason, "not one of an API server")
	})
	t.Run("is given up on", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f := newFake(t)
		f.release("linkerd-2.18")
		f.fault = func(r *http.Request) (int, string) {
			if strings.HasSuffix(r.URL.Path, "/pods") {
				cancel()
			}
			return 0, ""
		}
		s := Survey(ctx, &mesh.Cluster{Client: f.client()}, Options{})
		assert.NotEmpty(t, s.Unknowns)
		assert.True(t, slices.ContainsFunc(s.Unknowns, func(u mesh.Unknown) bool { return u.Code == mesh.CodeInterrupted }), "%v", s.Unknowns)
	})
}

func TestTheNumberOfRequestsIsFixed(t *testing.T) {
	cost := func(pods int) int64 {
		f := newFake(t)
		f.release("linkerd-2.18")
		for i := range pods {
			f.addObject(meshedPod(fmt.Sprint("web-", i), "apps", certs(t, "root"), ownedBy("apps/v1", "ReplicaSet", fmt.Sprint("rs-", i), fmt.Sprint("rs-", i))))
			f.addYAML(fmt.Sprintf("apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: rs-%d, namespace: apps, uid: rs-%d}\n", i, i))
		}
		client, err := mesh.NewClient(&rest.Config{Host: f.url}, mesh.Options{})
		require.NoError(t, err)
		s := Survey(t.Context(), &mesh.Cluster{Client: client}, Options{})
		require.Len(t, s.Peers, pods)
		return s.Cost.Requests
	}
	assert.Equal(t, cost(1), cost(100))
	assert.LessOrEqual(t, cost(1), int64(22))
}
