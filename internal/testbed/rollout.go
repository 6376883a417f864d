package testbed

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Restart does what `kubectl rollout restart` does to a Deployment, StatefulSet
// or DaemonSet: it sets the annotation kubectl.kubernetes.io/restartedAt of the
// pod template, here to a word that must differ from the last.
func (c *Cluster) Restart(ctx context.Context, kind, namespace, name, word string) error {
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, word)
	apps, how := c.Client.AppsV1(), types.StrategicMergePatchType
	var err error
	switch kind {
	case "Deployment":
		_, err = apps.Deployments(namespace).Patch(ctx, name, how, patch, metav1.PatchOptions{})
	case "StatefulSet":
		_, err = apps.StatefulSets(namespace).Patch(ctx, name, how, patch, metav1.PatchOptions{})
	case "DaemonSet":
		_, err = apps.DaemonSets(namespace).Patch(ctx, name, how, patch, metav1.PatchOptions{})
	default:
		err = fmt.Errorf("a %s cannot be restarted", kind)
	}
	return err
}

// RolledOut waits until a Deployment, StatefulSet or DaemonSet has all its pods
// of its present template, and all of them ready; the rules are those of
// `kubectl rollout status`.
func (c *Cluster) RolledOut(ctx context.Context, kind, namespace, name string) error {
	apps := c.Client.AppsV1()
	err := Until(ctx, func(ctx context.Context) (bool, error) {
		switch kind {
		case "Deployment":
			d, err := apps.Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
			return err == nil && deploymentDone(d), err
		case "StatefulSet":
			s, err := apps.StatefulSets(namespace).Get(ctx, name, metav1.GetOptions{})
			return err == nil && statefulSetDone(s), err
		case "DaemonSet":
			d, err := apps.DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
			return err == nil && daemonSetDone(d), err
		default:
			return false, fmt.Errorf("a %s does not roll out", kind)
		}
	})
	if err != nil {
		return fmt.Errorf("roll out %s %s/%s: %w", kind, namespace, name, err)
	}
	return nil
}

func deploymentDone(d *appsv1.Deployment) bool {
	want, s := int32(1), d.Status
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want
}

func statefulSetDone(d *appsv1.StatefulSet) bool {
	want, s := int32(1), d.Status
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.ReadyReplicas == want && s.CurrentRevision == s.UpdateRevision
}

func daemonSetDone(d *appsv1.DaemonSet) bool {
	s := d.Status
	return s.ObservedGeneration >= d.Generation && s.UpdatedNumberScheduled == s.DesiredNumberScheduled &&
		s.NumberAvailable == s.DesiredNumberScheduled && s.DesiredNumberScheduled > 0
}
