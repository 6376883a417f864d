package linkerdtest

import (
	"fmt"
	"time"
)

// World is a fleet of clusters within the process: no API server, but everything
// else that decides whether a mesh works. Its clock moves only when told to.
type World struct {
	Clock  *Fake
	Ledger *Ledger

	network  InMemory
	chains   *chainCache
	clusters []*Cluster
	log      func(string)
}

// NewWorld returns a world without clusters, at that moment.
func NewWorld(now time.Time) *World {
	clock := NewFake(now)
	return &World{Clock: clock, Ledger: NewLedger(clock), chains: newChainCache(), log: func(string) {}}
}

// Log has everything that the parts log go to f, such as t.Log.
func (w *World) Log(f func(line string)) { w.log = f }

// Options say how a cluster's Linkerd is installed. The zero value of everything
// but the certificates is what the chart's defaults make of it.
type Options struct {
	Release     Release
	Namespace   string // "linkerd"
	TrustDomain string // "cluster.local"
	// Roots is the text of ConfigMap linkerd-identity-trust-roots.
	Roots string
	// Issuer and IssuerKey are those of Secret linkerd-identity-issuer, with the
	// keys that Scheme wants.
	Issuer, IssuerKey string
	Scheme            string // SchemeLinkerd
	Lifetime          time.Duration
	Skew              time.Duration
	// Replicas is how many pods each of identity, destination and proxy-injector
	// has: 1, or 3 for high availability.
	Replicas int
	// Lag is how far kubelets lag behind the API, for files and for environments.
	Lag time.Duration
	// FailClosed is webhookFailurePolicy: Fail, as in high availability. Else pods
	// come back without a sidecar when no injector answers.
	FailClosed bool
}

func (o Options) withDefaults() Options {
	if o.Release == (Release{}) {
		o.Release = Latest
	}
	if o.Namespace == "" {
		o.Namespace = "linkerd"
	}
	if o.TrustDomain == "" {
		o.TrustDomain = "cluster.local"
	}
	if o.Scheme == "" {
		o.Scheme = SchemeLinkerd
	}
	if o.Lifetime == 0 {
		o.Lifetime = DefaultLifetime
	}
	if o.Skew == 0 {
		o.Skew = DefaultSkew
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	return o
}

// AddCluster installs Linkerd in a new cluster: identity first, then destination
// and proxy-injector. A control plane that does not start shows in Pod.Err.
func (w *World) AddCluster(name string, o Options) *Cluster {
	c := &Cluster{Name: name, world: w, options: o.withDefaults(), number: len(w.clusters) + 1}
	w.clusters = append(w.clusters, c)
	c.roots, c.issuer, c.config = NewObject(w.Clock), NewObject(w.Clock), NewObject(w.Clock)
	c.lag = c.options.Lag
	c.WriteRoots(o.Roots)
	c.WriteIssuer(o.Issuer, o.IssuerKey)
	c.config.Write(map[string][]byte{"values": []byte(fmt.Sprintf(
		"clusterDomain: cluster.local\nidentityTrustDomain: %s\nlinkerdVersion: %q\n", c.options.TrustDomain, c.options.Release.String()))})
	for _, component := range []string{Identities, Destinations, Injectors} {
		c.Deploy(c.options.Namespace, component, c.options.Replicas)
	}
	return c
}

// Cluster returns the cluster of that name, or nil.
func (w *World) Cluster(name string) *Cluster {
	for _, c := range w.clusters {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Link links two clusters, so that their peers talk to each other.
func (w *World) Link(a, b string) { w.Ledger.Link(a, b) }

// The control plane's Deployments.
const (
	Identities   = "linkerd-identity"
	Destinations = "linkerd-destination"
	Injectors    = "linkerd-proxy-injector"
)
