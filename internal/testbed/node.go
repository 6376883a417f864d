package testbed

import (
	"context"
	"fmt"
	"net/http"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/windlass-mesh/windlass/internal/testbed/binaries"
)

// nodeIP is where the API server finds the kubelets; each has its own port.
const nodeIP = "127.0.0.1"

var (
	everything   = labels.Everything()
	nodeCapacity = corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourcePods:             resource.MustParse("10000"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
	}
)

// Node is a node of a cluster.
type Node struct {
	Name string
	// Env is how the node sees the ConfigMaps and Secrets that the environment
	// of its containers refers to, and Volumes those that are mounted. A kubelet
	// has one cache for both, but brings volumes up to date more slowly.
	Env, Volumes *NodeView

	labels  map[string]string
	kubelet *Kubelet
	server  *http.Server
}

func (k *Kubelet) addNode(ctx, life context.Context, ca *authority, name string) (*Node, error) {
	n := &Node{Name: name, kubelet: k, labels: map[string]string{
		corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: runtime.GOARCH,
	}}
	n.Env = newNodeView(k.client, k.retryStart)
	n.Volumes = newNodeView(k.client, k.volumesChanged)
	port, err := n.serve(life, ca)
	if err != nil {
		return nil, fmt.Errorf("serve node %s: %w", name, err)
	}
	now := k.timestamp()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	_, err = k.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: n.labels},
		Status: corev1.NodeStatus{
			Capacity: nodeCapacity, Allocatable: nodeCapacity,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: nodeIP}, {Type: corev1.NodeHostName, Address: name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: binaries.KubernetesVersion, OperatingSystem: "linux", Architecture: runtime.GOARCH,
				ContainerRuntimeVersion: "testbed://1",
			},
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
				condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
				condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		n.close()
		return nil, fmt.Errorf("register node %s: %w", name, err)
	}
	return n, nil
}

// Nodes are the nodes of the cluster.
func (k *Kubelet) Nodes() []*Node { return k.nodes }

func (k *Kubelet) node(name string) *Node {
	for _, n := range k.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// choose finds a node for a pod: the one its affinity names, as with a
// DaemonSet's pods, else those its selector admits in turn.
func (k *Kubelet) choose(pod *corev1.Pod) *Node {
	var fit []*Node
	for _, n := range k.nodes {
		if labels.SelectorFromSet(pod.Spec.NodeSelector).Matches(labels.Set(n.labels)) && named(pod, n.Name) {
			fit = append(fit, n)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bound++
	return fit[k.bound%len(fit)]
}

// named is false where the pod's required affinity is for nodes of other names.
func named(pod *corev1.Pod, node string) bool {
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	some := false
	for _, term := range a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, f := range term.MatchFields {
			if f.Key != metav1.ObjectNameField {
				continue
			}
			some = true
			for _, v := range f.Values {
				if v == node {
					return true
				}
			}
		}
	}
	return !some
}

// use and unuse keep which ConfigMaps and Secrets the pods of the node need.
func (n *Node) use(p *Pod) {
	env, volumes := references(p.Object)
	n.Env.use(p.Object.UID, env)
	n.Volumes.use(p.Object.UID, volumes)
}

func (n *Node) unuse(p *Pod) {
	n.Env.unuse(p.Object.UID)
	n.Volumes.unuse(p.Object.UID)
}

// exists is true when the cluster has the object, as far as is known without
// asking.
func (n *Node) exists(key objectKey) bool {
	_, ok, err := n.kubelet.objects[key.kind].GetByKey(key.namespace + "/" + key.name)
	return ok && err == nil
}

// hosts gives out the last two parts of addresses: 10.number.x.y in the
// cluster's eyes is 127.number.x.y on the machine. Kubernetes wants no loopback
// address in an EndpointSlice, and Linux listens on no other without being told.
type hosts struct {
	number, cluster int
	next            int
	used            map[int]bool
}

// perCluster addresses are there for the pods of a cluster at a time, and
// maxClusters for each bed: together less than 16 bits, as the last of them
// hold the bed's number.
const (
	perCluster  = 4096
	maxClusters = 15
)

func (h *hosts) take() (pod, loopback string) {
	for range perCluster {
		h.next = (h.next + 1) % perCluster
		// The first and last of each 256 look like a network's own.
		if last := h.next % 256; last == 0 || last == 255 || h.used[h.next] {
			continue
		}
		h.used[h.next] = true
		at := h.cluster*perCluster + h.next
		rest := fmt.Sprintf("%d.%d.%d", firstNet+h.number, at/256, at%256)
		return "10." + rest, "127." + rest
	}
	panic("testbed: a cluster has no address left for another pod")
}

func (h *hosts) give(loopback string) {
	var x, y, number int
	if _, err := fmt.Sscanf(loopback, "127.%d.%d.%d", &number, &x, &y); err == nil {
		delete(h.used, (x*256+y)%perCluster)
	}
}
