package health_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/health"
)

// now is the moment of judgement.
var now = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

const (
	day     = 24 * time.Hour
	release = "stable-2.14.10"
)

// world builds surveys around a few certificates.
type world struct {
	t     testing.TB
	lab   *testca.Lab
	o, n  *testca.Cert // roots
	i     *testca.Cert // an issuer under o
	texts mesh.Texts
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, lab: testca.New(now)}
	w.o, w.n = w.lab.Root("O"), w.lab.Root("N")
	w.i = w.o.Issuer("issuer")
	return w
}

func (w *world) trust(pem string) *mesh.TrustSet {
	if pem == "" {
		return nil
	}
	return w.texts.TrustSet(pem, release)
}

// cluster is one that is well: roots and issuer as they were installed a month
// ago, identity a day younger, three pods with the stored roots.
func (w *world) cluster(name, roots string, issuer ...*testca.Cert) *mesh.Survey {
	i := &mesh.Installation{
		Namespace: "linkerd", Release: release, Layout: "values-flat", TrustDomain: "cluster.local", Scheme: "linkerd.io/tls",
		IssuanceLifetime: day, ClockSkew: 20 * time.Second,
		Copies: []mesh.Copy{
			{Object: mesh.ObjectRef{Kind: "ConfigMap", Namespace: "linkerd", Name: "linkerd-identity-trust-roots"}, Field: "data",
				Uses: []mesh.Use{mesh.NewPods, mesh.IdentityRoots, mesh.ControlPlane}, Trust: w.trust(roots), ChangedAt: now.Add(-30 * day)},
			{Object: mesh.ObjectRef{Kind: "ConfigMap", Namespace: "linkerd", Name: "linkerd-config"}, Field: "values",
				Uses: []mesh.Use{mesh.ManualInjection}, Trust: w.trust(roots), ChangedAt: now.Add(-30 * day)},
		},
	}
	s := &mesh.Survey{Name: name, Identity: mesh.Identity{UID: "uid-" + name, ServiceUID: "svc-" + name}, Reached: true, Begun: now, Ended: now, Installations: []*mesh.Installation{i}}
	if len(issuer) == 0 {
		issuer = []*testca.Cert{w.i}
	}
	w.issuer(s, now.Add(-30*day), issuer...)
	w.pods(s, "linkerd", "linkerd-identity", 1, roots, func(p *mesh.Peer) {
		p.Component, p.TrustEvidence = "identity", mesh.EvidenceInferred
		p.Created = now.Add(-29 * day)
		p.Proxy.StartedAt = now.Add(-29 * day)
		p.Identity = &mesh.IdentityProcess{Process: p.Proxy}
	})
	w.pods(s, "shop", "web", 3, roots)
	return s
}

func (w *world) issuer(s *mesh.Survey, changed time.Time, chain ...*testca.Cert) {
	pem := testca.PEM(testca.Certs(chain...)...)
	read, err := bundle.ReadIssuer([]byte(pem))
	require.NoError(w.t, err)
	s.Installations[0].Issuer = &mesh.Issuer{
		Object: mesh.ObjectRef{Kind: "Secret", Namespace: "linkerd", Name: "linkerd-identity-issuer"}, Scheme: "linkerd.io/tls", CertKey: "crt.pem",
		PEM: pem, Chain: read, HasKey: true, ChangedAt: changed,
	}
}

// pods adds a workload, an hour old.
func (w *world) pods(s *mesh.Survey, namespace, name string, count int, anchors string, edit ...func(*mesh.Peer)) {
	load := &mesh.Workload{Kind: "Deployment", Namespace: namespace, Name: name, Method: mesh.RestartRolling}
	s.Workloads = append(s.Workloads, load)
	for n := range count {
		p := mesh.Peer{
			Namespace: namespace, Name: fmt.Sprint(name, "-", n), Workload: load, Phase: "Running", Created: now.Add(-time.Hour), TrustEvidence: mesh.EvidenceSpec,
			TLSName: name + "." + namespace + ".serviceaccount.identity.linkerd.cluster.local",
			Proxy:   mesh.Process{Running: true, Ready: true, StartedAt: now.Add(-time.Hour)}, Class: w.class(s, anchors),
		}
		for _, e := range edit {
			e(&p)
		}
		p.Class.Peers++
		load.Pods = append(load.Pods, len(s.Peers))
		s.Peers = append(s.Peers, p)
	}
}

func (w *world) class(s *mesh.Survey, anchors string) *mesh.Class {
	t := w.trust(anchors)
	for _, c := range s.Classes {
		if t != nil && c.Trust != nil && c.Trust.ID == t.ID {
			return c
		}
	}
	c := &mesh.Class{Installation: "linkerd", Release: release, Trust: t}
	if t == nil {
		c.TrustWhy = "nobody knows"
	}
	s.Classes = append(s.Classes, c)
	return c
}

// link adds a Link whose credentials lead to the cluster.
func link(from, to *mesh.Survey, edit ...func(*mesh.Link)) *mesh.Link {
	l := &mesh.Link{
		Object: mesh.ObjectRef{Kind: "Link", Namespace: "linkerd-multicluster", Name: to.Name}, Version: "v1alpha2", Target: to.Name, TargetNamespace: "linkerd",
		Mirrors: true, Discovers: true,
		Credentials: []mesh.Credential{{Secret: mesh.ObjectRef{Kind: "Secret", Namespace: "linkerd-multicluster", Name: "cluster-credentials"}, Target: mesh.Identity{ServiceUID: to.ServiceUID}}},
	}
	for _, e := range edit {
		e(l)
	}
	from.Links = append(from.Links, l)
	return l
}

// found checks a fleet and renders its findings, "level code".
func found(surveys ...*mesh.Survey) (out []string) {
	r := health.Check(&mesh.Fleet{Surveys: surveys}, now, health.CheckOptions{})
	for _, f := range r.Findings {
		out = append(out, string(f.Level)+" "+string(f.Code))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
