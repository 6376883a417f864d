// Package mesh is where a service mesh keeps what it trusts and what signs, and
// who uses both: the clusters, and the data model of a survey over them.
//
// # The model
//
// A [Fleet] is a set of clusters that are judged together. Of each there is a
// [Survey], made by the adapter of a mesh (package mesh/linkerd):
//
//	Survey            one cluster, at one time
//	  Installations   a control plane: release, layout, trust domain,
//	                  every Copy of the anchors and what it counts for, the Issuer
//	  Peers           pods with a proxy, and workloads outside of the cluster
//	  Classes         peers that cannot be told apart: release, trust set T,
//	                  presented chain P; also what may yet come into being
//	  Workloads       who owns the peers, and what it takes to restart them
//	  Links           to other clusters, with their credentials
//	  Unknowns        what could not be seen, and why
//
// Verdicts are reached over classes, so ten thousand pods cost as much as ten.
//
// # What cannot be seen
//
// Nothing that could not be read is left out. Where a fact is missing its place
// is empty (a nil [TrustSet], say) and the reason stands next to it; what
// concerns the survey as a whole is an [Unknown]. Whoever draws conclusions has
// to treat both as unsafe: a pod whose anchors are unknown may trust nothing.
//
// # Clusters
//
// A cluster is the UID of its namespace kube-system, never the name of a
// context: two contexts of one cluster are one member, and a cluster that was
// torn down and made again under the old name is another. Links are matched to
// members by the UID of the Service default/kubernetes, which even the stock
// credentials of a Link may read.
//
// # The client
//
// [Client] speaks to one API server. It is small on purpose: the typed clientset
// of client-go registers every type of Kubernetes before main begins, which on
// the machine this was measured on costs each run 5 ms (7.8 ms to start and end
// a program that imports it, 2.8 ms with the parts used here, 1.8 ms without
// any) and 16 MB of binary. This client links client-go's transport and
// kubeconfig handling only, reads big lists as protobuf while they arrive, page
// by page, and small objects as JSON. It follows no redirect, bounds every
// answer in size and time, and waits when the server asks it to.
//
// The package prints nothing, reads no clock and keeps no state of its own.
package mesh
