package testbed

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// bind gives a pod a node, as a scheduler would.
func (k *Kubelet) bind(ctx context.Context, pod *corev1.Pod) error {
	node := k.choose(pod)
	if node == nil {
		return nil // it stays Pending
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := k.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: node.Name},
	}, metav1.CreateOptions{})
	return ignoreGone(err)
}

// startPod mounts the volumes and calls the runtime.
func (k *Kubelet) startPod(st *podState) error {
	p := st.pod
	p.Node.use(p)
	err := p.mountable(st.ctx)
	if err == nil {
		err = k.runtime.StartPod(st.ctx, p)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		st.message = err.Error()
		return err
	}
	st.started, st.message, st.startAt = true, "", k.timestamp()
	return nil
}

// advance starts the containers whose turn it is. It returns how long the one
// that backs off has to wait, zero if none does.
func (k *Kubelet) advance(st *podState) (later time.Duration, err error) {
	if st.failed != "" || st.stopped {
		return 0, nil
	}
	for _, s := range st.slots {
		k.mu.Lock()
		k.applyCrashLoop(st, s)
		due, wait := k.due(st, s)
		k.mu.Unlock()
		if wait > 0 && (later == 0 || wait < later) {
			later = wait
		}
		if due {
			if err := k.startContainer(st, s); err != nil {
				return later, err
			}
		}
		if k.holdsBack(s) {
			return later, nil
		}
	}
	k.endSidecars(st)
	return later, nil
}

// endSidecars ends the native sidecars of a pod whose own containers have ended
// for good.
func (k *Kubelet) endSidecars(st *podState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range st.slots {
		if s.init {
			continue
		}
		if due, later := k.due(st, s); s.run != nil || s.runs == 0 || s.crash != nil || due || later > 0 {
			return
		}
	}
	for _, s := range st.slots {
		if s.init {
			k.endRun(s, 0, "Completed")
			s.waiting = ""
		}
	}
}

// due says whether a container is to be started, now or after a while. It needs
// k.mu.
func (k *Kubelet) due(st *podState, s *slot) (now bool, later time.Duration) {
	if s.run != nil || s.crash != nil {
		return false, 0
	}
	if s.runs > 0 {
		policy := st.pod.Object.Spec.RestartPolicy
		succeeded := s.last != nil && s.last.ExitCode == 0
		switch {
		case isSidecar(s.spec, s.init):
		case policy == corev1.RestartPolicyNever:
			return false, 0
		case succeeded && (s.init || policy == corev1.RestartPolicyOnFailure):
			return false, 0
		}
	}
	if wait := s.notYet.Sub(k.now()); wait > 0 {
		return false, wait
	}
	return true, 0
}

// holdsBack says whether the containers after s have to wait for it.
func (k *Kubelet) holdsBack(s *slot) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.init && !isSidecar(s.spec, true) {
		return s.run != nil || s.last == nil || s.last.ExitCode != 0
	}
	waits := s.spec.StartupProbe != nil && s.init || s.spec.Lifecycle != nil && s.spec.Lifecycle.PostStart != nil
	if !waits {
		return s.init && s.runs == 0
	}
	return !s.wasOnce
}

func (k *Kubelet) startContainer(st *podState, s *slot) error {
	env, err := st.pod.environment(st.ctx, s.spec)
	var frozen map[string]map[string][]byte
	if err == nil {
		frozen, err = st.pod.subPaths(st.ctx, s.spec)
	}
	if err != nil {
		k.mu.Lock()
		s.waiting, s.message = "CreateContainerConfigError", err.Error()
		k.mu.Unlock()
		return fmt.Errorf("container %s: %w", s.spec.Name, err)
	}
	ctx, cancel := context.WithCancel(st.ctx)
	run := &Container{
		Pod: st.pod, Spec: *s.spec, Init: s.init, Restarts: s.runs, Env: env,
		kubelet: k, slot: s, end: cancel, frozen: frozen, changed: make(chan struct{}, 1),
	}
	for _, arg := range s.spec.Args {
		run.Args = append(run.Args, expand(arg, env))
	}
	k.mu.Lock()
	s.run, s.ready, s.wasOnce = run, false, false
	s.runs++
	s.since = k.timestamp()
	s.waiting, s.message = "", ""
	k.mu.Unlock()
	if err := k.runtime.StartContainer(ctx, run); err != nil {
		k.mu.Lock()
		if s.run == run {
			s.run, s.runs = nil, s.runs-1
			s.waiting, s.message = "RunContainerError", err.Error()
		}
		k.mu.Unlock()
		cancel()
		return fmt.Errorf("container %s: %w", s.spec.Name, err)
	}
	return nil
}

