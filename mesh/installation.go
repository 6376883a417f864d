package mesh

import (
	"time"

	"github.com/windlass-mesh/windlass/bundle"
)

// Installation is one control plane.
type Installation struct {
	Namespace string
	Release   string // as its configuration says: stable-2.14.10, edge-26.8.3
	Layout    string // global, values-nested, values-flat

	TrustDomain, ClusterDomain string
	Scheme                     string // of the issuer Secret: linkerd.io/tls or kubernetes.io/tls
	ExternalCA                 bool   // the trust roots are made by something else than the chart
	IdentityDisabled           bool

	// IssuanceLifetime is how long leaves live, ClockSkew by how much longer, at
	// both ends: as configured, and where identity's processes are seen to run
	// with other settings, the longest of them. 0 is unknown.
	IssuanceLifetime, ClockSkew time.Duration

	Copies []Copy
	Issuer *Issuer // nil where it could not be read; Unknowns says why

	// Certificates are those of cert-manager that make the issuer or an anchor.
	Certificates []ManagedCertificate

	// Installer is who installed the control plane, and will upgrade it.
	Installer Owner

	Unknowns []Unknown
}

// CopiesFor returns those that count for a use, in the order found.
func (i *Installation) CopiesFor(u Use) (out []*Copy) {
	for n := range i.Copies {
		if i.Copies[n].For(u) {
			out = append(out, &i.Copies[n])
		}
	}
	return out
}

// Use is what a copy of the anchors counts for.
type Use string

// The uses.
const (
	// NewPods is what the injector gives to the pods that it makes.
	NewPods Use = "new-pods"
	// IdentityRoots is what linkerd-identity holds the issuer against, read once
	// when it starts.
	IdentityRoots Use = "identity"
	// ControlPlane is what the proxies of the control plane trust.
	ControlPlane Use = "control-plane"
	// NextUpgrade is what the next upgrade writes over the others.
	NextUpgrade Use = "next-upgrade"
	// ManualInjection is what `linkerd inject --manual` bakes into manifests.
	ManualInjection Use = "manual-injection"
)

// Copy is one place that holds the anchors of a control plane.
type Copy struct {
	Object ObjectRef
	Store  string // the kind of place, as package layout calls it
	Field  string // for people
	Uses   []Use
	// Container is the container of a workload that the copy belongs to.
	Container string

	// Trust is what its reader takes from it, nil where nothing is stored.
	Trust *TrustSet
	// ChangedAt is the latest moment at which the text can have been changed, by
	// the API server's clock; zero is unknown.
	ChangedAt time.Time
	Owners    []Owner
}

// For reports whether the copy counts for a use.
func (c *Copy) For(u Use) bool {
	for _, x := range c.Uses {
		if x == u {
			return true
		}
	}
	return false
}

// Issuer is the identity issuer as stored.
type Issuer struct {
	Object  ObjectRef
	Scheme  string
	CertKey string // crt.pem or tls.crt

	PEM   string                // the chain as stored
	Chain []*bundle.Certificate // as linkerd-identity reads it, the issuer first
	Err   error                 // why linkerd-identity would not take it
	CAPEM string                // ca.crt: one root, as cert-manager believes
	// HasKey is whether the private key is there. The key itself is never kept.
	HasKey      bool
	BothSchemes bool

	ChangedAt time.Time // as for Copy
	Owners    []Owner
}

// Tool is what owns an object.
type Tool string

// The owners that are told apart.
const (
	ToolCLI          Tool = "linkerd-cli"
	ToolHelm         Tool = "helm"
	ToolArgoCD       Tool = "argo-cd"
	ToolFlux         Tool = "flux"
	ToolCertManager  Tool = "cert-manager"
	ToolTrustManager Tool = "trust-manager"
	ToolOther        Tool = "other" // a controlling owner that is none of these
)

// Owner is who wrote an object, and may write it again.
type Owner struct {
	Tool Tool
	// Active owners watch the object and put back what they want. A passive one
	// writes when a person runs it.
	Active bool
	Name   string // its own name: a Helm release, a Bundle, a Certificate, an Application
	Why    string // the label, annotation, reference or field manager that shows it
}

// ActiveOwner returns an owner that would revert a change, nil for none.
func ActiveOwner(owners []Owner) *Owner {
	for i := range owners {
		if owners[i].Active {
			return &owners[i]
		}
	}
	return nil
}
