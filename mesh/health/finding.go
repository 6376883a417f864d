package health

import (
	"cmp"
	"slices"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
)

// The codes of findings, beside those of package bundle for what is wrong with a
// certificate or a text, and those of package mesh for what could not be seen.
// docs/health.md says of each what it means and what to do.
const (
	CodeIssuerUntrusted    bundle.Code = "issuer-untrusted"
	CodeIssuerUnreadable   bundle.Code = "issuer-unreadable"
	CodeIssuerWithoutKey   bundle.Code = "issuer-without-key"
	CodeIssuerOutlives     bundle.Code = "issuer-outlives-anchor"
	CodePeerUntrusted      bundle.Code = "peer-untrusted"
	CodeChainUnseen        bundle.Code = "chain-unseen"
	CodeTrustUnknown       bundle.Code = "trust-unknown"
	CodeIdentityBehind     bundle.Code = "identity-behind"
	CodeInjectorBehind     bundle.Code = "injector-behind"
	CodeRestartNeeded      bundle.Code = "restart-needed"
	CodeExpiredTrusted     bundle.Code = "expired-but-trusted"
	CodeUnattendedRotation bundle.Code = "unattended-rotation"
	CodeNoAnchors          bundle.Code = "no-anchors"
	CodeClusterTwice       bundle.Code = "cluster-twice"
	CodeLinkBroken         bundle.Code = "link-broken"
	CodeLinkUnknown        bundle.Code = "link-unknown"
	CodeLinkExpiring       bundle.Code = "link-expiring"
	CodeLinkOnlyExpired    bundle.Code = "link-without-valid-anchor"
	CodeLinkCredentials    bundle.Code = "link-credentials"
)

// Codes lists the codes above, for whoever documents or filters them.
func Codes() []bundle.Code {
	return []bundle.Code{
		CodeIssuerUntrusted, CodeIssuerUnreadable, CodeIssuerWithoutKey, CodeIssuerOutlives, CodePeerUntrusted, CodeChainUnseen,
		CodeTrustUnknown, CodeIdentityBehind, CodeInjectorBehind, CodeRestartNeeded, CodeExpiredTrusted, CodeUnattendedRotation,
		CodeNoAnchors, CodeClusterTwice, CodeLinkBroken, CodeLinkUnknown, CodeLinkExpiring, CodeLinkOnlyExpired, CodeLinkCredentials,
	}
}

// Finding is a finding of a cluster.
type Finding struct {
	bundle.Finding
	Cluster string `json:"cluster,omitempty"`
}

// Ending is something in use that ends.
type Ending struct {
	Cluster, What string
	At            time.Time
	// Renewed means that an active owner renews it, and is not late.
	Renewed bool
}

// Report is what a check found.
type Report struct {
	Findings []Finding
	Links    []LinkReport
	// Endings are the ends of all that is in use, earliest first.
	Endings []Ending
}

// Worst returns the worst level among the findings, "" when there are none.
func (r *Report) Worst() bundle.Level {
	all := make([]bundle.Finding, len(r.Findings))
	for i, f := range r.Findings {
		all[i] = f.Finding
	}
	return bundle.Worst(all)
}

// EndsWithin returns the first thing in use that ends within a time and that
// nobody renews by himself, nil for none.
func (r *Report) EndsWithin(at time.Time, d time.Duration) *Ending {
	for i := range r.Endings {
		if e := &r.Endings[i]; !e.Renewed && e.At.Before(at.Add(d)) {
			return e
		}
	}
	return nil
}

var severity = map[bundle.Level]int{bundle.LevelError: 0, bundle.LevelWarning: 1, bundle.LevelInfo: 2}

func (r *Report) sort(f *mesh.Fleet) {
	place := map[string]int{}
	for i, s := range f.Surveys {
		place[s.Name] = i + 1
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(place[a.Cluster], place[b.Cluster]), cmp.Compare(severity[a.Level], severity[b.Level]))
	})
	slices.SortStableFunc(r.Endings, func(a, b Ending) int { return a.At.Compare(b.At) })
}
