package linkerd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/mesh"
)

const (
	linkGroup = "multicluster.linkerd.io"

	// typeCredentials is the type of the Secrets that hold a Link's kubeconfig,
	// in every release since 2.8 (pkg/k8s/labels.go MirrorSecretType).
	typeCredentials = "mirror.linkerd.io/remote-kubeconfig"
	credentialsKey  = "kubeconfig"

	// labelCluster marks the copies of 2.14 and later in the control plane's
	// namespace, which linkerd-destination reads.
	labelCluster = "multicluster.linkerd.io/cluster-name"

	// Up to 2.8 such annotations on the Secret stood for a Link.
	annotationCluster = "mirror.linkerd.io/cluster-name"
	annotationDomain  = "mirror.linkerd.io/remote-cluster-domain"
	annotationPlane   = "mirror.linkerd.io/remote-cluster-l5d-ns"

	typeToken         = "kubernetes.io/service-account-token"
	annotationAccount = "kubernetes.io/service-account.name"
	labelLastUsed     = "kubernetes.io/legacy-token-last-used"
)

// served returns the newest of the versions given that the cluster serves.
func (s *survey) served(group, resource string, versions ...string) (mesh.Resource, error) {
	var doc struct {
		Versions []struct {
			Version string `json:"version"`
		} `json:"versions"`
	}
	if err := s.c.GetPath(s.ctx, "/apis/"+group, &doc); err != nil {
		if errors.Is(err, mesh.ErrNotFound) {
			return mesh.Resource{}, fmt.Errorf("%s: %w", group, mesh.ErrNoCRD)
		}
		return mesh.Resource{}, err
	}
	for _, want := range versions {
		for _, v := range doc.Versions {
			if v.Version == want {
				return mesh.Resource{Group: group, Version: want, Name: resource}, nil
			}
		}
	}
	return mesh.Resource{}, fmt.Errorf("%s: none of its versions is known here: %w", group, mesh.ErrNoCRD)
}

// link is a Link of any version since v1alpha1; what a version lacks is empty.
type link struct {
	mesh.Object
	Spec struct {
		TargetClusterName             string    `json:"targetClusterName"`
		TargetClusterDomain           string    `json:"targetClusterDomain"`
		TargetClusterLinkerdNamespace string    `json:"targetClusterLinkerdNamespace"`
		ClusterCredentialsSecret      string    `json:"clusterCredentialsSecret"`
		GatewayAddress                string    `json:"gatewayAddress"`
		GatewayPort                   string    `json:"gatewayPort"`
		GatewayIdentity               string    `json:"gatewayIdentity"`
		Selector                      *selector `json:"selector"`
		RemoteDiscoverySelector       *selector `json:"remoteDiscoverySelector"`
		FederatedServiceSelector      *selector `json:"federatedServiceSelector"`
	} `json:"spec"`
}

type selector struct {
	MatchLabels      map[string]string `json:"matchLabels"`
	MatchExpressions []any             `json:"matchExpressions"`
}

// selects reports whether a selector can select anything: controllers take an
// absent or empty one for nothing.
func (s *selector) selects() bool {
	return s != nil && (len(s.MatchLabels) > 0 || len(s.MatchExpressions) > 0)
}

// readLinks reads Links and the Secrets with their credentials.
func (s *survey) readLinks() {
	var found []link
	r, err := s.served(linkGroup, "links", "v1alpha3", "v1alpha2", "v1alpha1")
	switch {
	case errors.Is(err, mesh.ErrNoCRD):
		err = nil // up to 2.8 there is none, nor without the extension
	case err == nil:
		err = s.c.ListJSON(s.ctx, r, mesh.ListOptions{}, func() { found = nil }, decode(&found))
	}
	s.unknown("Links", err)
	secrets, listed := s.credentialSecrets()
	for _, l := range found {
		s.out.Links = append(s.out.Links, s.link(l, r.Version, secrets, listed))
	}
	s.legacyLinks(secrets)
}

// credentialSecrets reads all credentials with one request. listed is false
// where that is not permitted: then each is asked for by name.
func (s *survey) credentialSecrets() (found []secret, listed bool) {
	err := s.c.ListJSON(s.ctx, mesh.Secrets, mesh.ListOptions{Fields: "type=" + typeCredentials}, func() { found = nil }, decode(&found))
	if errors.Is(err, mesh.ErrForbidden) {
		return nil, false
	}
	return found, !s.unknown("credentials of Links", err)
}

