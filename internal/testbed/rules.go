package testbed

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Match chooses pods. The controls of the kubelet apply to the pods that match
// now and to those that come later, until they are released.
type Match func(*corev1.Pod) bool

// Named matches the pod of that name.
func Named(namespace, name string) Match {
	return func(p *corev1.Pod) bool { return p.Namespace == namespace && p.Name == name }
}

// Labelled matches the pods of a namespace by a label selector; an empty
// selector matches all of them. A selector that does not parse panics.
func Labelled(namespace, selector string) Match {
	s, err := labels.Parse(selector)
	if err != nil {
		panic(err)
	}
	return func(p *corev1.Pod) bool { return p.Namespace == namespace && s.Matches(labels.Set(p.Labels)) }
}

type ruleKind int

const (
	holdReady ruleKind = iota
	holdStart
	holdTermination
	crashLoop
)

type rule struct {
	kind      ruleKind
	match     Match
	container string
	crashes   int32
}

// Hold keeps pods from getting ready, whatever their runtime says; those that
// are ready are no longer. The function that it returns ends that.
func (k *Kubelet) Hold(m Match) (release func()) {
	return k.addRule(&rule{kind: holdReady, match: m})
}

// HoldStart keeps pods from starting: they are bound to a node and stay Pending,
// as with an image that cannot be pulled. Pods that run go on.
func (k *Kubelet) HoldStart(m Match) (release func()) {
	return k.addRule(&rule{kind: holdStart, match: m})
}

// HoldTermination keeps pods that are deleted in Terminating, their containers
// running, as one that takes its time to drain.
func (k *Kubelet) HoldTermination(m Match) (release func()) {
	return k.addRule(&rule{kind: holdTermination, match: m})
}

// CrashLoop is a container, in any number of pods, that does not stay up.
type CrashLoop struct {
	kubelet *Kubelet
	rule    *rule
	release func()
}

// CrashLoop ends a container of each matching pod with an error, and leaves it
// in CrashLoopBackOff with one restart counted. An empty name means the first
// container that is no init container.
func (k *Kubelet) CrashLoop(m Match, container string) *CrashLoop {
	r := &rule{kind: crashLoop, match: m, container: container, crashes: 1}
	return &CrashLoop{kubelet: k, rule: r, release: k.addRule(r)}
}

// Again counts one more restart that failed.
func (c *CrashLoop) Again() {
	c.kubelet.mu.Lock()
	c.rule.crashes++
	c.kubelet.mu.Unlock()
	c.kubelet.requeueAll()
}

// Release lets the containers run again, with one restart more.
func (c *CrashLoop) Release() { c.release() }

func (k *Kubelet) addRule(r *rule) (release func()) {
	k.mu.Lock()
	k.rules = append(k.rules, r)
	k.mu.Unlock()
	k.requeueAll()
	return func() {
		k.mu.Lock()
		for i, other := range k.rules {
			if other == r {
				k.rules = append(k.rules[:i:i], k.rules[i+1:]...)
				break
			}
		}
		k.mu.Unlock()
		k.requeueAll()
	}
}

// ruled returns the rule of a kind that holds for a pod and, for crash loops,
// for a container. It needs k.mu.
func (k *Kubelet) ruled(kind ruleKind, pod *corev1.Pod, container string) *rule {
	for _, r := range k.rules {
		if r.kind != kind || !r.match(pod) {
			continue
		}
		if name := r.container; kind == crashLoop {
			if name == "" {
				name = pod.Spec.Containers[0].Name
			}
			if name != container {
				continue
			}
		}
		return r
	}
	return nil
}

// Fail ends a pod for good, as an eviction by its node does: its phase is Failed
// and its owner replaces it. It returns when the API server knows.
func (k *Kubelet) Fail(ctx context.Context, namespace, name, reason string) error {
	key := namespace + "/" + name
	k.mu.Lock()
	st := k.pods[key]
	if st == nil || !st.started {
		k.mu.Unlock()
		return fmt.Errorf("fail pod %s: it does not run", key)
	}
	st.failed = reason
	for _, s := range st.slots {
		k.endRun(s, 137, reason)
		if s.last != nil {
			s.waiting = ""
		}
	}
	k.mu.Unlock()
	k.queue.Add(key)
	return k.await(ctx, func() bool { return st.reported != nil && st.reported.Phase == corev1.PodFailed })
}

// RestartContainer restarts a container in place, as a kubelet does after a
// failed liveness probe: the pod stays, its restart count grows by one. It
// returns when the API server knows of the new run.
func (k *Kubelet) RestartContainer(ctx context.Context, namespace, pod, container string) error {
	key := namespace + "/" + pod
	k.mu.Lock()
	var s *slot
	if st := k.pods[key]; st != nil {
		for _, other := range st.slots {
			if other.spec.Name == container {
				s = other
			}
		}
	}
	if s == nil || s.run == nil {
		k.mu.Unlock()
		return fmt.Errorf("restart container %s of pod %s: it does not run", container, key)
	}
	st, want := k.pods[key], s.runs // runs counts the first one, restarts do not
	s.crashed = 0                   // it is wanted, so the next run does not wait
	k.endRun(s, 137, "Error")
	k.mu.Unlock()
	k.queue.Add(key)
	return k.await(ctx, func() bool {
		if st.reported == nil {
			return false
		}
		for _, list := range [][]corev1.ContainerStatus{st.reported.InitContainerStatuses, st.reported.ContainerStatuses} {
			for _, cs := range list {
				if cs.Name == container {
					return cs.RestartCount >= want && cs.State.Running != nil
				}
			}
		}
		return false
	})
}
