package testbed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Kubelet stands in for the scheduler and for the kubelets of all nodes of a
// cluster. It binds pods, has a PodRuntime run them, and reports their status;
// it is steered by the controls in rules.go.
//
// What it leaves out: resources, taints and affinities (but for a DaemonSet's
// pods, which go to their node, and node selectors), probes (readiness is the
// runtime's word), logs and exec.
type Kubelet struct {
	cluster *Cluster
	client  kubernetes.Interface
	runtime PodRuntime
	now     func() time.Time
	nodes   []*Node
	queue   workqueue.TypedRateLimitingInterface[string]
	lister  listers.PodLister
	// objects holds the ConfigMaps and Secrets of the cluster, by kind.
	objects map[string]cache.Store

	mu    sync.Mutex
	pods  map[string]*podState
	byUID map[types.UID]*podState
	rules []*rule
	// changed is closed and replaced whenever a status was reported.
	changed chan struct{}
	bound   int // pods bound so far, for taking the nodes in turn
	hosts   hosts

	stop context.CancelFunc
	done sync.WaitGroup
}

// podState is what the kubelet knows of a pod beyond the API. Its fields are
// guarded by Kubelet.mu, but pod, which one worker at a time handles.
type podState struct {
	uid      types.UID
	pod      *Pod
	cancel   context.CancelFunc
	ctx      context.Context
	started  bool // StartPod was called and succeeded
	stopped  bool
	message  string // why it does not start
	startAt  metav1.Time
	failed   string // reason, when it was ended for good
	slots    []*slot
	reported *corev1.PodStatus
}

// slot is a container of a pod through all its runs.
type slot struct {
	key     string // of the pod
	spec    *corev1.Container
	init    bool
	run     *Container
	ready   bool
	wasOnce bool // ready once in this run: what waits for it may go on
	runs    int32
	since   metav1.Time
	last    *corev1.ContainerStateTerminated
	waiting string // reason
	message string
	crashed int       // ends in a row
	notYet  time.Time // when the next run may begin
	crash   *rule
	counted int32 // of the rule's crashes
}

const (
	workers = 8
	// requestTimeout bounds one API call, so that a frozen API server holds up
	// a worker but not for ever.
	requestTimeout = 30 * time.Second
)

func newKubelet(c *Cluster, client kubernetes.Interface, runtime PodRuntime, number int, now func() time.Time) *Kubelet {
	return &Kubelet{
		cluster: c, client: client, runtime: runtime, now: now,
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](10*time.Millisecond, time.Second)),
		pods:    make(map[string]*podState),
		byUID:   make(map[types.UID]*podState),
		objects: make(map[string]cache.Store),
		changed: make(chan struct{}),
		hosts:   hosts{number: number, cluster: c.index, used: make(map[int]bool)},
	}
}

// start registers the nodes and begins to work.
func (k *Kubelet) start(ctx context.Context, ca *authority, nodes int) error {
	life, stop := context.WithCancel(context.Background())
	k.stop = stop
	for i := range nodes {
		n, err := k.addNode(ctx, life, ca, fmt.Sprintf("%s-node-%d", k.cluster.Name, i))
		if err != nil {
			return err
		}
		k.nodes = append(k.nodes, n)
	}
	factory := informers.NewSharedInformerFactory(k.client, 0)
	pods := factory.Core().V1().Pods()
	k.lister = pods.Lister()
	enqueue := func(o any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
			k.queue.Add(key)
		}
	}
	_, err := pods.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, o any) { enqueue(o) }, DeleteFunc: enqueue,
	})
	if err != nil {
		return err
	}
	for kind, informer := range map[string]cache.SharedIndexInformer{
		kindConfigMap: factory.Core().V1().ConfigMaps().Informer(),
		kindSecret:    factory.Core().V1().Secrets().Informer(),
	} {
		k.objects[kind] = informer.GetStore()
		if err := k.observe(kind, informer); err != nil {
			return err
		}
	}
	factory.StartWithContext(life)
	if err := factory.WaitForCacheSyncWithContext(ctx).AsError(); err != nil {
		return err
	}
	for range workers {
		k.done.Go(func() {
			for k.work(life) {
			}
		})
	}
	return nil
}

// observe tells the nodes' views of changes to the objects of a kind.
func (k *Kubelet) observe(kind string, informer cache.SharedIndexInformer) error {
	tell := func(o any, gone bool) {
		if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = d.Obj
		}
		var data map[string][]byte
		var meta metav1.Object
		switch o := o.(type) {
		case *corev1.ConfigMap:
			meta, data = o, configMapData(o)
		case *corev1.Secret:
			meta, data = o, secretData(o)
		default:
			return
		}
		if gone {
			data = nil
		}
		for _, n := range k.nodes {
			for _, view := range []*NodeView{n.Env, n.Volumes} {
				view.observe(objectKey{kind, meta.GetNamespace(), meta.GetName()}, data)
			}
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { tell(o, false) },
		UpdateFunc: func(_, o any) { tell(o, false) },
		DeleteFunc: func(o any) { tell(o, true) },
	})
	return err
}

