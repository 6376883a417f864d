package mesh

import (
	"time"

	"k8s.io/client-go/rest"
)

// Link is a connection from the cluster it stands in to another one: its pods
// call services there.
type Link struct {
	Object ObjectRef
	// Version is the version of the Link resource that it was read in, "" for
	// the annotated credentials of Linkerd 2.8, which had no such resource.
	Version string

	Target, TargetDomain string
	TargetNamespace      string // of the control plane there

	// GatewayAddresses, port and identity are empty for a flat network.
	GatewayAddresses []string
	GatewayPort      string
	GatewayIdentity  string

	// Mirrors is whether services are mirrored through the gateway, Discovers
	// whether pods are called directly, Federates whether services are joined.
	Mirrors, Discovers, Federates bool

	CredentialsSecret string
	Credentials       []Credential
	Deleting          bool
	Unknowns          []Unknown
}

// Direct reports whether pods of both clusters meet without a gateway between.
func (l *Link) Direct() bool { return l.Discovers || l.Federates }

// Credential is what a Link's Secret holds.
type Credential struct {
	Secret ObjectRef
	// Refused is why the credential is not used, nil where it may be.
	Refused error
	// Config connects with it; nil where it is refused. Its token is in it.
	Config *rest.Config

	Server string
	// TokenSecret and ServiceAccount say whose token it is, as the token itself
	// claims: that Secret and account are in the target cluster.
	TokenNamespace, TokenSecret, ServiceAccount string
	TokenExpires                                time.Time // zero: never, or unknown

	// Target is who answers with it, zero before anyone asked.
	Target Identity
	// TargetErr is why that could not be learned.
	TargetErr error
}

// Gateway is a Service that carries other clusters' traffic into this one.
type Gateway struct {
	Object    ObjectRef
	Identity  string // the name in its certificate
	Addresses []string
	Port      string

	// Presented is the chain that it shows to who dials it, nil where nobody
	// did, or none came; PresentedWhy then says why.
	Presented    *Presented
	PresentedWhy string
}

// RemoteAccess is a token in this cluster that another cluster's Link uses, or
// may.
type RemoteAccess struct {
	Secret         ObjectRef
	ServiceAccount string
	// LastUsed is the day the API server last saw it, zero where it does not say.
	LastUsed time.Time
}

// Target returns the survey of the cluster that a Link leads to, nil where it
// is not known to be in the fleet.
func (f *Fleet) Target(l *Link) *Survey {
	for _, c := range l.Credentials {
		if s := f.Member(c.Target); s != nil {
			return s
		}
	}
	return nil
}

// Unexplained returns, for one member, the remote-access tokens that no Link of
// the fleet is seen to use: each may belong to a cluster outside of the fleet
// that trusts, and is trusted by, this one. A token that the server says was
// never used, on a server that keeps note of use, is left to the caller, who
// sees LastUsed.
func (f *Fleet) Unexplained(s *Survey) (out []RemoteAccess) {
	for _, r := range s.RemoteAccess {
		if !f.explains(s, r) {
			out = append(out, r)
		}
	}
	return out
}

// UnexplainedGateways returns the gateways of a member that no Link of the fleet
// leads to, by the name in their certificates: either nobody uses them, or a
// cluster outside of the fleet does.
func (f *Fleet) UnexplainedGateways(s *Survey) (out []Gateway) {
	used := map[string]bool{}
	for _, other := range f.Surveys {
		for _, l := range other.Links {
			if f.Target(l) == s {
				used[l.GatewayIdentity] = true
			}
		}
	}
	for _, g := range s.Gateways {
		if !used[g.Identity] {
			out = append(out, g)
		}
	}
	return out
}

func (f *Fleet) explains(s *Survey, r RemoteAccess) bool {
	for _, other := range f.Surveys {
		for _, l := range other.Links {
			for _, c := range l.Credentials {
				if c.Target.Same(s.Identity) && c.TokenNamespace == r.Secret.Namespace && c.TokenSecret == r.Secret.Name {
					return true
				}
			}
		}
	}
	return false
}
