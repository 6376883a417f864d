package linkerdtest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// injection says what is added to a pod: linkerd2 charts/patch, with the proxy of
// charts/partials/templates/_proxy.tpl as far as it matters to trust.
func (i *Injector) injection(pod *corev1.Pod, namespace map[string]string, v *values, roots []byte, kind, name string) (*Injection, error) {
	in := &Injection{
		Labels: map[string]string{labelControlPlane: i.cfg.Namespace, labelWorkload: pod.Namespace},
		Annotations: map[string]string{
			annotationCreatedBy:    "linkerd/proxy-injector " + v.LinkerdVersion,
			annotationProxyVersion: v.Proxy.Image.Version,
		},
		Native: v.Proxy.NativeSidecar, First: v.Proxy.Await,
	}
	if v.Proxy.Image.Version == "" {
		in.Annotations[annotationProxyVersion] = v.LinkerdVersion
	}
	if i.cfg.Release.podTrustHash() {
		// Over the file's very bytes (pkg/inject/inject.go, injectObjectMeta).
		sum := sha256.Sum256(roots)
		in.Annotations[annotationTrustHash] = hex.EncodeToString(sum[:])
	}
	if kind != "" {
		in.Labels[labelProxy+strings.ToLower(kind)] = name
	}
	// Settings of the namespace go over to the pod (AppendNamespaceAnnotations).
	for k, value := range namespace {
		if _, ok := pod.Annotations[k]; !ok && (strings.HasPrefix(k, configPrefix) || k == AnnotationInject) {
			in.Annotations[k] = value
		}
	}
	if s, ok := setting(pod, namespace, configPrefix+"proxy-enable-native-sidecar",
		"config.beta.linkerd.io/proxy-enable-native-sidecar", "config.alpha.linkerd.io/proxy-enable-native-sidecar"); ok {
		if b, err := strconv.ParseBool(s); err == nil {
			in.Native = b
		}
	}
	if s, ok := setting(pod, namespace, configPrefix+"proxy-await"); ok {
		in.First = s == "enabled"
	}
	extra := v.Proxy.AdditionalEnv
	if s, ok := setting(pod, namespace, configPrefix+"proxy-additional-env"); ok {
		if err := json.Unmarshal([]byte(s), &extra); err != nil {
			return nil, err
		}
	}
	image := v.Proxy.Image.Name
	if image == "" {
		image = "cr.l5d.io/linkerd/proxy"
	}
	image += ":" + in.Annotations[annotationProxyVersion]
	if pod.Annotations[configPrefix+"cni-enabled"] != "true" {
		in.Init = &corev1.Container{
			Name: "linkerd-init", Image: image, Command: []string{"/usr/lib/linkerd/linkerd2-proxy-init"},
			Args: []string{"--incoming-proxy-port", InboundPort, "--outgoing-proxy-port", "4140", "--proxy-uid", "2102"},
		}
	}
	in.Sidecar = corev1.Container{
		Name: ProxyContainer, Image: image, Env: append(i.env(v, roots), extra...),
		Ports: []corev1.ContainerPort{{Name: "linkerd-proxy", ContainerPort: 4143}, {Name: "linkerd-admin", ContainerPort: 4191}},
		ReadinessProbe: &corev1.Probe{
			InitialDelaySeconds: 2, ProbeHandler: probeOf("/ready"),
		},
		LivenessProbe: &corev1.Probe{
			InitialDelaySeconds: 10, ProbeHandler: probeOf("/live"),
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: volumeEndEntity, MountPath: "/var/run/linkerd/identity/end-entity"},
			{Name: volumeToken, MountPath: "/var/run/secrets/tokens"},
		},
	}
	if in.Native {
		always := corev1.ContainerRestartPolicyAlways
		in.Sidecar.RestartPolicy = &always
		in.Sidecar.StartupProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 120, ProbeHandler: probeOf("/ready")}
	} else if in.First {
		in.Sidecar.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{
			Command: []string{"/usr/lib/linkerd/linkerd-await", "--timeout=2m", "--port=4191"},
		}}}
	}
	expiration := int64(86400)
	in.Volumes = []corev1.Volume{
		{Name: volumeEndEntity, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		{Name: volumeToken, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
			ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: TokenAudience, ExpirationSeconds: &expiration, Path: volumeToken},
		}}}}},
	}
	return in, nil
}