// close ends all work and all pods. It does not touch the API.
func (k *Kubelet) close() {
	if k.stop != nil {
		k.stop()
	}
	k.queue.ShutDown()
	k.done.Wait()
	k.mu.Lock()
	var all []*podState
	for _, st := range k.pods {
		all = append(all, st)
	}
	k.mu.Unlock()
	for _, st := range all {
		k.teardown(context.Background(), st)
	}
	for _, n := range k.nodes {
		n.close()
	}
}

func (k *Kubelet) work(ctx context.Context) bool {
	key, quit := k.queue.Get()
	if quit {
		return false
	}
	defer k.queue.Done(key)
	if err := k.sync(ctx, key); err != nil {
		// Whatever it is, an API server that is away or a volume that is not
		// there yet: it is tried again.
		k.queue.AddRateLimited(key)
		return true
	}
	k.queue.Forget(key)
	return true
}

// sync brings one pod a step further.
func (k *Kubelet) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return nil
	}
	pod, err := k.lister.Pods(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		pod, err = nil, nil
	}
	if err != nil {
		return err
	}
	k.mu.Lock()
	st := k.pods[key]
	k.mu.Unlock()
	if st != nil && (pod == nil || pod.UID != st.uid) {
		k.teardown(ctx, st)
		k.forget(key, st)
		st = nil
	}
	switch {
	case pod == nil:
		return nil
	case pod.DeletionTimestamp != nil:
		return k.terminate(ctx, key, pod, st)
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		if st != nil {
			k.teardown(ctx, st)
		}
		return nil
	case pod.Spec.NodeName == "":
		return k.bind(ctx, pod)
	}
	if st == nil {
		if st = k.admit(ctx, key, pod); st == nil {
			return nil // for a node that is not ours, or it must not start yet
		}
	}
	if !st.started {
		if err := k.startPod(st); err != nil {
			return errors.Join(err, k.report(ctx, key, pod, st))
		}
	}
	later, err := k.advance(st)
	if later > 0 {
		k.queue.AddAfter(key, later)
	}
	return errors.Join(err, k.report(ctx, key, pod, st))
}

// terminate ends a pod that is being deleted, and takes it out of the API.
func (k *Kubelet) terminate(ctx context.Context, key string, pod *corev1.Pod, st *podState) error {
	k.mu.Lock()
	held := k.ruled(holdTermination, pod, "") != nil
	k.mu.Unlock()
	if held {
		return nil
	}
	if st != nil {
		k.teardown(ctx, st)
		// Who waits for the pod to end, as the Job controller does by its
		// finalizer, wants to see how it ended.
		if len(pod.Finalizers) > 0 {
			if err := k.report(ctx, key, pod, st); err != nil {
				return err
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now := int64(0)
	err := k.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// admit takes up a pod that is bound to one of the nodes.
func (k *Kubelet) admit(ctx context.Context, key string, pod *corev1.Pod) *podState {
	node := k.node(pod.Spec.NodeName)
	if node == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ruled(holdStart, pod, "") != nil {
		return nil
	}
	life, cancel := context.WithCancel(ctx)
	st := &podState{uid: pod.UID, ctx: life, cancel: cancel}
	st.pod = &Pod{Object: pod.DeepCopy(), Cluster: k.cluster, Node: node}
	st.pod.IP, st.pod.Loopback = k.hosts.take()
	for i := range st.pod.Object.Spec.InitContainers {
		st.slots = append(st.slots, &slot{key: key, spec: &st.pod.Object.Spec.InitContainers[i], init: true, waiting: "PodInitializing"})
	}
	for i := range st.pod.Object.Spec.Containers {
		st.slots = append(st.slots, &slot{key: key, spec: &st.pod.Object.Spec.Containers[i], waiting: "ContainerCreating"})
	}
	k.pods[key], k.byUID[pod.UID] = st, st
	return st
}

// requeueAll has every pod looked at again.
func (k *Kubelet) requeueAll() {
	pods, err := k.lister.List(everything)
	if err != nil {
		return // the lister reads memory
	}
	for _, p := range pods {
		k.queue.Add(p.Namespace + "/" + p.Name)
	}
}

// await waits until ok, which is called with k.mu held, says so.
func (k *Kubelet) await(ctx context.Context, ok func() bool) error {
	for {
		k.mu.Lock()
		yes, changed := ok(), k.changed
		k.mu.Unlock()
		if yes {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