func (s *survey) link(l link, version string, secrets []secret, listed bool) *mesh.Link {
	spec := l.Spec
	out := &mesh.Link{
		Object: l.Metadata.Ref("Link"), Version: version, Target: spec.TargetClusterName, TargetDomain: spec.TargetClusterDomain,
		TargetNamespace: spec.TargetClusterLinkerdNamespace, GatewayPort: spec.GatewayPort, GatewayIdentity: spec.GatewayIdentity,
		Mirrors: spec.Selector.selects(), Discovers: spec.RemoteDiscoverySelector.selects(), Federates: spec.FederatedServiceSelector.selects(),
		CredentialsSecret: spec.ClusterCredentialsSecret, Deleting: l.Metadata.DeletionTimestamp != nil,
	}
	for a := range strings.SplitSeq(spec.GatewayAddress, ",") {
		if a = strings.TrimSpace(a); a != "" {
			out.GatewayAddresses = append(out.GatewayAddresses, a)
		}
	}
	if version == "v1alpha1" && spec.Selector == nil && len(out.GatewayAddresses) > 0 {
		out.Mirrors = true // 2.9: what is mirrored stood elsewhere
	}
	if spec.ClusterCredentialsSecret == "" {
		out.Unknowns = append(out.Unknowns, mesh.Unknown{Code: mesh.CodeCredentials, About: "credentials", Reason: "the Link names no Secret"})
		return out
	}
	// Its own namespace's copy is what the service mirror uses; that of the
	// control plane's namespace is what linkerd-destination uses.
	namespaces := []string{l.Metadata.Namespace}
	for _, i := range s.out.Installations {
		if !slices.Contains(namespaces, i.Namespace) {
			namespaces = append(namespaces, i.Namespace)
		}
	}
	for n, ns := range namespaces {
		sec, err := s.secretOf(ns, spec.ClusterCredentialsSecret, secrets, listed)
		if n > 0 && errors.Is(err, mesh.ErrNotFound) {
			continue // only 2.14 and later have a copy there
		}
		if err != nil {
			out.Unknowns = append(out.Unknowns, mesh.UnknownFrom("credentials Secret "+ns+"/"+spec.ClusterCredentialsSecret, err))
			continue
		}
		out.Credentials = append(out.Credentials, s.credential(*sec))
	}
	return out
}

func (s *survey) secretOf(namespace, name string, secrets []secret, listed bool) (*secret, error) {
	for i := range secrets {
		if m := secrets[i].Metadata; m.Namespace == namespace && m.Name == name {
			return &secrets[i], nil
		}
	}
	// A Secret of another type is taken too: Linkerd's controllers do not look.
	var sec secret
	if err := s.c.Get(s.ctx, mesh.Secrets, namespace, name, &sec); err != nil {
		return nil, err
	}
	return &sec, nil
}

func (s *survey) credential(sec secret) mesh.Credential {
	o := s.opts.Credentials
	if s.out.Server != "" {
		o.OwnServers = append(slices.Clone(o.OwnServers), s.out.Server)
	}
	c := mesh.Credential{Secret: sec.Metadata.Ref("Secret")}
	text, ok := sec.Data[credentialsKey]
	if !ok {
		c.Refused = fmt.Errorf("%w: the Secret has no key %s", ErrCredential, credentialsKey)
		return c
	}
	parsed, err := ParseCredential(text, o)
	c.Config, c.Server, c.Refused = parsed.Config, parsed.Server, err
	if parsed.Config != nil {
		c.TokenNamespace, c.TokenSecret, c.ServiceAccount, c.TokenExpires = claimsOf(parsed.Config.BearerToken)
	}
	return c
}

// legacyLinks makes Links of the annotated Secrets that 2.8 used, and notes
// credentials that no Link uses.
func (s *survey) legacyLinks(secrets []secret) {
	used := map[string]bool{}
	for _, l := range s.out.Links {
		for _, c := range l.Credentials {
			used[c.Secret.UID] = true
		}
	}
	for _, sec := range secrets {
		m := sec.Metadata
		name := m.Annotations[annotationCluster]
		if name == "" {
			name = m.Labels[annotationCluster]
		}
		switch {
		case used[m.UID]:
		case name != "":
			s.out.Links = append(s.out.Links, &mesh.Link{
				Object: m.Ref("Secret"), Target: name, TargetDomain: m.Annotations[annotationDomain], TargetNamespace: m.Annotations[annotationPlane],
				Mirrors: true, CredentialsSecret: m.Name, Credentials: []mesh.Credential{s.credential(sec)},
				Unknowns: []mesh.Unknown{{Code: mesh.CodeNotObserved, About: "gateway", Reason: "2.8 keeps its address with each mirrored service"}},
			})
		default:
			about := m.Labels[labelCluster]
			if about == "" {
				about = "an unknown cluster"
			}
			s.out.Know(mesh.Unknown{Code: mesh.CodeUnexplained, About: "Secret " + m.Namespace + "/" + m.Name,
				Reason: "credentials for " + about + " that no Link uses"})
		}
	}
}

