package linkerdtest

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The annotations and labels of linkerd2 pkg/k8s/labels.go.
const (
	AnnotationInject       = "linkerd.io/inject"
	annotationCreatedBy    = "linkerd.io/created-by"
	annotationProxyVersion = "linkerd.io/proxy-version"
	annotationTrustHash    = "linkerd.io/trust-root-sha256"
	labelControlPlane      = "linkerd.io/control-plane-ns"
	labelComponent         = "linkerd.io/control-plane-component"
	labelWorkload          = "linkerd.io/workload-ns"
	labelProxy             = "linkerd.io/proxy-" // and the kind of the owner
	configPrefix           = "config.linkerd.io/"
)

// ProxyContainer is the name of the sidecar.
const ProxyContainer = "linkerd-proxy"

// skip tells why a pod is not injected, "" if it is. The sentences are those of
// linkerd2 pkg/inject/report.go, and so is the order in which they count.
func skip(pod *corev1.Pod, namespace map[string]string) string {
	var reasons []string
	if pod.Spec.HostNetwork {
		reasons = append(reasons, "hostNetwork is enabled")
	}
	if hasSidecar(&pod.Spec) {
		reasons = append(reasons, "pod has a sidecar injected already")
	}
	if reason := disabled(pod.Annotations[AnnotationInject], namespace[AnnotationInject]); reason != "" {
		reasons = append(reasons, reason)
	}
	return strings.Join(reasons, ", ")
}

// disabled is disableByAnnotation of report.go: the pod's word counts more than
// the namespace's, but for a pod that says nothing.
func disabled(pod, namespace string) string {
	valid := []string{"", "enabled", "disabled", "ingress"}
	on := []string{"enabled", "ingress"}
	switch {
	case !slices.Contains(valid, namespace):
		return fmt.Sprintf("invalid value for annotation %q at namespace", AnnotationInject)
	case !slices.Contains(valid, pod):
		return fmt.Sprintf("invalid value for annotation %q at workload", AnnotationInject)
	case slices.Contains(on, namespace) && pod == "disabled":
		return fmt.Sprintf("pod has the annotation \"%s:%s\"", AnnotationInject, "disabled")
	case slices.Contains(on, namespace), slices.Contains(on, pod):
		return ""
	}
	return fmt.Sprintf("neither the namespace nor the pod have the annotation \"%s:%s\"", AnnotationInject, "enabled")
}

// hasSidecar is HasExistingSidecars of linkerd2 pkg/healthcheck/sidecar.go.
func hasSidecar(spec *corev1.PodSpec) bool {
	for _, c := range spec.Containers {
		if c.Name == ProxyContainer || c.Name == "istio-proxy" {
			return true
		}
	}
	for _, c := range spec.InitContainers {
		if slices.Contains([]string{"linkerd-init", "linkerd-network-validator", ProxyContainer, "istio-init"}, c.Name) {
			return true
		}
	}
	return false
}

// setting returns what a config annotation says: the pod's, or else the
// namespace's.
func setting(pod *corev1.Pod, namespace map[string]string, names ...string) (string, bool) {
	for _, from := range []map[string]string{pod.Annotations, namespace} {
		for _, name := range names {
			if v, ok := from[name]; ok {
				return v, true
			}
		}
	}
	return "", false
}
