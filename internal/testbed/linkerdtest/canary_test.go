package linkerdtest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/internal/webpki"
)

// The canaries are fleets that are broken on purpose: a ledger that lets one of
// them pass sees nothing, and is worth nothing.

// verdict collects what a ledger would tell a test.
type verdict struct {
	testing.TB
	failed bool
}

func (v *verdict) Errorf(string, ...any) { v.failed = true }
func (v *verdict) Logf(string, ...any)   {}

// dies requires that the ledger fails at full coverage, and returns how often
// each kind of failure occurred, by the workloads at both ends.
func dies(t *testing.T, w *World) map[string]int {
	t.Helper()
	w.Ledger.Finish()
	c := w.Ledger.Coverage()
	require.Empty(t, c.Gaps)
	require.InDelta(t, 100, c.Percent(), 0)
	v := &verdict{TB: t}
	w.Ledger.Check(v)
	require.True(t, v.failed, "the canary lives")
	kinds := make(map[string]int)
	for _, f := range w.Ledger.Failures() {
		var r *Refusal
		require.True(t, errors.As(f.Err, &r), "%s", f)
		require.False(t, f.At.IsZero())
		kinds[fmt.Sprintf("%s/%s -> %s/%s: %s", f.Client.Class.Cluster, workload(f.Client.Pod),
			f.Server.Class.Cluster, workload(f.Server.Pod), reasonText(r))]++
	}
	return kinds
}

// workload drops the number from a pod's name.
func workload(pod string) string {
	for i := len(pod) - 1; i >= 0; i-- {
		if pod[i] == '-' {
			return pod[:i]
		}
	}
	return pod
}

func TestHealthyFleetsHaveNoFailures(t *testing.T) {
	lab := newLab()
	o, n := newAnchor(lab, "O"), newAnchor(lab, "N")
	w := NewWorld(epoch)
	for _, name := range []string{"east", "west"} {
		options := o.install()
		options.Replicas, options.Lag = 2, time.Minute
		c := w.AddCluster(name, options)
		c.Deploy("shop", "web", 2)
		c.Deploy("linkerd-multicluster", "linkerd-gateway", 1)
		ready(t, c)
	}
	w.Link("east", "west")
	w.Ledger.Step("start")

	restart := func(workloads ...string) {
		for _, c := range w.clusters {
			for _, name := range workloads {
				namespace := "linkerd"
				switch name {
				case "web":
					namespace = "shop"
				case "linkerd-gateway":
					namespace = "linkerd-multicluster"
				}
				require.NoError(t, c.Restart(namespace, name))
			}
		}
	}
	for _, c := range w.clusters {
		c.WriteRoots(both(o, n))
	}
	w.Ledger.Step("both are handed out")
	w.Clock.Advance(2 * time.Minute)
	restart(Identities, Destinations, Injectors, "web", "linkerd-gateway")
	w.Ledger.Step("both are trusted")
	for _, c := range w.clusters {
		c.WriteIssuer(n.issuer.PEM(), n.issuer.KeyPEM())
		w.Clock.Advance(3 * time.Hour) // clusters one after another, leaves renewing in between
	}
	w.Ledger.Step("N signs")
	w.Clock.Advance(25 * time.Hour)
	w.Ledger.Step("all leaves are under N")
	for _, c := range w.clusters {
		c.WriteRoots(n.root.PEM())
	}
	w.Clock.Advance(2 * time.Minute)
	restart(Identities, Destinations, Injectors, "web", "linkerd-gateway")
	w.Ledger.Step("only N is trusted")
	w.Clock.Advance(2 * day)
	w.Ledger.Finish()
	w.Ledger.Check(t)
	require.Greater(t, w.Ledger.Coverage().Done[OnChange], 100)
	for _, c := range w.clusters {
		ready(t, c)
		require.Equal(t, 2, c.Reasons()["IssuerUpdated"], "each replica told of it")
		require.Zero(t, c.Reasons()["IssuerUpdateSkipped"])
	}
}

func TestCanaryClientUntrusted(t *testing.T) {
	lab := newLab()
	a, b := newAnchor(lab, "A"), newAnchor(lab, "B")
	w := NewWorld(epoch)
	// Anchors overlap, and yet west refuses east's clients.
	east := a.install()
	east.Roots = both(a, b)
	w.AddCluster("east", east).Deploy("shop", "web", 2)
	w.AddCluster("west", b.install()).Deploy("shop", "api", 2)
	w.Link("east", "west")
	kinds := dies(t, w)
	require.NotZero(t, kinds["east/shop/web -> west/shop/api: client UnknownIssuer"])
	require.NotZero(t, kinds["west/shop/api -> east/shop/web: server UnknownIssuer"], "nor does west take east for a server")
	require.Len(t, kinds, 2*4*4, "of the pairs within each cluster none fails")
}

func TestCanaryServerUntrusted(t *testing.T) {
	lab := newLab()
	o, n := newAnchor(lab, "O"), newAnchor(lab, "N")
	w := NewWorld(epoch)
	c := w.AddCluster("east", o.install())
	c.Deploy("shop", "web", 1)
	c.WriteRoots(both(o, n))
	for _, name := range []string{Injectors, Identities} {
		require.NoError(t, c.Restart("linkerd", name))
	}
	// The issuer moves on while web still trusts O alone; a new pod is a server
	// that web does not take.
	c.WriteIssuer(n.issuer.PEM(), n.issuer.KeyPEM())
	c.Deploy("shop", "api", 1)
	kinds := dies(t, w)
	require.NotZero(t, kinds["east/shop/web -> east/shop/api: server UnknownIssuer"])
	require.NotZero(t, kinds["east/shop/api -> east/shop/web: client UnknownIssuer"])
	require.Zero(t, kinds["east/shop/api -> east/linkerd/linkerd-identity: client UnknownIssuer"])
}

