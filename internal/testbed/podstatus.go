package testbed

import (
	"context"
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// report writes a pod's status if it differs from what was written last.
func (k *Kubelet) report(ctx context.Context, key string, pod *corev1.Pod, st *podState) error {
	k.mu.Lock()
	status := k.status(pod, st)
	same := st.reported != nil && equality.Semantic.DeepEqual(*st.reported, status)
	k.mu.Unlock()
	if same {
		return nil
	}
	// The UID makes sure that it is not another pod of the same name by now.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID}, "status": status})
	if err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err = k.client.CoreV1().Pods(pod.Namespace).Patch(call, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err := ignoreGone(err); err != nil {
		return err
	}
	k.mu.Lock()
	st.reported = &status
	close(k.changed)
	k.changed = make(chan struct{})
	k.mu.Unlock()
	if status.Phase == corev1.PodSucceeded || status.Phase == corev1.PodFailed {
		k.teardown(ctx, st)
	}
	return nil
}

// ignoreGone drops the errors that say that the pod is not there any more, or
// that another one of its name is.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// status makes a pod's status from what the kubelet knows. It needs k.mu.
func (k *Kubelet) status(pod *corev1.Pod, st *podState) corev1.PodStatus {
	out := corev1.PodStatus{
		Phase:  corev1.PodPending,
		HostIP: nodeIP, HostIPs: []corev1.HostIP{{IP: nodeIP}},
		QOSClass: pod.Status.QOSClass,
	}
	if st.started {
		start := st.startAt
		out.StartTime = &start
		out.PodIP, out.PodIPs = st.pod.IP, []corev1.PodIP{{IP: st.pod.IP}}
	}
	held := k.ruled(holdReady, pod, "") != nil
	initialized, ready := st.started, st.started && !held && !st.stopped
	running, ended, succeeded := false, true, true
	for _, s := range st.slots {
		cs := s.status(pod)
		cs.Ready = cs.Ready && !held
		if s.init {
			out.InitContainerStatuses = append(out.InitContainerStatuses, cs)
			if isSidecar(s.spec, true) {
				initialized = initialized && s.runs > 0
				ready = ready && cs.Ready
			} else {
				initialized = initialized && cs.State.Terminated != nil && s.last.ExitCode == 0
				if cs.State.Terminated != nil && s.last.ExitCode != 0 && pod.Spec.RestartPolicy == corev1.RestartPolicyNever {
					out.Phase = corev1.PodFailed
				}
			}
			continue
		}
		out.ContainerStatuses = append(out.ContainerStatuses, cs)
		ready = ready && cs.Ready
		running = running || s.runs > 0
		ended = ended && cs.State.Terminated != nil
		succeeded = succeeded && s.last != nil && s.last.ExitCode == 0
	}
	switch {
	case st.failed != "":
		out.Phase, out.Reason = corev1.PodFailed, st.failed
	case out.Phase == corev1.PodFailed:
	case st.started && ended && succeeded:
		out.Phase = corev1.PodSucceeded
	case st.started && (ended || st.stopped):
		out.Phase = corev1.PodFailed
	case running:
		out.Phase = corev1.PodRunning
	}
	if ended || st.failed != "" {
		ready = false
	}
	gates := ready
	for _, g := range pod.Spec.ReadinessGates {
		gates = gates && conditionTrue(pod.Status.Conditions, g.ConditionType)
	}
	message := st.message
	for _, c := range []struct {
		kind   corev1.PodConditionType
		is     bool
		reason string
	}{
		{corev1.PodReadyToStartContainers, st.started, "PodSandboxNotReady"},
		{corev1.PodInitialized, initialized, "ContainersNotInitialized"},
		{corev1.ContainersReady, ready, "ContainersNotReady"},
		{corev1.PodReady, gates, "ContainersNotReady"},
	} {
		condition := corev1.PodCondition{Type: c.kind, Status: corev1.ConditionTrue, ObservedGeneration: pod.Generation}
		if !c.is {
			condition.Status, condition.Reason, condition.Message = corev1.ConditionFalse, c.reason, message
		}
		condition.LastTransitionTime = k.timestamp()
		if st.reported != nil {
			if i := slices.IndexFunc(st.reported.Conditions, func(p corev1.PodCondition) bool { return p.Type == c.kind }); i >= 0 && st.reported.Conditions[i].Status == condition.Status {
				condition.LastTransitionTime = st.reported.Conditions[i].LastTransitionTime
			}
		}
		out.Conditions = append(out.Conditions, condition)
	}
	return out
}

func conditionTrue(conditions []corev1.PodCondition, kind corev1.PodConditionType) bool {
	return slices.ContainsFunc(conditions, func(c corev1.PodCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
}

// status of a container; it needs the kubelet's lock.
func (s *slot) status(pod *corev1.Pod) corev1.ContainerStatus {
	image := s.spec.Image
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == s.spec.Name {
			image = c.Image // can be changed in place
		}
	}
	started := s.run != nil && (s.wasOnce || s.spec.StartupProbe == nil)
	out := corev1.ContainerStatus{
		Name: s.spec.Name, Image: image, ImageID: image,
		Ready: s.ready, Started: &started, RestartCount: max(0, s.runs-1),
	}
	if s.runs > 0 {
		out.ContainerID = "testbed://" + string(pod.UID) + "/" + s.spec.Name
	}
	switch {
	case s.run != nil:
		out.State.Running = &corev1.ContainerStateRunning{StartedAt: s.since}
		if s.last != nil {
			out.LastTerminationState.Terminated = s.last
		}
	case s.waiting != "":
		out.State.Waiting = &corev1.ContainerStateWaiting{Reason: s.waiting, Message: s.message}
		if s.last != nil {
			out.LastTerminationState.Terminated = s.last
		}
	case s.last != nil:
		out.State.Terminated = s.last
		// An init container that is done is what it was for.
		out.Ready = s.init && s.last.ExitCode == 0
	default:
		out.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	}
	return out
}
