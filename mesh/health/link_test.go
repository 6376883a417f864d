package health_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/health"
)

// The first rows are those of `linkerd multicluster check`, "clusters share
// trust anchors", which compares sets of anchors and looks at no issuer.
func TestLinksOnPurpose(t *testing.T) {
	const gateway = "linkerd-gateway.linkerd-multicluster.serviceaccount.identity.linkerd.cluster.local"
	through := func(l *mesh.Link) { l.Discovers, l.GatewayIdentity = false, gateway }
	for name, c := range map[string]struct {
		make     func(w *world) (east, west *mesh.Survey)
		edit     func(*mesh.Link)
		verdict  health.Verdict
		to, from bool
		says     string
		shared   int
	}{
		"{A} and {A}": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM())
		}, verdict: health.Sound, to: true, from: true, shared: 1},
		"{A} and {A,B}, both issuers under A": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM()+w.n.PEM())
		}, verdict: health.Sound, to: true, from: true, shared: 1},
		"{A} and {A,A}": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM()+w.o.PEM())
		}, verdict: health.Sound, to: true, from: true, shared: 1},
		"{A,B} and {A,A}, an issuer under B": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()+w.n.PEM(), w.n.Issuer("i")), w.cluster("west", w.o.PEM()+w.o.PEM())
		}, verdict: health.Broken, from: true, says: `signed by "N"`, shared: 1},
		"{} and {}": {make: func(w *world) (a, b *mesh.Survey) {
			a, b = w.cluster("east", ""), w.cluster("west", "")
			for _, s := range []*mesh.Survey{a, b} {
				s.Peers, s.Classes = nil, nil
			}
			return a, b
		}, verdict: health.Unknown, says: "no anchors of west were seen"},
		"{A} and {}, whose pods cannot be judged": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", "")
		}, verdict: health.Unknown, from: true, says: "nobody knows"},
		"{A} and {B}": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", w.n.PEM(), w.n.Issuer("i"))
		}, verdict: health.Broken},

		// And what it does not ask.
		"a shared anchor, and the issuer is under the other": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()+w.n.PEM(), w.n.Issuer("i")), w.cluster("west", w.o.PEM())
		}, verdict: health.Broken, from: true, shared: 1},
		"a cross-signed root carries it": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()+w.n.PEM(), w.n.Issuer("i"), w.n.CrossSignedBy(w.o)), w.cluster("west", w.o.PEM())
		}, verdict: health.Sound, to: true, from: true, shared: 1},
		"no anchor in common, and each trusts the other's": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.n.PEM()), w.cluster("west", w.o.PEM(), w.n.Issuer("i"))
		}, verdict: health.Sound, to: true, from: true},
		"a re-issued root is the same anchor": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", w.o.Again().PEM())
		}, verdict: health.Sound, to: true, from: true, shared: 1},
		"an expired issuer": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM(), w.o.Issuer("i", testca.From(-2*day), testca.Until(-day))), w.cluster("west", w.o.PEM())
		}, verdict: health.Broken, from: true, says: "expired on", shared: 1},
		"an issuer about to end": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM(), w.o.Issuer("i", testca.From(-350*day), testca.Until(10*day))), w.cluster("west", w.o.PEM())
		}, verdict: health.Expiring, to: true, from: true, shared: 1},
		"one old pod in the target": {make: func(w *world) (a, b *mesh.Survey) {
			both := w.o.PEM() + w.n.PEM()
			a, b = w.cluster("east", both, w.n.Issuer("i")), w.cluster("west", both)
			w.pods(b, "shop", "old", 1, w.o.PEM())
			return a, b
		}, verdict: health.Broken, from: true, says: "Deployment shop/old", shared: 1},
		"one old pod behind the target's gateway is of no concern": {make: func(w *world) (a, b *mesh.Survey) {
			both := w.o.PEM() + w.n.PEM()
			a, b = w.cluster("east", both, w.n.Issuer("i")), w.cluster("west", both)
			w.pods(b, "shop", "old", 1, w.o.PEM())
			w.pods(b, "linkerd-multicluster", "linkerd-gateway", 1, both, func(p *mesh.Peer) { p.TLSName = gateway })
			return a, b
		}, edit: through, verdict: health.Sound, to: true, from: true, shared: 2},
		"any meshed workload may be the gateway": {make: func(w *world) (a, b *mesh.Survey) {
			both := w.o.PEM() + w.n.PEM()
			a, b = w.cluster("east", both, w.n.Issuer("i")), w.cluster("west", both)
			w.pods(b, "edge", "ambassador", 1, w.o.PEM(), func(p *mesh.Peer) { p.TLSName = gateway })
			return a, b
		}, edit: through, verdict: health.Broken, from: true, says: "ambassador", shared: 1},
		"the control plane's own pods make no calls to other clusters": {make: func(w *world) (a, b *mesh.Survey) {
			a, b = w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM())
			w.pods(b, "linkerd", "linkerd-destination", 1, "", func(p *mesh.Peer) { p.Component = "destination" })
			return a, b
		}, verdict: health.Sound, to: true, from: true, shared: 1},
		"the issuer of the target is not to be seen, and its anchors are ours": {make: func(w *world) (a, b *mesh.Survey) {
			a, b = w.cluster("east", w.o.PEM()+w.n.PEM()), w.cluster("west", w.o.PEM())
			b.Installations[0].Issuer = nil
			return a, b
		}, verdict: health.Sound, to: true, from: true, shared: 1},
		"nor are its anchors ours": {make: func(w *world) (a, b *mesh.Survey) {
			a, b = w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM()+w.n.PEM())
			b.Installations[0].Issuer = nil
			return a, b
		}, verdict: health.Unknown, to: true, says: "the issuer could not be read", shared: 1},
		"identity has not taken the issuer up, and its former one counts": {make: func(w *world) (a, b *mesh.Survey) {
			a, b = w.cluster("east", w.n.PEM(), w.n.Issuer("i")), w.cluster("west", w.o.PEM()+w.n.PEM(), w.n.Issuer("i"))
			b.Installations[0].Issuer.ChangedAt = now.Add(-2 * day)
			return a, b
		}, verdict: health.Unknown, to: true, says: "may not have taken it up", shared: 1},
		"two control planes in the target": {make: func(w *world) (a, b *mesh.Survey) {
			a, b = w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM())
			b.Installations = append(b.Installations, &mesh.Installation{Namespace: "linkerd-two"})
			return a, b
		}, verdict: health.Sound, to: true, from: true, shared: 1},
		"a control plane that is not there": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM())
		}, edit: func(l *mesh.Link) { l.TargetNamespace = "l5d" }, verdict: health.Unknown, says: "no control plane was seen in namespace l5d"},
		"hostile credentials": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM())
		}, edit: func(l *mesh.Link) {
			l.Credentials[0].Target, l.Credentials[0].Refused = mesh.Identity{}, errors.New("exec would run a program")
		}, verdict: health.Unknown, says: "exec would run a program"},
		"credentials that lead home": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM())
		}, edit: func(l *mesh.Link) { l.Credentials[0].Target.ServiceUID = "svc-east" }, verdict: health.Unknown, says: "lead back"},
		"2.8 knew no Link": {make: func(w *world) (a, b *mesh.Survey) {
			return w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM())
		}, edit: func(l *mesh.Link) {
			l.Version, l.Object.Kind, l.Discovers = "", "Secret", false
			l.Unknowns = []mesh.Unknown{{Code: mesh.CodeNotObserved, About: "gateway", Reason: "2.8"}}
		}, verdict: health.Sound, to: true, from: true, shared: 1},
	} {
		t.Run(name, func(t *testing.T) {
			east, west := c.make(newWorld(t))
			l := link(east, west)
			if c.edit != nil {
				c.edit(l)
			}
			all := health.NewJudge(now).Links(&mesh.Fleet{Surveys: []*mesh.Survey{east, west}}, nil, 0)
			require.Len(t, all, 1)
			r := all[0]
			assert.Equal(t, c.verdict, r.Verdict, "%+v", r)
			assert.Equal(t, []bool{c.to, c.from}, []bool{r.ToTarget.OK, r.FromTarget.OK}, "%+v", r)
			assert.NotEmpty(t, r.ToTarget.Reason)
			assert.NotEmpty(t, r.FromTarget.Reason)
			assert.Contains(t, r.ToTarget.Reason+r.FromTarget.Reason, c.says)
			assert.Len(t, r.SharedAnchors, c.shared)
			if r.Verdict != health.Sound {
				assert.NotEmpty(t, r.Hints)
			}
		})
	}
}

