package testbed

import (
	"context"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// PodRuntime plays what runs inside the pods of a cluster. The kubelet stand-in
// calls it as a kubelet calls a container runtime: a pod, then its containers in
// their order, native sidecars among them.
//
// Calls for one pod come one after another; calls for several pods come at the
// same time. They should return soon: what takes longer goes on in a goroutine
// that ends with the context it was given. An error is shown in the pod's status
// and the call is made again later. Embed AlwaysReady to play a part only.
type PodRuntime interface {
	// StartPod begins a pod: its address is settled and its volumes are mounted.
	// It may set another address in pod.IP. The context is done when the pod
	// stops.
	StartPod(ctx context.Context, pod *Pod) error
	// StartContainer begins one run of a container. It is ready when the runtime
	// says so by SetReady, now or later, and ends by Exit. The context is done
	// when the run is over, for whatever reason. A container with a startup probe
	// or a postStart hook holds back those after it until it was ready once.
	StartContainer(ctx context.Context, run *Container) error
	// StopPod ends a pod; the contexts of its containers are done already. It is
	// called once for each pod that was started.
	StopPod(ctx context.Context, pod *Pod)
	// Dial connects to a port of a pod, for port-forward.
	Dial(ctx context.Context, pod *Pod, port int) (net.Conn, error)
}

// AlwaysReady is the runtime of pods whose insides do not matter: containers
// are ready at once, and those meant to end do so at once with success.
type AlwaysReady struct{}

// StartPod does nothing.
func (AlwaysReady) StartPod(context.Context, *Pod) error { return nil }

// StartContainer makes the container ready, or done where it is to end.
func (AlwaysReady) StartContainer(_ context.Context, run *Container) error {
	if run.Ends() {
		run.Exit(0)
	} else {
		run.SetReady(true)
	}
	return nil
}

// StopPod does nothing.
func (AlwaysReady) StopPod(context.Context, *Pod) {}

// Dial connects to the port at the pod's loopback address.
func (AlwaysReady) Dial(ctx context.Context, pod *Pod, port int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort(pod.Loopback, strconv.Itoa(port)))
}

// Pod is a pod on a node, from its start to its end.
type Pod struct {
	// Object is the pod as it was when it started; not to be changed.
	Object *corev1.Pod
	// Cluster is where it runs.
	Cluster *Cluster
	// Node is what it runs on.
	Node *Node
	// IP is its address in the cluster's eyes.
	IP string
	// Loopback is an address of this machine, 127.x.y.z, which no other pod of
	// any bed has: what plays the pod can listen there on the pod's own ports.
	Loopback string
}

// Container is one run of a container: a restart makes a new one.
type Container struct {
	Pod *Pod
	// Spec is the container as the pod has it.
	Spec corev1.Container
	// Init is true for an init container, native sidecars among them.
	Init bool
	// Restarts counts the runs before this one.
	Restarts int32
	// Env is the environment with every reference resolved as the node knew it
	// when the run began. It does not change, as in life.
	Env map[string]string
	// Args are the arguments with references to the environment expanded.
	Args []string

	kubelet *Kubelet
	slot    *slot
	end     context.CancelFunc
	frozen  map[string]map[string][]byte // by mount path: subPath mounts never change
	changed chan struct{}
}

// Sidecar is true for a native sidecar, an init container that keeps running.
func (c *Container) Sidecar() bool { return isSidecar(&c.Spec, c.Init) }

// Ends is true for a container that is meant to end: an init container that is
// no sidecar, or one of a pod that is not restarted for ever, such as a Job's.
func (c *Container) Ends() bool {
	if c.Init {
		return !c.Sidecar()
	}
	return c.Pod.Object.Spec.RestartPolicy != corev1.RestartPolicyAlways
}

// SetReady says whether the run is ready. It does nothing once the run is over.
func (c *Container) SetReady(ready bool) { c.kubelet.setReady(c, ready) }

// Exit says that the run ended by itself. The kubelet then does what the pod's
// restart policy wants.
func (c *Container) Exit(code int) { c.kubelet.exit(c, int32(code), "") }

// VolumesChanged receives when the node has put new content into the volumes of
// the pod, as a file watch in the container would. Content that changes several
// times before it is looked at is told once.
func (c *Container) VolumesChanged() <-chan struct{} { return c.changed }