// TokenAudience is whom the tokens are for that proxies show to identity.
const TokenAudience = "identity.l5d.io"

const (
	volumeEndEntity = "linkerd-identity-end-entity"
	volumeToken     = "linkerd-identity-token"
)

// env is the sidecar's environment. The anchors are a literal: the text of the
// file, trimmed, and one newline.
func (i *Injector) env(v *values, roots []byte) []corev1.EnvVar {
	domain := v.IdentityTrustDomain
	if domain == "" {
		domain = v.ClusterDomain
	}
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	ns := i.cfg.Namespace
	return []corev1.EnvVar{
		field("_pod_name", "metadata.name"),
		field("_pod_ns", "metadata.namespace"),
		field("_pod_uid", "metadata.uid"),
		field("_pod_ip", "status.podIP"),
		field("_pod_nodeName", "spec.nodeName"),
		{Name: "_pod_containerName", Value: ProxyContainer},
		{Name: "LINKERD2_PROXY_ADMIN_LISTEN_ADDR", Value: "0.0.0.0:" + AdminPort},
		{Name: "LINKERD2_PROXY_INBOUND_LISTEN_ADDR", Value: "0.0.0.0:" + InboundPort},
		field("_pod_sa", "spec.serviceAccountName"),
		{Name: "_l5d_ns", Value: ns},
		{Name: "_l5d_trustdomain", Value: domain},
		{Name: "LINKERD2_PROXY_IDENTITY_DIR", Value: "/var/run/linkerd/identity/end-entity"},
		{Name: EnvTrustAnchors, Value: strings.TrimSpace(string(roots)) + "\n"},
		{Name: EnvTokenFile, Value: "/var/run/secrets/tokens/linkerd-identity-token"},
		{Name: EnvIdentityAddr, Value: fmt.Sprintf("linkerd-identity-headless.%s.svc.%s.:8080", ns, v.ClusterDomain)},
		{Name: EnvLocalName, Value: serviceIdentity("$(_pod_sa)", "$(_pod_ns)", ns, domain)},
		{Name: EnvIdentityName, Value: serviceIdentity("linkerd-identity", ns, ns, domain)},
		{Name: "LINKERD2_PROXY_DESTINATION_SVC_NAME", Value: serviceIdentity("linkerd-destination", ns, ns, domain)},
		{Name: "LINKERD2_PROXY_POLICY_SVC_NAME", Value: serviceIdentity("linkerd-destination", ns, ns, domain)},
	}
}

func probeOf(path string) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(4191)}}
}

// operation is one of an RFC 6902 patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patch adds all of it to the pod, making parents that are not there.
func (in *Injection) patch(pod *corev1.Pod) []operation {
	var ops []operation
	add := func(path string, value any) { ops = append(ops, operation{"add", path, value}) }
	into := func(path string, have int, entries map[string]string) {
		if have == 0 {
			add(path, map[string]string{})
		}
		for _, k := range slices.Sorted(maps.Keys(entries)) {
			add(path+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(k), entries[k])
		}
	}
	into("/metadata/annotations", len(pod.Annotations), in.Annotations)
	into("/metadata/labels", len(pod.Labels), in.Labels)
	if len(pod.Spec.Volumes) == 0 {
		add("/spec/volumes", []any{})
	}
	for _, v := range in.Volumes {
		add("/spec/volumes/-", v)
	}
	if len(pod.Spec.InitContainers) == 0 {
		add("/spec/initContainers", []any{})
	}
	if in.Native { // ahead of the pod's own, which may need the network
		add("/spec/initContainers/0", in.Sidecar)
	}
	if in.Init != nil {
		at := "/spec/initContainers/-"
		if in.Native {
			at = "/spec/initContainers/0"
		}
		add(at, in.Init)
	}
	switch {
	case in.Native:
	case in.First:
		add("/spec/containers/0", in.Sidecar)
	default:
		add("/spec/containers/-", in.Sidecar)
	}
	return ops
}
