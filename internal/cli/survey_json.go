package cli

import (
	"cmp"
	"slices"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/health"
)

// surveyJSON is what `windlass survey -o json` prints; docs/health.md describes
// it. Fields are part of the command line's contract: add, never rename. What is
// not known is null or "", and a field that ends in Why says why.
type surveyJSON struct {
	Clusters []clusterJSON `json:"clusters"`
	// Anchors is the matrix: each anchor once, and who trusts and presents it.
	Anchors []matrixJSON `json:"anchors"`
}

type clusterJSON struct {
	Name          string             `json:"name"`
	UID           string             `json:"uid"` // of namespace kube-system
	Server        string             `json:"server"`
	Reached       bool               `json:"reached"`
	TakenAt       string             `json:"takenAt"` // by the API server's clock
	Requests      int64              `json:"requests"`
	Bytes         int64              `json:"bytes"`
	ControlPlanes []controlPlaneJSON `json:"controlPlanes"`
	Classes       []classJSON        `json:"classes"`
	Workloads     []workloadJSON     `json:"workloads"`
	Finished      int                `json:"finished"` // meshed pods that have run to their end
	Links         []surveyLinkJSON   `json:"links"`
	Unknowns      []unknownJSON      `json:"unknowns"`
}

type controlPlaneJSON struct {
	Namespace   string        `json:"namespace"`
	Release     string        `json:"release"`
	Layout      string        `json:"layout"`
	TrustDomain string        `json:"trustDomain"`
	ExternalCA  bool          `json:"externalCA"`
	Installer   *ownerJSON    `json:"installer"`
	Lifetime    string        `json:"leafLifetime"` // clock skew included
	Copies      []copyJSON    `json:"copies"`
	Issuer      *issuerJSON   `json:"issuer"`
	Unknowns    []unknownJSON `json:"unknowns"`
}

type ownerJSON struct {
	Tool   string `json:"tool"`
	Name   string `json:"name,omitempty"`
	Active bool   `json:"active"` // puts back what it wants
	Why    string `json:"why"`
}

type copyJSON struct {
	Object    string      `json:"object"`
	Field     string      `json:"field"`
	Uses      []mesh.Use  `json:"uses"`
	Anchors   []string    `json:"anchors"` // anchorIds; null where nothing is stored
	Agrees    bool        `json:"agrees"`  // with what new pods are given
	Error     string      `json:"error,omitempty"`
	ChangedAt string      `json:"changedAt"`
	Owners    []ownerJSON `json:"owners"`
}

type issuerJSON struct {
	Object    string       `json:"object"`
	Scheme    string       `json:"scheme"`
	Chain     []anchorJSON `json:"chain"`
	Error     string       `json:"error,omitempty"`
	ChangedAt string       `json:"changedAt"`
	Owners    []ownerJSON  `json:"owners"`
}

type classJSON struct {
	ID            int      `json:"id"` // within this document
	ControlPlane  string   `json:"controlPlane"`
	Release       string   `json:"release"`
	Anchors       []string `json:"anchors"` // anchorIds; null is unknown
	AnchorsWhy    string   `json:"anchorsWhy,omitempty"`
	Presents      []string `json:"presents"` // SHA-256 of the chain, leaf first; null is unknown
	PresentsWhy   string   `json:"presentsWhy,omitempty"`
	Peers         int      `json:"peers"`
	LatentSources int      `json:"latent"` // templates that may make more
}

type workloadJSON struct {
	Kind      string             `json:"kind"`
	Namespace string             `json:"namespace"`
	Name      string             `json:"name"`
	Replicas  *int               `json:"replicas"`
	Component string             `json:"component,omitempty"`
	Gateway   bool               `json:"gateway,omitempty"`
	Restart   mesh.Method        `json:"restart"`
	Why       string             `json:"restartWhy,omitempty"`
	Pods      int                `json:"pods"`
	Classes   []workloadPodsJSON `json:"classes"`
}

type workloadPodsJSON struct {
	Class    int           `json:"class"`
	Pods     int           `json:"pods"`
	Evidence mesh.Evidence `json:"evidence"` // for the anchors
}

type surveyLinkJSON struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Target    string   `json:"target"`
	Member    string   `json:"member"` // the target's name in this fleet
	Gateways  []string `json:"gateways"`
	Direct    bool     `json:"direct"`
	Unseen    string   `json:"unseen,omitempty"` // why it is not known where it leads
}

