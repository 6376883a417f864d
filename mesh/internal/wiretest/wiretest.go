// Package wiretest makes what an API server sends, for tests and benchmarks:
// meshed pods as Linkerd's injector and a kubelet leave them, encoded as the API
// server's protobuf. Only tests import it: it brings client-go's types along.
package wiretest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

// Now is the moment at which the pods are looked at.
var Now = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

// PodsPerWorkload is how many pods share an owner.
const PodsPerWorkload = 17

// The variables of the proxy that carry its anchors and its name.
const (
	AnchorsEnv = "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"
	NameEnv    = "LINKERD2_PROXY_IDENTITY_LOCAL_NAME"
)

// Injected returns pod number i as Linkerd's injector and a kubelet leave it: two
// containers, the proxy with its sixty variables, probes, volumes, conditions
// and managed fields.
func Injected(i int, anchors string) corev1.Pod {
	t := metav1.NewTime(Now.Add(-time.Hour))
	deploy := i / PodsPerWorkload
	probe := func(path string, port int) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt(port), Scheme: "HTTP"}},
			InitialDelaySeconds: 10, TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3}
	}
	env := []corev1.EnvVar{}
	for _, n := range []string{"_pod_name", "_pod_ns", "_pod_uid", "_pod_nodeName", "_pod_sa"} {
		env = append(env, corev1.EnvVar{Name: n, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"}}})
	}
	for j := range 48 {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("LINKERD2_PROXY_SETTING_NUMBER_%d", j), Value: strings.Repeat("value,", j%8+1)})
	}
	env = append(env,
		corev1.EnvVar{Name: AnchorsEnv, Value: anchors},
		corev1.EnvVar{Name: NameEnv, Value: "$(_pod_sa).$(_pod_ns).serviceaccount.identity.linkerd.cluster.local"},
		corev1.EnvVar{Name: "LINKERD2_PROXY_IDENTITY_SVC_ADDR", Value: "linkerd-identity-headless.linkerd.svc.cluster.local.:8080"},
	)
	fieldsV1 := metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{".":{},` + strings.Repeat(`"f:app.kubernetes.io/some-label":{},`, 8) +
		`"f:x":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{` + strings.Repeat(`"f:terminationMessagePath":{},"f:terminationMessagePolicy":{},`, 20) + `".":{}}}}}`)
	yes := true
	replicaSet := fmt.Sprintf("web-%d-7d4b9c5f6d", deploy)
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: t}}
	conditions := []corev1.PodCondition{}
	for _, c := range []corev1.PodConditionType{"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"} {
		conditions = append(conditions, corev1.PodCondition{Type: c, Status: "True", LastTransitionTime: t})
	}
	image := "cr.l5d.io/linkerd/proxy:edge-26.8.3"
	id := "cr.l5d.io/linkerd/proxy@sha256:" + strings.Repeat("0123456789abcdef", 4)
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s-%05x", replicaSet, i), GenerateName: replicaSet + "-", Namespace: fmt.Sprintf("team-%d", i%40),
			UID: types.UID(fmt.Sprintf("6f1d2c3b-0000-4000-8000-%012d", i)), ResourceVersion: fmt.Sprint(100000 + i), CreationTimestamp: t,
			Labels: map[string]string{"app": "web", "pod-template-hash": "7d4b9c5f6d", "linkerd.io/control-plane-ns": "linkerd",
				"linkerd.io/proxy-deployment": fmt.Sprintf("web-%d", deploy), "linkerd.io/workload-ns": fmt.Sprintf("team-%d", i%40)},
			Annotations: map[string]string{"linkerd.io/created-by": "linkerd/proxy-injector edge-26.8.3", "linkerd.io/inject": "enabled",
				"linkerd.io/proxy-version": "edge-26.8.3", "linkerd.io/trust-root-sha256": strings.Repeat("ab", 32), "viz.linkerd.io/tap-enabled": "true"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: replicaSet,
				UID: types.UID(fmt.Sprintf("aaaaaaaa-0000-4000-8000-%012d", deploy)), Controller: &yes, BlockOwnerDeletion: &yes}},
			ManagedFields: []metav1.ManagedFieldsEntry{
				{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", Time: &t, FieldsType: "FieldsV1", FieldsV1: fieldsV1},
				{Manager: "kubelet", Operation: "Update", APIVersion: "v1", Time: &t, FieldsType: "FieldsV1", FieldsV1: fieldsV1, Subresource: "status"},
			},
		},
		Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{
				{Name: "kube-api-access", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
					{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}}}}}}},
				{Name: "linkerd-identity-end-entity", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: "Memory"}}},
			},
			Containers: []corev1.Container{
				{Name: "web", Image: "registry.example.com/team/web:1.2.3", Env: []corev1.EnvVar{{Name: "PORT", Value: "80"}, {Name: "DB", Value: "postgres"}},
					Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("128Mi")}},
					Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: 80, Protocol: "TCP"}}, LivenessProbe: probe("/healthz", 80), ReadinessProbe: probe("/readyz", 80),
					VolumeMounts: []corev1.VolumeMount{{Name: "kube-api-access", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true}}},
			},
			InitContainers: []corev1.Container{
				{Name: "linkerd-init", Image: image, Args: []string{"--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140", "--proxy-uid", "2102"}},
				{Name: "linkerd-proxy", Image: image, Env: env, RestartPolicy: &[]corev1.ContainerRestartPolicy{"Always"}[0],
					Ports:         []corev1.ContainerPort{{Name: "linkerd-proxy", ContainerPort: 4143, Protocol: "TCP"}, {Name: "linkerd-admin", ContainerPort: 4191, Protocol: "TCP"}},
					LivenessProbe: probe("/live", 4191), ReadinessProbe: probe("/ready", 4191)},
			},
			RestartPolicy: "Always", DNSPolicy: "ClusterFirst", ServiceAccountName: "web", DeprecatedServiceAccount: "web", NodeName: fmt.Sprintf("node-%d", i%100),
			SchedulerName: "default-scheduler",
			Tolerations:   []corev1.Toleration{{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute"}, {Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute"}},
		},
		Status: corev1.PodStatus{
			Phase: "Running", Conditions: conditions, HostIP: "10.0.0.1", PodIP: fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255), StartTime: &t, QOSClass: "Burstable",
			ContainerStatuses: []corev1.ContainerStatus{{Name: "web", Ready: true, Image: "web", ImageID: id, ContainerID: "containerd://" + strings.Repeat("12", 32), State: running, Started: &yes}},
			InitContainerStatuses: []corev1.ContainerStatus{
				{Name: "linkerd-init", Ready: true, Image: image, ImageID: id},
				{Name: "linkerd-proxy", Ready: true, RestartCount: 2, Image: image, ImageID: id, State: running, Started: &yes}},
		},
	}
}

// Encode encodes an object as the API server does. A mistake panics.
func Encode(o runtime.Object) []byte {
	gvks, _, err := scheme.Scheme.ObjectKinds(o)
	if err != nil {
		panic("wiretest: " + err.Error())
	}
	o.GetObjectKind().SetGroupVersionKind(gvks[0])
	var buf bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(o, &buf); err != nil {
		panic("wiretest: " + err.Error())
	}
	return buf.Bytes()
}
