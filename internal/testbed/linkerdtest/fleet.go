package linkerdtest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

// Fleet plays Linkerd in the clusters of a test bed, real API servers: it is what
// runs inside their pods, and the ledger that watches over it.
//
//	fleet := linkerdtest.NewFleet(clock)
//	bed := testbed.Start(t, 2, fleet.Configure)
//	mesh, err := linkerdtest.Install(ctx, fleet, bed.Cluster("east"), options)
//
// Containers are known by name: linkerd-proxy in any pod, identity and
// proxy-injector in the control plane's. Those by other names are ready at once.
// Environments and mounted files are what the bed's nodes know, with their lag.
type Fleet struct {
	Clock  Clock
	Ledger *Ledger

	chains *chainCache
	log    func(string)

	mu       sync.Mutex
	clusters map[string]*podRuntime
}

// NewFleet returns a fleet whose leaves live by the clock. (Nodes and the API
// server have the real time.)
func NewFleet(clock Clock) *Fleet {
	return &Fleet{
		Clock: clock, Ledger: NewLedger(clock), chains: newChainCache(), log: func(string) {},
		clusters: make(map[string]*podRuntime),
	}
}

// Log has everything that the parts log go to f.
func (f *Fleet) Log(to func(line string)) { f.log = to }

// Configure has the pods of a bed played by the fleet.
func (f *Fleet) Configure(o *testbed.Options) { o.Runtime = f.Runtime }

// Runtime plays the pods of one cluster.
func (f *Fleet) Runtime(c *testbed.Cluster) testbed.PodRuntime { return f.runtime(c) }

func (f *Fleet) runtime(c *testbed.Cluster) *podRuntime {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.clusters[c.Name]
	if r == nil {
		r = &podRuntime{fleet: f, cluster: c, pods: make(map[types.UID]*runningPod)}
		f.clusters[c.Name] = r
	}
	return r
}

// Proxy returns the proxy that runs in a pod now, or nil.
func (f *Fleet) Proxy(c *testbed.Cluster, namespace, pod string) *Proxy {
	return find(f.runtime(c), namespace, pod, func(p *runningPod) *Proxy { return p.proxy })
}

// Identity returns the identity process that runs in a pod now, or nil.
func (f *Fleet) Identity(c *testbed.Cluster, namespace, pod string) *Identity {
	return find(f.runtime(c), namespace, pod, func(p *runningPod) *Identity { return p.identity })
}

// Injector returns the injector that runs in a pod now, or nil.
func (f *Fleet) Injector(c *testbed.Cluster, namespace, pod string) *Injector {
	return find(f.runtime(c), namespace, pod, func(p *runningPod) *Injector { return p.injector })
}

func find[T any](r *podRuntime, namespace, name string, part func(*runningPod) *T) *T {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pods {
		if o := p.pod.Object; o.Namespace == namespace && o.Name == name {
			return part(p)
		}
	}
	return nil
}

// podRuntime is a testbed.PodRuntime.
type podRuntime struct {
	testbed.AlwaysReady
	fleet   *Fleet
	cluster *testbed.Cluster

	mu     sync.Mutex
	pods   map[types.UID]*runningPod
	called int // which injector is next
}

type runningPod struct {
	pod *testbed.Pod

	// Guarded by podRuntime.mu.
	proxy    *Proxy
	identity *Identity
	injector *Injector
	stops    map[string]func() // by container
}

// StartPod implements testbed.PodRuntime.
func (r *podRuntime) StartPod(_ context.Context, pod *testbed.Pod) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pods[pod.Object.UID] = &runningPod{pod: pod, stops: make(map[string]func())}
	return nil
}

// StopPod implements testbed.PodRuntime.
func (r *podRuntime) StopPod(_ context.Context, pod *testbed.Pod) {
	r.mu.Lock()
	p := r.pods[pod.Object.UID]
	delete(r.pods, pod.Object.UID)
	var containers []string
	if p != nil {
		containers = slices.Collect(maps.Keys(p.stops))
	}
	r.mu.Unlock()
	for _, name := range containers {
		r.end(p, name)
	}
}