type unknownJSON struct {
	Code   mesh.Code `json:"code"`
	About  string    `json:"about"`
	Reason string    `json:"reason"`
}

type matrixJSON struct {
	anchorJSON
	Clusters []cellJSON `json:"clusters"`
}

// cellJSON says who in one cluster trusts an anchor, and who presents it.
type cellJSON struct {
	Cluster string `json:"cluster"`
	Copies  int    `json:"copies"`
	Peers   int    `json:"peers"`
	Signs   bool   `json:"signs"` // the stored issuer chains to it
}

func (a *app) surveyJSON(f *mesh.Fleet) surveyJSON {
	out := surveyJSON{Clusters: []clusterJSON{}, Anchors: []matrixJSON{}}
	for _, s := range f.Surveys {
		out.Clusters = append(out.Clusters, clusterToJSON(f, s))
	}
	for _, r := range matrix(f, a.Now()) {
		out.Anchors = append(out.Anchors, matrixJSON{toJSON(r.cert, nil), r.cells})
	}
	return out
}

func clusterToJSON(f *mesh.Fleet, s *mesh.Survey) clusterJSON {
	c := clusterJSON{
		Name: s.Name, UID: s.UID, Server: s.Server, Reached: s.Reached, TakenAt: rfc3339(s.Ended), Requests: s.Cost.Requests, Bytes: s.Cost.Bytes,
		ControlPlanes: []controlPlaneJSON{}, Classes: []classJSON{}, Workloads: []workloadJSON{}, Links: []surveyLinkJSON{},
		Finished: s.Finished, Unknowns: unknownsToJSON(s.Unknowns),
	}
	for _, i := range s.Installations {
		c.ControlPlanes = append(c.ControlPlanes, controlPlaneToJSON(i))
	}
	ids := map[*mesh.Class]int{}
	for n, class := range s.Classes {
		ids[class] = n
		j := classJSON{ID: n, ControlPlane: class.Installation, Release: class.Release, Anchors: anchorIDs(class.Trust), AnchorsWhy: class.TrustWhy,
			PresentsWhy: class.PresentedWhy, Peers: class.Peers, LatentSources: class.Latent}
		if class.Presented != nil {
			j.Presents, j.PresentsWhy = []string{}, ""
			for _, cert := range class.Presented.Chain {
				j.Presents = append(j.Presents, cert.Fingerprint().String())
			}
		}
		c.Classes = append(c.Classes, j)
	}
	for _, w := range s.Workloads {
		c.Workloads = append(c.Workloads, workloadToJSON(s, w, ids))
	}
	for _, l := range s.Links {
		j := surveyLinkJSON{Namespace: l.Object.Namespace, Name: l.Object.Name, Version: l.Version, Target: l.Target,
			Gateways: append([]string{}, l.GatewayAddresses...), Direct: l.Direct()}
		if t := f.Target(l); t != nil {
			j.Member = t.Name
		} else {
			j.Unseen = health.Unseen(l)
		}
		c.Links = append(c.Links, j)
	}
	return c
}

func controlPlaneToJSON(i *mesh.Installation) controlPlaneJSON {
	j := controlPlaneJSON{Namespace: i.Namespace, Release: i.Release, Layout: i.Layout, TrustDomain: i.TrustDomain, ExternalCA: i.ExternalCA,
		Copies: []copyJSON{}, Unknowns: unknownsToJSON(i.Unknowns)}
	if i.IssuanceLifetime > 0 {
		j.Lifetime = (i.IssuanceLifetime + i.ClockSkew).String()
	}
	if i.Installer.Tool != "" {
		j.Installer = &ownersToJSON([]mesh.Owner{i.Installer})[0]
	}
	for n := range i.Copies {
		cp := &i.Copies[n]
		c := copyJSON{Object: cp.Object.String(), Field: cp.Field, Uses: append([]mesh.Use{}, cp.Uses...), Anchors: anchorIDs(cp.Trust),
			Agrees: health.Agrees(i, cp), ChangedAt: rfc3339(cp.ChangedAt), Owners: ownersToJSON(cp.Owners)}
		if cp.Trust != nil && cp.Trust.Err != nil {
			c.Error = cp.Trust.Err.Error()
		}
		j.Copies = append(j.Copies, c)
	}
	if is := i.Issuer; is != nil {
		j.Issuer = &issuerJSON{Object: is.Object.String(), Scheme: is.Scheme, Chain: []anchorJSON{}, ChangedAt: rfc3339(is.ChangedAt), Owners: ownersToJSON(is.Owners)}
		for _, c := range is.Chain {
			j.Issuer.Chain = append(j.Issuer.Chain, toJSON(c, nil))
		}
		if is.Err != nil {
			j.Issuer.Error = is.Err.Error()
		}
	}
	return j
}

