package health_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/health"
)

// What is wrong on purpose, and what is found. An empty want is that nothing is:
// there `linkerd check` is wrong the other way round.
func TestWrongOnPurpose(t *testing.T) {
	roots := func(s *mesh.Survey) *mesh.Copy { return &s.Installations[0].Copies[0] }
	config := func(s *mesh.Survey) *mesh.Copy { return &s.Installations[0].Copies[1] }
	for name, c := range map[string]struct {
		make func(w *world) *mesh.Survey
		want []string
	}{
		"all is well": {func(w *world) *mesh.Survey { return w.cluster("east", w.o.PEM()) }, nil},

		// Where `linkerd check` raises a false alarm.
		"pods hold the anchors in another order, twice, with comments and CRLF": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM())
			w.pods(s, "shop", "reordered", 1, w.n.PEM()+w.o.PEM())
			w.pods(s, "shop", "twice", 1, w.o.PEM()+w.n.PEM()+w.o.PEM())
			w.pods(s, "shop", "crlf", 1, strings.ReplaceAll("# ours\n"+w.o.PEM()+w.n.PEM(), "\n", "\r\n"))
			return s
		}, nil},
		"an expired anchor that nothing needs": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM()+w.lab.Root("gone", testca.From(-90*day), testca.Until(-day)).PEM())
		}, []string{"warning expired-but-trusted"}},
		"an anchor about to end that nothing needs": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM()+w.lab.Root("retiring", testca.Until(5*day)).PEM())
		}, nil},
		"a short-lived issuer in the middle of its life": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM(), w.o.Issuer("short", testca.From(-20*time.Hour), testca.Until(28*time.Hour)))
		}, nil},
		"anchors that the chart does not make, and no copy in linkerd-config": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			s.Installations[0].ExternalCA = true
			config(s).Trust = nil
			return s
		}, nil},
		"linkerd-config is out of date and counts for nothing": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			config(s).Trust = w.trust(w.n.PEM())
			return s
		}, []string{"info copies-disagree"}},
		"pods that have run to their end hold old anchors": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			s.Finished = 3 // they are no peers
			return s
		}, nil},

		// Where it sees nothing.
		"no anchors anywhere": {func(w *world) *mesh.Survey {
			s := w.cluster("east", "")
			s.Peers, s.Classes = nil, nil
			return s
		}, []string{"error no-anchors"}},
		"linkerd-config is fine and what counts is not": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.n.PEM())
			config(s).Trust = w.trust(w.o.PEM())
			return s
		}, []string{"error issuer-untrusted", "error peer-untrusted", "info copies-disagree"}},
		"a pod lacks the anchor in use": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM(), w.n.Issuer("new"))
			w.pods(s, "shop", "old", 2, w.o.PEM(), func(p *mesh.Peer) { p.Created = now.Add(-40 * day) })
			return s
		}, []string{"error peer-untrusted", "warning restart-needed"}},
		"and its proxy was asked itself": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM(), w.n.Issuer("new"))
			w.pods(s, "shop", "old", 2, w.o.PEM(), func(p *mesh.Peer) { p.Created, p.TrustEvidence = now.Add(-40*day), mesh.EvidenceAdmin })
			return s
		}, []string{"error peer-untrusted", "warning restart-needed"}},
		"a pod of the control plane's namespace lacks it": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM(), w.n.Issuer("new"))
			w.pods(s, "linkerd", "linkerd-destination", 1, w.o.PEM(), func(p *mesh.Peer) { p.Component, p.TrustEvidence = "destination", mesh.EvidenceAdmin })
			return s
		}, []string{"error peer-untrusted"}},
		"a template at zero replicas carries an old proxy": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			w.class(s, w.n.PEM()).Latent = 1
			return s
		}, []string{"error peer-untrusted"}},
		"a pod holds other anchors, and all still verify": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM())
			w.pods(s, "shop", "old", 1, w.o.PEM(), func(p *mesh.Peer) { p.Created = now.Add(-40 * day) })
			return s
		}, []string{"warning restart-needed"}},
		"a pod trusts what is handed out no more": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			w.pods(s, "shop", "old", 1, w.o.PEM()+w.n.PEM(), func(p *mesh.Peer) { p.Created = now.Add(-40 * day) })
			return s
		}, []string{"info restart-needed"}},
		"and that has expired": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			w.pods(s, "shop", "old", 1, w.o.PEM()+w.lab.Root("gone", testca.From(-90*day), testca.Until(-day)).PEM(), func(p *mesh.Peer) { p.Created = now.Add(-40 * day) })
			return s
		}, []string{"info restart-needed", "warning expired-but-trusted"}},
		"the injector hands out an old bundle": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM())
			w.pods(s, "shop", "late", 1, w.o.PEM())
			return s
		}, []string{"error injector-behind"}},
		"identity started before the anchors changed": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			roots(s).ChangedAt = now.Add(-3 * day)
			return s
		}, []string{"warning identity-behind"}},
		"identity is seen to run with other anchors": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM())
			s.Peers[0].Identity.Roots = w.trust(w.o.PEM())
			return s
		}, []string{"warning identity-behind"}},
		"or with the same in another order": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM())
			s.Peers[0].Identity.Roots = w.trust(w.n.PEM() + w.o.PEM())
			return s
		}, nil},
		"a token and a gateway for clusters that are not in the fleet": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			s.RemoteAccess = []mesh.RemoteAccess{{Secret: mesh.ObjectRef{Kind: "Secret", Namespace: "linkerd-multicluster", Name: "remote-access"}, LastUsed: now}}
			s.Gateways = []mesh.Gateway{{Object: mesh.ObjectRef{Kind: "Service", Namespace: "linkerd-multicluster", Name: "linkerd-gateway"}}}
			return s
		}, []string{"info unexplained", "warning unexplained"}},
		"no signature of the issuer verifies under the root that it names": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.lab.Root("O").PEM())
		}, []string{"error issuer-untrusted", "error peer-untrusted"}},
		"an expired issuer": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM(), w.o.Issuer("old", testca.From(-90*day), testca.Until(-time.Hour)))
		}, []string{"error expired", "error issuer-untrusted", "error peer-untrusted"}},
		"an expired root in use: proxies go on, identity does not start": {func(w *world) *mesh.Survey {
			gone := w.lab.Root("gone", testca.From(-90*day), testca.Until(-time.Hour))
			return w.cluster("east", gone.PEM(), gone.Issuer("below"))
		}, []string{"error issuer-untrusted", "warning expired-but-trusted"}},
		"an issuer that ought to be renewed": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM(), w.o.Issuer("soon", testca.From(-350*day), testca.Until(15*day)))
		}, []string{"warning expires-soon"}},
		"a root that ought to be": {func(w *world) *mesh.Survey {
			soon := w.lab.Root("soon", testca.From(-350*day), testca.Until(15*day))
			return w.cluster("east", soon.PEM(), soon.Issuer("below", testca.Until(10*365*day)))
		}, []string{"warning expires-soon", "warning issuer-outlives-anchor"}},
		"a cross-signed root that shortens leaves": {func(w *world) *mesh.Survey {
			x := w.n.CrossSignedBy(w.o, testca.Until(5*time.Hour))
			return w.cluster("east", w.o.PEM(), w.n.Issuer("below"), x)
		}, []string{"warning chain-shortens-leaves"}},
		"an issuer without its key": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			s.Installations[0].Issuer.HasKey = false
			return s
		}, []string{"error issuer-without-key"}},
		"an issuer that does not parse": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			s.Installations[0].Issuer.Err, s.Installations[0].Issuer.Chain = errors.New("not a PEM certificate"), nil
			return s
		}, []string{"error issuer-unreadable"}},
		"an RSA issuer, with which identity cannot sign": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM(), w.o.Issuer("rsa", testca.Kind("RSA 2048")))
		}, []string{"error unsupported-key"}},
		"roots that share a subject": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM()+w.lab.Root("O").PEM())
		}, []string{"warning same-subject"}},
		"a re-issued root beside itself": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM()+w.o.Again().PEM())
		}, []string{"warning duplicate-anchor", "warning same-subject"}},
		"text behind the last certificate: no sidecar starts": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM()+"\n")
		}, []string{"error issuer-untrusted", "error peer-untrusted", "error unreadable-by-identity", "error unreadable-by-proxy"}},
		"a bundle near its limit": {func(w *world) *mesh.Survey {
			return w.cluster("east", "# "+strings.Repeat("x", 110_000)+"\n"+w.o.PEM())
		}, []string{"warning too-large-for-env"}},
		"the next upgrade brings an old bundle back": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM())
			s.Installations[0].Copies = append(s.Installations[0].Copies, mesh.Copy{
				Object: mesh.ObjectRef{Kind: "Secret", Namespace: "linkerd", Name: "linkerd-config-overrides"}, Uses: []mesh.Use{mesh.NextUpgrade}, Trust: w.trust(w.o.PEM())})
			return s
		}, []string{"warning copies-disagree"}},
		"cert-manager renews an issuer that is its own root": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM(), w.o)
			s.Installations[0].Issuer.Owners = []mesh.Owner{{Tool: mesh.ToolCertManager, Active: true, Name: "linkerd-identity-issuer"}}
			return s
		}, []string{"error unattended-rotation"}},
		"cert-manager rotates the anchor one day": {func(w *world) *mesh.Survey {
			return renewed(w, func(m *mesh.ManagedCertificate) { m.RenewalTime = now.Add(60 * day) })
		}, []string{"warning unattended-rotation"}},
		"cert-manager rotates the anchor soon": {func(w *world) *mesh.Survey {
			return renewed(w, func(m *mesh.ManagedCertificate) { m.RenewalTime, m.RotationPolicy = now.Add(7*day), "Always" })
		}, []string{"error unattended-rotation"}},
		"cert-manager leaves the anchor alone": {func(w *world) *mesh.Survey {
			return renewed(w, func(m *mesh.ManagedCertificate) { m.RenewalPolicy = "Disabled" })
		}, nil},
		"cert-manager renews the anchor with the same key": {func(w *world) *mesh.Survey {
			return renewed(w, func(m *mesh.ManagedCertificate) { m.RotationPolicy = "Never" })
		}, nil},
		"cert-manager renews the issuer below the anchor": {func(w *world) *mesh.Survey {
			return renewed(w, func(m *mesh.ManagedCertificate) { m.Anchor, m.Issuer = nil, true })
		}, nil},
		"a default install: the issuer is its own root": {func(w *world) *mesh.Survey {
			return w.cluster("east", w.o.PEM(), w.o)
		}, nil},

		// What cannot be seen.
		"a pod that got ready after the issuer changed proved something": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			w.pods(s, "shop", "odd", 1, "")
			return s
		}, []string{"warning trust-unknown"}},
		"one that did not proved nothing": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			w.pods(s, "shop", "odd", 1, "", func(p *mesh.Peer) { p.Proxy.Ready = false })
			return s
		}, []string{"error trust-unknown"}},
		"a workload outside of the cluster": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			w.pods(s, "shop", "vm", 1, "", func(p *mesh.Peer) { p.External, p.Proxy = true, mesh.Process{} })
			return s
		}, []string{"warning trust-unknown"}},
		"leaves of a former issuer may live, and all trust the same": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM())
			s.Installations[0].Issuer.ChangedAt = now.Add(-30 * time.Minute)
			return s
		}, nil},
		"they may, and not all trust the same": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM()+w.n.PEM(), w.n.Issuer("new"))
			s.Installations[0].Issuer.ChangedAt = now.Add(-30 * time.Minute)
			w.pods(s, "shop", "young", 1, w.n.PEM(), func(p *mesh.Peer) { p.Created = now.Add(-40 * day) })
			return s
		}, []string{"error chain-unseen", "warning restart-needed"}},
		"what is presented was seen, and is not accepted": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			leaf := w.n.Issuer("other").Leaf("web.shop")
			chain, err := bundle.ReadChain([]byte(testca.PEM(leaf.Chain()...)))
			require.NoError(w.t, err)
			s.Classes[0].Presented = &mesh.Presented{Chain: chain}
			return s
		}, []string{"error peer-untrusted"}},
		"the issuer may not be read": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			i := s.Installations[0]
			i.Issuer, i.Unknowns = nil, []mesh.Unknown{{Code: mesh.CodeForbidden, About: "Secret linkerd/linkerd-identity-issuer", Reason: "no"}}
			return s
		}, []string{"error forbidden"}},
		"something that no verdict rests on may not be read": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			s.Know(mesh.Unknown{Code: mesh.CodeForbidden, About: "tokens of other clusters", Reason: "no"})
			return s
		}, []string{"warning forbidden"}},
		"a cluster that does not answer": {func(*world) *mesh.Survey {
			return &mesh.Survey{Name: "east", Unknowns: []mesh.Unknown{{Code: mesh.CodeTimeout, About: "identity of the cluster", Reason: "no answer in time"}}}
		}, []string{"error timeout"}},
		"identity is off": {func(w *world) *mesh.Survey {
			s := w.cluster("east", w.o.PEM())
			i := s.Installations[0]
			i.IdentityDisabled, i.Unknowns = true, []mesh.Unknown{{Code: mesh.CodeIdentityOff, About: "identity", Reason: "off"}}
			return s
		}, []string{"error identity-off"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.make(newWorld(t))
			assert.Equal(t, c.want, found(s))
			for _, f := range health.Check(&mesh.Fleet{Surveys: []*mesh.Survey{s}}, now, health.CheckOptions{}).Findings {
				assert.NotEmpty(t, f.Message, f.Code)
				assert.Equal(t, "east", f.Cluster)
				if f.Level != bundle.LevelInfo && f.Code != bundle.CodeTextOutsideBlocks {
					assert.NotEmpty(t, f.Hint, "%s has no hint", f.Code)
				}
			}
		})
	}
}