// end stops what runs in a container, if anything does.
func (r *podRuntime) end(p *runningPod, container string) {
	r.mu.Lock()
	stop := p.stops[container]
	p.stops[container] = nil
	r.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// StartContainer implements testbed.PodRuntime.
func (r *podRuntime) StartContainer(ctx context.Context, run *testbed.Container) error {
	start := r.startProxy
	switch component := run.Pod.Object.Labels[labelComponent]; {
	case run.Spec.Name == ProxyContainer && !run.Ends():
	case run.Spec.Name == "identity" && component == "identity":
		start = r.startIdentity
	case run.Spec.Name == "proxy-injector" && component == "proxy-injector":
		start = r.startInjector
	default:
		return r.AlwaysReady.StartContainer(ctx, run)
	}
	r.mu.Lock()
	p := r.pods[run.Pod.Object.UID]
	r.mu.Unlock()
	if p == nil {
		return fmt.Errorf("the pod has ended")
	}
	r.end(p, run.Spec.Name) // the run before this one
	stop, err := start(ctx, p, run)
	if err != nil {
		r.logf(run, "%v", err)
		run.Exit(1)
		return nil
	}
	r.mu.Lock()
	p.stops[run.Spec.Name] = stop
	r.mu.Unlock()
	context.AfterFunc(ctx, stop) // it may be called twice
	return nil
}

func (r *podRuntime) logf(run *testbed.Container, format string, args ...any) {
	o := run.Pod.Object
	r.fleet.log(fmt.Sprintf("%s/%s/%s %s: ", r.cluster.Name, o.Namespace, o.Name, run.Spec.Name) + fmt.Sprintf(format, args...))
}

// identities returns where a control plane's identity is ready, by DNS as it
// were: the hosts of the pods behind linkerd-identity-headless.<namespace>.svc.
func (r *podRuntime) identities(service string) []string {
	_, rest, _ := strings.Cut(service, ".")
	namespace, _, _ := strings.Cut(rest, ".")
	var hosts []string
	for _, p := range r.sorted() {
		if p.pod.Object.Namespace == namespace && p.identity != nil && p.proxy != nil && p.proxy.Ready() {
			hosts = append(hosts, p.pod.Loopback)
		}
	}
	return hosts
}

// wake has the proxies that wait for their first leaf ask again, as they would
// within ten seconds.
func (r *podRuntime) wake() {
	for _, p := range r.sorted() {
		if p.proxy != nil && !p.proxy.Ready() {
			done := r.fleet.Clock.Begin()
			go func() {
				defer done()
				p.proxy.Retry()
			}()
		}
	}
}

// sorted returns copies of the running pods, in the order of their names.
func (r *podRuntime) sorted() []runningPod {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []runningPod
	for _, p := range r.pods {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b runningPod) int {
		return cmp.Or(cmp.Compare(a.pod.Object.Namespace, b.pod.Object.Namespace), cmp.Compare(a.pod.Object.Name, b.pod.Object.Name))
	})
	return out
}

// nextInjector returns where the next injector in turn answers, "" if none does.
func (r *podRuntime) nextInjector() string {
	var hosts []string
	for _, p := range r.sorted() {
		if p.injector != nil && p.proxy != nil && p.proxy.Ready() {
			hosts = append(hosts, net.JoinHostPort(p.pod.Loopback, injectorPort))
		}
	}
	if len(hosts) == 0 {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.called++
	return hosts[r.called%len(hosts)]
}

// releaseOf reads a pod's release from what the injector or the chart noted.
func releaseOf(pod *corev1.Pod) Release {
	if r, err := ParseRelease(pod.Annotations[annotationProxyVersion]); err == nil {
		return r
	}
	return Latest
}