func workloadToJSON(s *mesh.Survey, w *mesh.Workload, ids map[*mesh.Class]int) workloadJSON {
	j := workloadJSON{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name, Component: w.Component, Gateway: w.Gateway,
		Restart: w.Method, Why: w.Why, Pods: len(w.Pods), Classes: []workloadPodsJSON{}}
	if w.Replicas >= 0 {
		j.Replicas = &w.Replicas
	}
	for _, g := range podGroups(s, w) {
		j.Classes = append(j.Classes, workloadPodsJSON{ids[g.class], g.pods, g.evidence})
	}
	return j
}

// podGroup is the pods of a workload that are of one class, known in one way.
type podGroup struct {
	class    *mesh.Class
	evidence mesh.Evidence
	pods     int
}

func podGroups(s *mesh.Survey, w *mesh.Workload) (out []podGroup) {
	for _, n := range w.Pods {
		p := &s.Peers[n]
		at := slices.IndexFunc(out, func(g podGroup) bool { return g.class == p.Class && g.evidence == p.TrustEvidence })
		if at < 0 {
			at = len(out)
			out = append(out, podGroup{p.Class, p.TrustEvidence, 0})
		}
		out[at].pods++
	}
	return out
}

func unknownsToJSON(list []mesh.Unknown) []unknownJSON {
	out := []unknownJSON{}
	for _, u := range list {
		out = append(out, unknownJSON{u.Code, u.About, u.Reason})
	}
	return out
}

func ownersToJSON(list []mesh.Owner) []ownerJSON {
	out := []ownerJSON{}
	for _, o := range list {
		out = append(out, ownerJSON{string(o.Tool), o.Name, o.Active, o.Why})
	}
	return out
}

func anchorIDs(t *mesh.TrustSet) []string {
	if t == nil {
		return nil
	}
	out := []string{}
	for _, a := range t.Anchors {
		if id := a.AnchorID().String(); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// matrixRow is one anchor, and who trusts and presents it.
type matrixRow struct {
	cert  *bundle.Certificate // of twins the one that ends last
	cells []cellJSON          // one a cluster
}

// matrix puts anchors against clusters, those that end first on top.
func matrix(f *mesh.Fleet, now time.Time) []*matrixRow {
	rows := map[bundle.AnchorID]*matrixRow{}
	var order []*matrixRow
	at := func(cert *bundle.Certificate, n int) *cellJSON {
		r := rows[cert.AnchorID()]
		if r == nil {
			r = &matrixRow{cert: cert}
			for _, s := range f.Surveys {
				r.cells = append(r.cells, cellJSON{Cluster: s.Name})
			}
			rows[cert.AnchorID()] = r
			order = append(order, r)
		}
		if _, end := cert.Validity(); end.After(ends(r.cert)) {
			r.cert = cert
		}
		return &r.cells[n]
	}
	for n, s := range f.Surveys {
		each := func(t *mesh.TrustSet, do func(*cellJSON)) {
			if t == nil {
				return
			}
			for _, cert := range uniqueAnchors(t) {
				do(at(cert, n))
			}
		}
		for _, i := range s.Installations {
			for c := range i.Copies {
				each(i.Copies[c].Trust, func(cell *cellJSON) { cell.Copies++ })
			}
			for _, cert := range health.SigningAnchors(i, now) {
				at(cert, n).Signs = true
			}
		}
		for _, class := range s.Classes {
			each(class.Trust, func(cell *cellJSON) { cell.Peers += class.Peers })
		}
	}
	slices.SortStableFunc(order, func(a, b *matrixRow) int {
		return cmp.Or(ends(a.cert).Compare(ends(b.cert)), cmp.Compare(a.cert.Fingerprint().String(), b.cert.Fingerprint().String()))
	})
	return order
}

func ends(c *bundle.Certificate) time.Time {
	_, end := c.Validity()
	return end
}

func uniqueAnchors(t *mesh.TrustSet) (out []*bundle.Certificate) {
	for _, c := range t.Anchors {
		if !slices.ContainsFunc(out, func(o *bundle.Certificate) bool { return o.AnchorID() == c.AnchorID() }) {
			out = append(out, c)
		}
	}
	return out
}
