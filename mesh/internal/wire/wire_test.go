package wire

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPodsAreReadAsClientGoReadsThem(t *testing.T) {
	list := podList(t, 40, 2, 2)
	list.Items[3].Spec.HostNetwork = true
	gone := metav1.NewTime(now)
	list.Items[4].DeletionTimestamp = &gone
	data := protobufOf(t, list)
	pods, meta := readPods(t, decoder(), data)
	assert.Equal(t, ListMeta{ResourceVersion: "12345", Continue: "more"}, meta)
	require.Len(t, pods, len(list.Items))
	for i, got := range pods {
		want := list.Items[i]
		assert.Equal(t, want.Name, got.Name)
		assert.Equal(t, want.Namespace, got.Namespace)
		assert.Equal(t, string(want.UID), got.UID)
		assert.Equal(t, want.ResourceVersion, got.ResourceVersion)
		assert.True(t, want.CreationTimestamp.Time.Equal(got.Created))
		assert.Equal(t, want.DeletionTimestamp != nil, !got.Deleted.IsZero())
		assert.Equal(t, &Owner{"apps/v1", "ReplicaSet", want.OwnerReferences[0].Name, string(want.OwnerReferences[0].UID), true}, got.Controller())
		assert.Equal(t, map[string]string{"linkerd.io/control-plane-ns": "linkerd"}, got.Labels)
		assert.Equal(t, "edge-26.8.3", got.Annotations["linkerd.io/proxy-version"])
		assert.Len(t, got.Annotations, 2)
		assert.Equal(t, []string{want.Spec.NodeName, "web", "Running", want.Status.PodIP}, []string{got.Node, got.ServiceAccount, got.Phase, got.IP})
		assert.Equal(t, want.Spec.HostNetwork, got.HostNetwork)
		require.Len(t, got.Containers, 1)
		c := got.Containers[0]
		assert.Equal(t, "linkerd-proxy", c.Name)
		assert.True(t, c.Init && c.Always && c.Running && c.Ready)
		assert.Equal(t, 2, c.Restarts)
		assert.True(t, c.StartedAt.Equal(now.Add(-time.Hour)))
		require.Len(t, c.Env, 2)
		env := want.Spec.InitContainers[1].Env
		assert.Equal(t, EnvVar{Name: anchorsEnv, Value: env[len(env)-3].Value}, c.Env[0])
	}
	first, third := pods[0].Containers[0].Env[0].Value, pods[2].Containers[0].Env[0].Value
	assert.Same(t, unsafe.StringData(first), unsafe.StringData(third), "pods share one copy of their bundle")
}

func TestReferencesArgumentsAndRepeatedVariablesAreKept(t *testing.T) {
	pod := corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Name: "identity", Args: []string{"identity", "-identity-scheme=linkerd.io/tls"}},
		{Name: "linkerd-proxy", Env: []corev1.EnvVar{
			{Name: anchorsEnv, Value: "a"},
			{Name: anchorsEnv, ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "roots"}, Key: "ca-bundle.crt"}}},
			{Name: nameEnv, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		}},
	}}}
	pods, _ := readPods(t, decoder(), protobufOf(t, &corev1.PodList{Items: []corev1.Pod{pod}}))
	require.Len(t, pods, 1)
	require.Len(t, pods[0].Containers, 2)
	assert.Equal(t, []string{"identity", "-identity-scheme=linkerd.io/tls"}, pods[0].Containers[0].Args)
	assert.Equal(t, []EnvVar{
		{Name: anchorsEnv, Value: "a"},
		{Name: anchorsEnv, Ref: &KeyRef{"ConfigMap", "roots", "ca-bundle.crt"}},
		{Name: nameEnv, Ref: &KeyRef{Kind: "other"}},
	}, pods[0].Containers[1].Env)
	assert.Nil(t, pods[0].Controller())
}

