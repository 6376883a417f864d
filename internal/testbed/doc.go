// Package testbed runs real Kubernetes clusters on this machine for tests and
// the demo: etcd, API servers and controllers built from the Go module registry
// (package binaries), without containers, and as any user. A test says
//
//	bed := testbed.Start(t, 3)
//	east := bed.Cluster("east")
//	namespace, err := east.Namespace(ctx, "shop")
//	_, err = east.Apply(ctx, namespace, manifests)
//	err = east.RolledOut(ctx, "Deployment", namespace, "web")
//
// and has three clusters a few seconds later, each with an authority, RBAC,
// ServiceAccounts and an audit log of its own, and one kubeconfig with a context
// for each. The first run builds the programs, which takes minutes; the command
// cmd/tools does that ahead. One etcd holds them all. Packages whose tests can share a bed use
// Main and Shared; programs use Up. To have one to play with by hand, with a mesh
// in it, there are make testbed-up and make testbed-down (cmd/up).
//
// # What is real and what is not
//
// API servers and the controllers of kube-controller-manager are the real ones,
// so admission, apply, conflicts, watches, rollouts, Jobs, tokens and garbage
// collection are, too. Scheduler and kubelets are not: Kubelet stands in for
// them, in this process, and a PodRuntime plays what runs inside the pods. There
// are no Service addresses: a webhook is reached by URL, not by Service.
//
// # Making things go wrong
//
// Cluster.API and Cluster.Controllers are processes that can be frozen (Pause),
// killed and started again, with the same address and data. Cluster.Kubelet
// holds pods back, fails them, has them crash or terminate slowly, and restarts
// their containers in place. A Node's views lag behind the API by as much as a
// test wants. Cluster.ServiceAccount gives a client that may do only so much.
// Cluster.Calls tells what was asked of the API server, and by whom.
//
// Nothing here asks a test to sleep: whatever takes time can be waited for, or
// is set off by a call.
//
// # What is left behind
//
// Nothing. Stop, which Start sees to, ends the processes and removes the files.
// If the test's process dies before, even by SIGKILL, the kernel ends its
// children (on Linux), and the next bed removes the files. Beds of several
// processes run side by side: ports are reserved, pod addresses differ.
package testbed