// renewed is a cluster whose anchor a Certificate makes.
func renewed(w *world, edit func(*mesh.ManagedCertificate)) *mesh.Survey {
	s := w.cluster("east", w.o.PEM())
	i := s.Installations[0]
	m := mesh.ManagedCertificate{Object: mesh.ObjectRef{Kind: "Certificate", Namespace: "cert-manager", Name: "linkerd-trust-anchor"},
		Secret: "linkerd-trust-anchor", IsCA: true, Anchor: i.Copies[0].Trust.Anchors[0]}
	edit(&m)
	i.Certificates = []mesh.ManagedCertificate{m}
	return s
}

func TestTwoContextsOfOneClusterAreOneCluster(t *testing.T) {
	w := newWorld(t)
	a, b := w.cluster("east", w.n.PEM()), w.cluster("east", w.n.PEM())
	b.Name = "east-again"
	assert.Equal(t, []string{"error issuer-untrusted", "error peer-untrusted", "warning cluster-twice"}, found(a, b))
}

func TestWhatEndsNextIsInUse(t *testing.T) {
	w := newWorld(t)
	s := w.cluster("east", w.o.PEM()+w.lab.Root("retiring", testca.Until(day)).PEM(), w.o.Issuer("i", testca.Until(40*day)))
	r := health.Check(&mesh.Fleet{Surveys: []*mesh.Survey{s}}, now, health.CheckOptions{})
	require.NotEmpty(t, r.Endings)
	assert.Contains(t, r.Endings[0].What, "issuer i", "not the anchor that nothing needs")
	assert.Nil(t, r.EndsWithin(now, 30*day))
	assert.NotNil(t, r.EndsWithin(now, 60*day))

	s.Installations[0].Issuer.Owners = []mesh.Owner{{Tool: mesh.ToolCertManager, Active: true}}
	r = health.Check(&mesh.Fleet{Surveys: []*mesh.Survey{s}}, now, health.CheckOptions{})
	assert.Nil(t, r.EndsWithin(now, 60*day), "cert-manager renews it, and is not late")
	w.issuer(s, now.Add(-30*day), w.o.Issuer("i", testca.From(-50*time.Hour), testca.Until(10*time.Hour)))
	s.Installations[0].Issuer.Owners = []mesh.Owner{{Tool: mesh.ToolCertManager, Active: true}}
	r = health.Check(&mesh.Fleet{Surveys: []*mesh.Survey{s}}, now, health.CheckOptions{})
	assert.NotNil(t, r.EndsWithin(now, day), "it is late")
}