// readGateways reads what lets other clusters in: gateways, and tokens that
// their Links may use.
func (s *survey) readGateways() {
	type service struct {
		mesh.Object
		Spec struct {
			ExternalIPs []string `json:"externalIPs"`
			ClusterIP   string   `json:"clusterIP"`
			Ports       []struct {
				Name string `json:"name"`
				Port int    `json:"port"`
			} `json:"ports"`
		} `json:"spec"`
		Status struct {
			LoadBalancer struct {
				Ingress []struct {
					IP       string `json:"ip"`
					Hostname string `json:"hostname"`
				} `json:"ingress"`
			} `json:"loadBalancer"`
		} `json:"status"`
	}
	var services []service
	err := s.c.ListJSON(s.ctx, mesh.Services, mesh.ListOptions{Labels: labelExtension + "=multicluster"}, func() { services = nil }, decode(&services))
	s.unknown("gateways", err)
	for _, svc := range services {
		identity := svc.Metadata.Annotations["mirror.linkerd.io/gateway-identity"]
		if identity == "" {
			continue
		}
		g := mesh.Gateway{Object: svc.Metadata.Ref("Service"), Identity: identity}
		for _, i := range svc.Status.LoadBalancer.Ingress {
			g.Addresses = append(g.Addresses, i.IP+i.Hostname)
		}
		g.Addresses = append(g.Addresses, svc.Spec.ExternalIPs...)
		for _, p := range svc.Spec.Ports {
			if p.Name == "mc-gateway" {
				g.Port = fmt.Sprint(p.Port)
			}
		}
		s.out.Gateways = append(s.out.Gateways, g)
	}
	s.readTokens()
}

// readTokens reads the long-lived tokens of remote-access accounts. Only their
// metadata is asked for: the tokens stay where they are.
func (s *survey) readTokens() {
	var accounts, tokens []mesh.Object
	err := s.c.ListJSON(s.ctx, mesh.ServiceAccounts, mesh.ListOptions{Labels: labelExtension + "=multicluster", MetadataOnly: true}, func() { accounts = nil }, decode(&accounts))
	if s.unknown("accounts for other clusters", err) {
		return
	}
	remote := map[string]bool{}
	for _, a := range accounts {
		// Controllers of this cluster's own Links carry the label as well.
		if n := a.Metadata.Name; strings.Contains(n, "remote-access") || n == "linkerd-service-mirror" {
			remote[a.Metadata.Namespace+"/"+n] = true
		}
	}
	err = s.c.ListJSON(s.ctx, mesh.Secrets, mesh.ListOptions{Fields: "type=" + typeToken, MetadataOnly: true}, func() { tokens = nil }, decode(&tokens))
	if s.unknown("tokens of other clusters", err) {
		return
	}
	for _, t := range tokens {
		account := t.Metadata.Annotations[annotationAccount]
		if !remote[t.Metadata.Namespace+"/"+account] && !strings.Contains(account, "service-mirror-remote-access") {
			continue
		}
		used, _ := time.Parse(time.DateOnly, t.Metadata.Labels[labelLastUsed])
		s.out.RemoteAccess = append(s.out.RemoteAccess, mesh.RemoteAccess{Secret: t.Metadata.Ref("Secret"), ServiceAccount: account, LastUsed: used})
	}
}

// Probe asks the API server behind each credential of a Link who it is, so that
// the Link can be matched to a member of the fleet. What it learns, or why it
// did not, is kept in the credentials. The stock permissions of a Link suffice.
func Probe(ctx context.Context, l *mesh.Link, opts mesh.Options) {
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	opts.MaxBytes, opts.Attempts = probeBytes, 1
	for i := range l.Credentials {
		c := &l.Credentials[i]
		if c.Config == nil {
			continue
		}
		client, err := mesh.NewClient(c.Config, opts)
		if err != nil {
			c.TargetErr = err
			continue
		}
		var service mesh.Object
		if err := client.Get(ctx, mesh.Services, "default", "kubernetes", &service); err != nil {
			c.TargetErr = err
		} else {
			c.Target = mesh.Identity{ServiceUID: service.Metadata.UID}
		}
		client.CloseIdle()
	}
}

// probeBytes bounds the answer of a server that credentials lead to.
const probeBytes = 1 << 20