// applyCrashLoop ends a container as a rule wants. It needs k.mu.
func (k *Kubelet) applyCrashLoop(st *podState, s *slot) {
	r := k.ruled(crashLoop, st.pod.Object, s.spec.Name)
	if r == nil {
		if s.crash != nil {
			s.crash, s.waiting, s.notYet = nil, "", time.Time{}
		}
		return
	}
	if s.crash != r {
		s.crash, s.counted = r, 0
		s.runs = max(s.runs, 1)
	}
	if s.counted == r.crashes {
		return
	}
	if s.run == nil { // it never ran in this pod, or not in this round
		s.last = &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", StartedAt: k.timestamp(), FinishedAt: k.timestamp()}
	}
	k.endRun(s, 1, "Error")
	s.runs += r.crashes - s.counted
	s.counted = r.crashes
	s.waiting, s.message = "CrashLoopBackOff", "back-off restarting failed container"
}

// setReady is the runtime's word on a run.
func (k *Kubelet) setReady(c *Container, ready bool) {
	k.mu.Lock()
	current := c.slot.run == c
	if current {
		c.slot.ready = ready
		if ready {
			c.slot.wasOnce, c.slot.crashed = true, 0
		}
	}
	k.mu.Unlock()
	if current {
		k.queue.Add(c.slot.key)
	}
}

// exit is the runtime's word that a run ended.
func (k *Kubelet) exit(c *Container, code int32, reason string) {
	k.mu.Lock()
	current := c.slot.run == c
	if current {
		k.endRun(c.slot, code, reason)
	}
	k.mu.Unlock()
	if current {
		k.queue.Add(c.slot.key)
	}
}

// endRun notes how the current run of a container ended, if there is one, and
// when the next may begin: at once after the first end, as with a kubelet, then
// later and later, though in milliseconds where a kubelet takes seconds. It
// needs k.mu.
func (k *Kubelet) endRun(s *slot, code int32, reason string) {
	if s.run == nil {
		return
	}
	if reason == "" {
		reason = "Error"
		if code == 0 {
			reason = "Completed"
		}
	}
	s.run.end()
	s.run, s.ready = nil, false
	s.last = &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: s.since, FinishedAt: k.timestamp()}
	s.notYet = time.Time{}
	if s.crashed > 0 {
		s.notYet = k.now().Add(min(10*time.Millisecond<<min(s.crashed, 10), time.Second))
		s.waiting, s.message = "CrashLoopBackOff", "back-off restarting failed container"
	}
	s.crashed++
}

// teardown ends all containers of a pod and the pod; once.
func (k *Kubelet) teardown(ctx context.Context, st *podState) {
	k.mu.Lock()
	if st.stopped {
		k.mu.Unlock()
		return
	}
	st.stopped = true
	for _, s := range st.slots {
		k.endRun(s, 143, "Error") // ended by SIGTERM
		if s.last != nil {
			s.waiting = ""
		}
	}
	started := st.started
	k.mu.Unlock()
	st.cancel()
	if started {
		k.runtime.StopPod(context.WithoutCancel(ctx), st.pod)
	}
	st.pod.Node.unuse(st.pod)
}

func (k *Kubelet) forget(key string, st *podState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hosts.give(st.pod.Loopback)
	delete(k.pods, key)
	delete(k.byUID, st.uid)
}

