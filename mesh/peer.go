package mesh

import (
	"fmt"
	"time"
)

// Evidence is what stands behind a statement about a peer, best last.
type Evidence string

// The kinds of evidence.
const (
	// EvidenceNone: nothing; the statement is that it is unknown.
	EvidenceNone Evidence = ""
	// EvidenceInferred: the ConfigMap that the pod takes its anchors from was
	// last changed well before its container started, or never since it was made.
	EvidenceInferred Evidence = "inferred"
	// EvidenceSpec: a literal in the pod's spec, which cannot change.
	EvidenceSpec Evidence = "env-in-spec"
	// EvidenceAdmin: the running process said so on its admin port.
	EvidenceAdmin Evidence = "admin-endpoint"
	// EvidencePresented: the chain of a handshake.
	EvidencePresented Evidence = "presented-chain"
)

// Class is a set of peers that no verdict can tell apart.
type Class struct {
	Installation string // namespace of the control plane
	Release      string // of the proxies, as they are labelled

	// Trust is T. nil is unknown, and TrustWhy says why; then the peers of the
	// class need not have one trust set in common.
	Trust    *TrustSet
	TrustWhy string

	// Presented is P: the chain of one of the peers, whose leaf is the first to
	// end. Leaves differ, and nothing that a verdict rests on does. nil is
	// unknown, and PresentedWhy says why.
	Presented    *Presented
	PresentedWhy string

	Peers int // how many
	// Latent is how many workloads may make peers of this class without anyone
	// being asked: a template with a literal proxy.
	Latent int
}

// String returns the class for messages, not as a key.
func (c *Class) String() string {
	t := "anchors unknown: " + c.TrustWhy
	if c.Trust != nil {
		t = fmt.Sprintf("%d anchors (%.8s)", len(c.Trust.Anchors), c.Trust.ID)
	}
	return fmt.Sprintf("proxies %s of %s, %s, %d peers", c.Release, c.Installation, t, c.Peers)
}

// Peer is a pod with a proxy, or a workload outside of the cluster.
type Peer struct {
	Namespace, Name, UID string
	External             bool // an ExternalWorkload
	ServiceAccount       string
	Component            string // of the control plane: identity, destination, ...
	Node, IP             string
	HostNetwork          bool
	Phase                string
	Created              time.Time
	Deleting             bool

	// TLSName is the name that its certificate carries, "" if unknown.
	TLSName string
	// AdminPort is where its proxy answers questions about itself, 0 if unknown.
	AdminPort int
	// Proxy is the process that holds the anchors.
	Proxy Process
	// Identity is the process of linkerd-identity in this pod, nil elsewhere.
	Identity *IdentityProcess

	Class         *Class
	TrustEvidence Evidence
	// Presented is the chain that this very peer showed, its own leaf first; nil
	// where it was not asked or did not answer.
	Presented         *Presented
	PresentedEvidence Evidence
	Workload          *Workload // nil for none
}

// Process is one run of a container.
type Process struct {
	Image     string
	Native    bool // a sidecar among the init containers
	Running   bool
	Ready     bool
	Restarts  int
	StartedAt time.Time // by the node's clock; zero where it does not run
}

// IdentityProcess is a run of linkerd-identity and what it was told.
type IdentityProcess struct {
	Process
	Scheme                      string // "" where not given
	IssuanceLifetime, ClockSkew time.Duration

	// Roots is what it holds the issuer against: what it read when it started.
	// nil is unknown, and RootsWhy says why. They may be others than those
	// stored, and than those of its own pod's proxy.
	Roots         *TrustSet
	RootsWhy      string
	RootsEvidence Evidence
}

// Method is what it takes to give the pods of a workload a new proxy.
type Method string

// The methods, from the easiest to what nobody but its owner can do.
const (
	// RestartRolling: change the template's annotation; the controller does the rest.
	RestartRolling Method = "rolling"
	// RestartNextRun: a CronJob: the next run is new by itself.
	RestartNextRun Method = "next-run"
	// RestartWhenDone: a Job: its pods keep what they have until they end.
	RestartWhenDone Method = "when-done"
	// RestartUnpause: a paused Deployment: nothing happens until it is resumed.
	RestartUnpause Method = "unpause"
	// RestartPartition: a StatefulSet whose partition holds some pods back.
	RestartPartition Method = "partition"
	// RestartDelete: OnDelete, or a ReplicaSet or ReplicationController of its
	// own: each pod has to be deleted.
	RestartDelete Method = "delete-pods"
	// RestartRecreate: a bare pod: deleted it is gone, somebody has to make it again.
	RestartRecreate Method = "recreate"
	// RestartReinject: a proxy baked into the template: a restart brings back the
	// old anchors.
	RestartReinject Method = "reinject"
	// RestartForeign: owned by a kind that only its own controller understands.
	RestartForeign Method = "foreign"
	// RestartExternal: outside of the cluster.
	RestartExternal Method = "external"
	// RestartUnknown: the owner could not be seen.
	RestartUnknown Method = "unknown"
)

// Workload owns peers, or may come to.
type Workload struct {
	APIVersion, Kind     string
	Namespace, Name, UID string

	Method Method
	Why    string // for people: what stands in the way, "" for RestartRolling

	// Replicas is how many pods it is asked to have, -1 where it does not say.
	Replicas  int
	Component string // of the control plane
	Gateway   bool   // its pods carry other clusters' traffic

	Pods    []int    // indexes into Survey.Peers
	Literal []*Class // classes of the proxies baked into its template
}

// String returns "Deployment emojivoto/web".
func (w *Workload) String() string {
	return ObjectRef{Kind: w.Kind, Namespace: w.Namespace, Name: w.Name}.String()
}