func TestWorkloadsOfEveryKind(t *testing.T) {
	three, zero, yes, two := int32(3), int32(0), true, int32(2)
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"linkerd.io/control-plane-ns": "linkerd", "app": "x"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "linkerd-proxy", Env: []corev1.EnvVar{{Name: anchorsEnv, Value: "a"}}}}},
	}
	meta := metav1.ObjectMeta{Name: "n", Namespace: "ns", UID: "u"}
	one := func(kind string, data []byte) Template {
		var out []Template
		_, err := ReadList(bytes.NewReader(data), func(b []byte) error {
			w, err := decoder().Workload(kind, b)
			out = append(out, w)
			return err
		})
		require.NoError(t, err)
		require.Len(t, out, 1)
		assert.Equal(t, "n", out[0].Name)
		assert.Equal(t, "ns", out[0].Namespace)
		return out[0]
	}
	for kind, c := range map[string]struct {
		data []byte
		want Template
	}{
		"Deployment": {protobufOf(t, &appsv1.DeploymentList{Items: []appsv1.Deployment{{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: &zero, Paused: true, Template: template}}}}),
			Template{Replicas: 0, HasReplicas: true, Paused: true}},
		"StatefulSet": {protobufOf(t, &appsv1.StatefulSetList{Items: []appsv1.StatefulSet{{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: &three, Template: template,
			UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: &two}}}}}}),
			Template{Replicas: 3, HasReplicas: true, Partition: 2}},
		"DaemonSet": {protobufOf(t, &appsv1.DaemonSetList{Items: []appsv1.DaemonSet{{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Template: template,
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: "OnDelete"}}}}}),
			Template{Replicas: 1, OnDelete: true}},
		"ReplicaSet": {protobufOf(t, &appsv1.ReplicaSetList{Items: []appsv1.ReplicaSet{{ObjectMeta: meta, Spec: appsv1.ReplicaSetSpec{Template: template}}}}),
			Template{Replicas: 1, HasReplicas: true}},
		"Job": {protobufOf(t, &batchv1.JobList{Items: []batchv1.Job{{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: template}}}}),
			Template{Replicas: 1}},
		"CronJob": {protobufOf(t, &batchv1.CronJobList{Items: []batchv1.CronJob{{ObjectMeta: meta, Spec: batchv1.CronJobSpec{Suspend: &yes,
			JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}}}}),
			Template{Replicas: 1, Paused: true}},
	} {
		t.Run(kind, func(t *testing.T) {
			got := one(kind, c.data)
			require.Len(t, got.Containers, 1)
			assert.Equal(t, "a", got.Containers[0].Env[0].Value)
			assert.Equal(t, map[string]string{"linkerd.io/control-plane-ns": "linkerd"}, got.PodLabels)
			got.Meta, got.PodSpec, got.PodLabels, got.PodAnnotations = Meta{}, PodSpec{}, nil, nil
			assert.Equal(t, c.want, got)
		})
	}
}

func TestAListThatIsCutOffIsAnError(t *testing.T) {
	data := protobufOf(t, podList(t, 3, 1, 1))
	for n := range len(data) {
		if n > 400 && n%997 != 0 && n < len(data)-64 {
			continue
		}
		_, err := ReadList(bytes.NewReader(data[:n]), func(b []byte) error { _, err := decoder().Pod(b); return err })
		// The envelope ends with fields of no length to speak of; a cut between
		// whole fields behind the list loses nothing.
		if err == nil {
			assert.Greater(t, n, len(data)-16, "cut at %d of %d", n, len(data))
		}
	}
	pods, _ := readPodsFrom(t, iotest.OneByteReader(bytes.NewReader(data)))
	assert.Len(t, pods, 3)
}

func readPodsFrom(t *testing.T, r io.Reader) (pods []Pod, m ListMeta) {
	t.Helper()
	d := decoder()
	m, err := ReadList(r, func(b []byte) error { p, err := d.Pod(b); pods = append(pods, p); return err })
	require.NoError(t, err)
	return pods, m
}

func TestWhatIsNoListIsRefused(t *testing.T) {
	for name, in := range map[string]string{
		"JSON":         `{"kind":"PodList"}`,
		"nothing":      "",
		"endless item": "k8s\x00\x12\x7f\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
		"huge item":    "k8s\x00\x12\xff\xff\xff\xff\xff\x0f\x12\xff\xff\xff\xff\x0f",
		"field zero":   "k8s\x00\x00",
		"a group":      "k8s\x00\x0b",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadList(bytes.NewReader([]byte(in)), func([]byte) error { return nil })
			assert.Error(t, err)
		})
	}
}

func FuzzReadList(f *testing.F) {
	f.Add(protobufOf(f, podList(f, 2, 1, 1)))
	f.Add([]byte("k8s\x00\x12\x02\x12\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := decoder()
		_, _ = ReadList(bytes.NewReader(data), func(b []byte) error {
			if _, err := d.Pod(b); err != nil {
				return err
			}
			for kind := range shapes {
				if _, err := d.Workload(kind, b); err != nil {
					return err
				}
			}
			_, err := d.Metadata(b)
			return err
		})
	})
}
