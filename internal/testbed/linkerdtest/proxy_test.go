package linkerdtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/internal/webpki"
)

func TestAProxyRenewsItsLeafAfterSeventyPercentOfItsLife(t *testing.T) {
	w := NewWorld(epoch)
	c := w.AddCluster("east", newAnchor(newLab(), "O").install())
	web := c.Deploy("shop", "web", 1)[0]
	ready(t, c)
	first := web.Proxy.Chain()
	require.Len(t, first, 2, "the leaf, and the issuer that signed it")
	require.Equal(t, epoch.Add(-DefaultSkew), first[0].NotBefore)
	require.Equal(t, epoch.Add(DefaultLifetime+DefaultSkew), first[0].NotAfter)
	require.Equal(t, []string{"web.shop.serviceaccount.identity.linkerd.cluster.local"}, first[0].DNSNames)

	due := (DefaultLifetime + DefaultSkew) * 7 / 10
	w.Clock.Advance(due - 1)
	require.Equal(t, first[0].Raw, web.Proxy.Chain()[0].Raw)
	w.Clock.Advance(1)
	second := web.Proxy.Chain()
	require.NotEqual(t, first[0].Raw, second[0].Raw)
	require.Equal(t, first[0].PublicKey, second[0].PublicKey, "the key lasts as long as the process")

	web.RestartContainers()
	require.NotEqual(t, first[0].PublicKey, web.Proxy.Chain()[0].PublicKey)
	w.Clock.Advance(7 * day)
	w.Ledger.Finish()
	w.Ledger.Check(t)
}

func TestAProxyRefusesALeafThatItsAnchorsDoNotVerifyAndDiesWithTheOldOne(t *testing.T) {
	lab := newLab()
	o, n := newAnchor(lab, "O"), newAnchor(lab, "N")
	w := NewWorld(epoch)
	c := w.AddCluster("east", o.install())
	web := c.Deploy("shop", "web", 1)[0]
	old := web.Proxy.Chain()[0]

	// The issuer moves on before web knows the new anchor.
	c.WriteRoots(both(o, n))
	require.NoError(t, c.Restart("linkerd", Identities))
	c.WriteIssuer(n.issuer.PEM(), n.issuer.KeyPEM())
	w.Clock.Advance(17 * time.Hour)
	require.Equal(t, old.Raw, web.Proxy.Chain()[0].Raw)
	require.ErrorIs(t, web.Proxy.Err(), webpki.UnknownIssuer)
	require.True(t, web.Proxy.Ready())
	require.False(t, web.Proxy.Dead())

	w.Clock.AdvanceTo(old.NotAfter.Add(time.Minute))
	require.True(t, web.Proxy.Dead())
	require.True(t, web.Proxy.Ready(), "readiness does not tell")

	// Nothing brings it back but a restart of its container; one in place keeps
	// the anchors of the pod's spec.
	c.WriteIssuer(o.issuer.PEM(), o.issuer.KeyPEM())
	w.Clock.Advance(3 * day)
	require.True(t, web.Proxy.Dead())
	web.RestartContainers()
	require.False(t, web.Proxy.Dead())
	require.NoError(t, web.Proxy.Err())
}

func TestIdentitysOwnProxyComesBackFromADeadLeaf(t *testing.T) {
	lab := newLab()
	o := newAnchor(lab, "O")
	o.issuer = o.root.Issuer("short", testca.Until(2*day))
	w := NewWorld(epoch)
	c := w.AddCluster("east", o.install())
	web := c.Deploy("shop", "web", 1)[0]
	w.Clock.Advance(2*day + time.Minute) // the issuer ends
	require.True(t, web.Proxy.Dead())
	next := o.root.Issuer("next", testca.Until(300*day))
	c.WriteIssuer(next.PEM(), next.KeyPEM())
	w.Clock.Advance(time.Minute)
	require.NoError(t, c.Pods("linkerd", Identities)[0].Proxy.Err(), "it asks the process beside it without TLS")
	require.True(t, web.Proxy.Dead(), "identity's proxy refuses a dead leaf")
	web.RestartContainers()
	ready(t, w.Cluster("east"))
}

func TestAProxyWithBadAnchorsDoesNotStart(t *testing.T) {
	pem := newAnchor(newLab(), "O").root.PEM()
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "Failed to load trust anchors: 'LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS' must be set"},
		{"a blank line after the last block", pem + "\n", "Failed to load trust anchors: not a PEM certificate"},
		{"no certificate", "-----BEGIN X-----\nAA==\n-----END X-----\n", "Failed to load trust anchors: no certificates found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := loadTrust(test.text, webpki.Linkerd220)
			var f *Fatal
			require.ErrorAs(t, err, &f)
			require.EqualError(t, err, test.want)
		})
	}
	trust, err := loadTrust(pem, webpki.Linkerd220)
	require.NoError(t, err)
	twice, err := loadTrust("# note\n"+pem, webpki.Linkerd220)
	require.NoError(t, err)
	require.Equal(t, trust.id, twice.id, "what is not an anchor does not count")
}

func TestAClientPresentsItsChainWhateverTheServerHints(t *testing.T) {
	lab := newLab()
	a, b := newAnchor(lab, "A"), newAnchor(lab, "B")
	w := NewWorld(epoch)
	east := w.AddCluster("east", Options{Roots: both(a, b), Issuer: a.issuer.PEM(), IssuerKey: a.issuer.KeyPEM()})
	west := w.AddCluster("west", b.install())
	client, server := east.Deploy("shop", "web", 1)[0].Proxy, west.Deploy("shop", "web", 1)[0].Proxy
	err := client.probe(server)
	var refusal *Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "client", refusal.What, "the server trusts B alone, and was shown a chain under A")
	require.ErrorIs(t, err, webpki.UnknownIssuer)
	require.ErrorIs(t, server.probe(client), webpki.UnknownIssuer)
}

func TestMinAndMaxRefreshBoundTheTimeBetween(t *testing.T) {
	p := &Proxy{minimum: 10 * time.Second, maximum: day}
	require.Equal(t, 10*time.Second, p.refreshIn(epoch), "without a leaf")
	for remains, want := range map[time.Duration]time.Duration{
		-time.Second: 10 * time.Second, time.Second: 10 * time.Second,
		100 * time.Second: 70 * time.Second, 100 * day: day,
	} {
		p.expiry = epoch.Add(remains)
		require.Equal(t, want, p.refreshIn(epoch))
	}
}