// volumesChanged tells the containers of pods that their volumes may have new
// content.
func (k *Kubelet) volumesChanged(pods []types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, uid := range pods {
		st := k.byUID[uid]
		if st == nil {
			continue
		}
		for _, s := range st.slots {
			if s.run != nil {
				select {
				case s.run.changed <- struct{}{}:
				default: // told, and not looked at yet
				}
			}
		}
	}
}

// retryStart has pods that wait for a ConfigMap or Secret tried again at once.
func (k *Kubelet) retryStart(pods []types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, uid := range pods {
		if st := k.byUID[uid]; st != nil && slices.ContainsFunc(st.slots, func(s *slot) bool { return s.run == nil && s.last == nil }) {
			k.queue.Add(st.pod.Object.Namespace + "/" + st.pod.Object.Name)
		}
	}
}

func (k *Kubelet) timestamp() metav1.Time { return metav1.NewTime(k.now()).Rfc3339Copy() }

func isSidecar(c *corev1.Container, init bool) bool {
	return init && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// references lists the ConfigMaps and Secrets that a pod refers to: by the
// environment of its containers and by its volumes.
func references(p *corev1.Pod) (env, volumes []objectKey) {
	add := func(to *[]objectKey, kind, name string) {
		*to = append(*to, objectKey{kind, p.Namespace, name})
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		for _, from := range c.EnvFrom {
			if from.ConfigMapRef != nil {
				add(&env, kindConfigMap, from.ConfigMapRef.Name)
			}
			if from.SecretRef != nil {
				add(&env, kindSecret, from.SecretRef.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom == nil {
				continue
			}
			if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
				add(&env, kindConfigMap, r.Name)
			}
			if r := e.ValueFrom.SecretKeyRef; r != nil {
				add(&env, kindSecret, r.Name)
			}
		}
	}
	for _, v := range p.Spec.Volumes {
		if v.ConfigMap != nil {
			add(&volumes, kindConfigMap, v.ConfigMap.Name)
		}
		if v.Secret != nil {
			add(&volumes, kindSecret, v.Secret.SecretName)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				add(&volumes, kindConfigMap, s.ConfigMap.Name)
			}
			if s.Secret != nil {
				add(&volumes, kindSecret, s.Secret.Name)
			}
		}
	}
	return env, volumes
}

// mountable fails while a volume refers to something that is not there: a
// kubelet does not start the pod before.
func (p *Pod) mountable(ctx context.Context) error {
	optional := make(map[objectKey]bool)
	for _, v := range p.Object.Spec.Volumes {
		isOptional := func(kind, name string, o *bool) {
			if o != nil && *o {
				optional[objectKey{kind, p.Object.Namespace, name}] = true
			}
		}
		if v.ConfigMap != nil {
			isOptional(kindConfigMap, v.ConfigMap.Name, v.ConfigMap.Optional)
		}
		if v.Secret != nil {
			isOptional(kindSecret, v.Secret.SecretName, v.Secret.Optional)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ConfigMap != nil {
					isOptional(kindConfigMap, s.ConfigMap.Name, s.ConfigMap.Optional)
				}
				if s.Secret != nil {
					isOptional(kindSecret, s.Secret.Name, s.Secret.Optional)
				}
			}
		}
	}
	_, keys := references(p.Object)
	for _, key := range keys {
		if optional[key] || p.Node.exists(key) {
			continue
		}
		_, ok, err := p.Node.Volumes.read(ctx, key)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("MountVolume.SetUp failed: %s %q not found", strings.ToLower(key.kind), key.name)
		}
	}
	return nil
}

// subPaths reads the volumes that are mounted by a sub path, which stay as they
// were when the container started.
func (p *Pod) subPaths(ctx context.Context, spec *corev1.Container) (map[string]map[string][]byte, error) {
	out := make(map[string]map[string][]byte)
	for _, m := range spec.VolumeMounts {
		if m.SubPath == "" {
			continue
		}
		files, err := p.volume(ctx, m.Name)
		if err != nil {
			return nil, err
		}
		out[m.MountPath] = maps.Clone(files)
	}
	return out, nil
}