func TestCanaryIdentityUntrusted(t *testing.T) {
	lab := newLab()
	o, n := newAnchor(lab, "O"), newAnchor(lab, "N")
	w := NewWorld(epoch)
	c := w.AddCluster("east", o.install())
	web := c.Deploy("shop", "web", 1)[0]
	// Identity moves to N, its own proxy with it, and web knows only O: web's next
	// renewal does not get past identity's proxy.
	c.WriteRoots(n.root.PEM())
	c.WriteIssuer(n.issuer.PEM(), n.issuer.KeyPEM())
	require.NoError(t, c.Restart("linkerd", Identities))
	kinds := dies(t, w)
	require.NotZero(t, kinds["east/shop/web -> east/linkerd/linkerd-identity: server UnknownIssuer"])
	w.Clock.Advance(17 * time.Hour)
	require.ErrorIs(t, web.Proxy.Err(), webpki.UnknownIssuer)
	w.Clock.Advance(8 * time.Hour)
	require.True(t, web.Proxy.Dead())
	kinds = dies(t, w)
	require.NotZero(t, kinds["east/linkerd/linkerd-destination -> east/shop/web: server CertExpired"])
}

func TestCanaryGatewayUntrusted(t *testing.T) {
	lab := newLab()
	a, b := newAnchor(lab, "A"), newAnchor(lab, "B")
	w := NewWorld(epoch)
	for name, own := range map[string]anchor{"east": a, "west": b} {
		o := own.install()
		o.Roots = both(a, b)
		w.AddCluster(name, o)
	}
	w.Cluster("east").Deploy("shop", "web", 1)
	// All trust both, but for a gateway with an old literal in its template.
	w.Cluster("west").DeployManual("linkerd-multicluster", "linkerd-gateway", b.root.PEM())
	w.Link("east", "west")
	kinds := dies(t, w)
	require.NotZero(t, kinds["east/shop/web -> west/linkerd-multicluster/linkerd-gateway: client UnknownIssuer"])
	require.NotZero(t, kinds["west/linkerd-multicluster/linkerd-gateway -> east/shop/web: server UnknownIssuer"])
	for kind := range kinds {
		require.Contains(t, kind, "linkerd-gateway", "nobody else fails")
	}
}

func TestCanaryExpiredCrossSignedCertificate(t *testing.T) {
	lab := newLab()
	o, n := newAnchor(lab, "O"), newAnchor(lab, "N")
	x := n.root.CrossSignedBy(o.root, testca.Until(30*time.Hour))
	w := NewWorld(epoch)
	c := w.AddCluster("east", o.install())
	web := c.Deploy("shop", "web", 1)[0]
	w.Ledger.Step("before")
	c.WriteIssuer(n.issuer.PEM()+x.PEM(), n.issuer.KeyPEM())
	w.Clock.Advance(24 * time.Hour)
	require.Len(t, web.Proxy.Chain(), 3)
	w.Ledger.Step("X carries")
	require.Empty(t, w.Ledger.Failures())
	// X ends; leaves are clamped to its end and die with it.
	w.Clock.Advance(7 * time.Hour)
	require.True(t, web.Proxy.Dead())
	kinds := dies(t, w)
	require.NotZero(t, kinds["east/linkerd/linkerd-destination -> east/shop/web: server CertExpired"])
	require.NotZero(t, kinds["east/shop/web -> east/linkerd/linkerd-identity: server CertExpired"])
}

func TestCanaryStaleInjector(t *testing.T) {
	lab := newLab()
	o, n := newAnchor(lab, "O"), newAnchor(lab, "N")
	w := NewWorld(epoch)
	options := o.install()
	options.Replicas = 3
	c := w.AddCluster("east", options)
	c.Pods("linkerd", Injectors)[1].SetLag(1000 * time.Hour) // one of three is stuck
	c.WriteRoots(both(o, n))
	w.Clock.Advance(5 * time.Minute)
	for _, name := range []string{Identities, Destinations} {
		require.NoError(t, c.Restart("linkerd", name))
	}
	// New pods, and yet one of them has the old bundle.
	pods := c.Deploy("shop", "api", 3)
	w.Ledger.Step("restarted")
	require.Empty(t, w.Ledger.Failures(), "nothing shows so far")
	c.WriteIssuer(n.issuer.PEM(), n.issuer.KeyPEM())
	w.Clock.Advance(17 * time.Hour)
	kinds := dies(t, w)
	require.NotZero(t, kinds["east/shop/api -> east/shop/api: server UnknownIssuer"])
	refusing := 0
	for _, p := range pods {
		if p.Proxy.Err() != nil {
			refusing++
		}
	}
	require.Equal(t, 1, refusing, "one in three")
}

func TestPodsComeBackUnmeshedWhenNoInjectorAnswers(t *testing.T) {
	o := newAnchor(newLab(), "O")
	w := NewWorld(epoch)
	c := w.AddCluster("east", o.install())
	c.Deploy("shop", "web", 1)
	c.Pods("linkerd", Injectors)[0].SetUnreachable(true)
	require.NoError(t, c.Restart("shop", "web"), "the rollout is none the wiser")
	web := c.Pods("shop", "web")[0]
	require.Nil(t, web.Proxy)
	require.Contains(t, web.Unmeshed, "failurePolicy is Ignore")

	options := o.install()
	options.FailClosed = true
	c = w.AddCluster("west", options)
	c.Deploy("shop", "web", 1)
	c.Pods("linkerd", Injectors)[0].SetUnreachable(true)
	require.ErrorContains(t, c.Restart("shop", "web"), "failed calling webhook")
	require.NotNil(t, c.Pods("shop", "web")[0].Proxy, "the old pod goes on")
}