func TestALinkByExpiredAnchorsOnlySaysSo(t *testing.T) {
	w := newWorld(t)
	gone := w.lab.Root("gone", testca.From(-90*day), testca.Until(-time.Hour))
	east, west := w.cluster("east", gone.PEM(), gone.Issuer("a")), w.cluster("west", gone.PEM(), gone.Issuer("b"))
	link(east, west)
	r := health.NewJudge(now).Links(&mesh.Fleet{Surveys: []*mesh.Survey{east, west}}, nil, 0)[0]
	assert.Equal(t, health.Sound, r.Verdict, "to proxies an anchor's dates are nothing")
	assert.True(t, r.OnlyExpired)
	assert.Contains(t, found(east, west), "warning link-without-valid-anchor")
}

func TestVerdictsOnLinksAreFindings(t *testing.T) {
	w := newWorld(t)
	east, west := w.cluster("east", w.o.PEM()), w.cluster("west", w.n.PEM(), w.n.Issuer("i"))
	link(east, west)
	assert.Equal(t, []string{"error link-broken"}, found(east, west))
	assert.Equal(t, []string{"error link-unknown"}, found(east), "nobody looked at west")
	east.Links[0].Credentials[0].TokenExpires = now.Add(-day)
	assert.Equal(t, []string{"error link-broken", "error link-credentials"}, found(east, west))
}

func TestATargetOutsideOfTheFleetIsSeenByItsCredentials(t *testing.T) {
	w := newWorld(t)
	east, west := w.cluster("east", w.o.PEM()), w.cluster("west", w.o.PEM())
	l := link(east, west)
	r := health.NewJudge(now).Link(&mesh.Fleet{Surveys: []*mesh.Survey{east}}, east, l, west, 0)
	assert.Equal(t, health.Sound, r.Verdict)
	assert.Equal(t, health.ViaCredentials, r.Via)
}
