package linkerd

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
)

type podType = corev1.Pod

// classes renders the classes of a survey.
func classes(s *mesh.Survey) (out []string) {
	for _, c := range s.Classes {
		out = append(out, fmt.Sprintf("%s %s %s %d+%d", c.Installation, c.Release, names(c.Trust), c.Peers, c.Latent))
	}
	slices.Sort(out)
	return out
}

func TestPeersCollapseIntoClasses(t *testing.T) {
	root, both, other := certs(t, "root"), certs(t, "root", "root2"), certs(t, "root2", "root")
	f := newFake(t)
	f.release("linkerd-2.18")
	for i := range 5 {
		f.addObject(meshedPod(fmt.Sprint("old-", i), "apps", root))
	}
	f.addObject(meshedPod("both", "apps", both))
	f.addObject(meshedPod("both-turned", "apps", "# another order\n"+other))
	f.addObject(meshedPod("newer", "apps", root, func(p *podType) { p.Annotations[annotationProxyVersion] = "edge-26.8.3" }))
	f.addObject(meshedPod("twice", "apps", root, func(p *podType) {
		p.Spec.Containers[1].Env = append(p.Spec.Containers[1].Env, corev1.EnvVar{Name: layout.ProxyAnchorsEnv, Value: both})
	}))
	f.addObject(meshedPod("native", "apps", root, func(p *podType) {
		p.Spec.InitContainers, p.Spec.Containers = p.Spec.Containers[1:], p.Spec.Containers[:1]
		p.Status.InitContainerStatuses, p.Status.ContainerStatuses = p.Status.ContainerStatuses, nil
	}))
	f.addObject(meshedPod("done", "apps", root, func(p *podType) { p.Status.Phase = "Succeeded" }))
	f.addObject(meshedPod("pending", "apps", root, func(p *podType) { p.Status = corev1.PodStatus{Phase: "Pending"} }))
	f.addObject(meshedPod("ending", "apps", root, func(p *podType) { at := metav1.NewTime(now); p.DeletionTimestamp = &at }))
	f.addObject(meshedPod("no-proxy", "apps", root, func(p *podType) { p.Spec.Containers = p.Spec.Containers[:1] }))
	f.addObject(meshedPod("no-anchors", "apps", root, func(p *podType) { p.Spec.Containers[1].Env = nil }))
	f.addObject(meshedPod("expanded", "apps", "$(OTHER)"))
	f.addObject(meshedPod("elsewhere", "apps", "", func(p *podType) { fromRoots(p); p.Spec.Containers[1].Env[0].ValueFrom.ConfigMapKeyRef.Name = "mine" }))
	f.addObject(meshedPod("broken", "apps", "nonsense"))
	s := f.survey(Options{})
	assert.Equal(t, []string{
		"linkerd edge-25.4.4  1+0", // the one with nonsense: it loads nothing
		"linkerd edge-25.4.4 ? 1+0", "linkerd edge-25.4.4 ? 1+0", "linkerd edge-25.4.4 ? 1+0", "linkerd edge-25.4.4 ? 1+0",
		"linkerd edge-25.4.4 root 8+0", "linkerd edge-25.4.4 root+root2 3+0", "linkerd edge-26.8.3 root 1+0",
	}, classes(s))
	assert.Equal(t, 1, s.Finished)
	byName := map[string]mesh.Peer{}
	for _, p := range s.Peers {
		byName[p.Name] = p
		assert.NotNil(t, p.Class, p.Name)
		assert.NotNil(t, p.Workload, p.Name)
		if p.Class.Trust == nil {
			assert.NotEmpty(t, p.Class.TrustWhy, p.Name)
			assert.Equal(t, mesh.EvidenceNone, p.TrustEvidence)
		} else {
			assert.Equal(t, mesh.EvidenceSpec, p.TrustEvidence)
		}
	}
	assert.Error(t, byName["broken"].Class.Trust.Err)
	assert.True(t, byName["native"].Proxy.Native)
	assert.True(t, byName["native"].Proxy.Running)
	assert.False(t, byName["pending"].Proxy.Running)
	assert.True(t, byName["ending"].Deleting)
	web := byName["old-0"]
	assert.Equal(t, "sa.apps.serviceaccount.identity.linkerd.cluster.local", web.TLSName)
	assert.Equal(t, []string{"node-0", "10.0.0.7", "sa"}, []string{web.Node, web.IP, web.ServiceAccount})
}

func TestControlPlanePodsTrustWhatStoodInTheConfigMapWhenTheyStarted(t *testing.T) {
	changed := now.Add(-30 * time.Minute)
	setup := func(managed bool) *fakeAPI {
		f := newFake(t)
		f.release("linkerd-2.18")
		if managed {
			at := metav1.NewTime(changed)
			cm := f.objects["/api/v1/namespaces/linkerd/configmaps/linkerd-identity-trust-roots"]
			cm["metadata"].(map[string]any)["managedFields"] = []any{
				map[string]any{"manager": "helm", "time": changed.Add(-time.Hour).Format(time.RFC3339), "fieldsV1": map[string]any{"f:data": map[string]any{".": map[string]any{}, "f:ca-bundle.crt": map[string]any{}}}},
				map[string]any{"manager": "x", "time": at.UTC().Format(time.RFC3339), "fieldsV1": map[string]any{"f:data": map[string]any{"f:ca-bundle.crt": map[string]any{}}}},
				map[string]any{"manager": "labels", "time": now.Format(time.RFC3339), "fieldsV1": map[string]any{"f:metadata": map[string]any{"f:labels": map[string]any{}}}},
			}
		}
		return f
	}
	for name, c := range map[string]struct {
		started time.Time
		managed bool
		trust   string
		why     string
	}{
		"well after":          {changed.Add(3 * time.Minute), true, "root", ""},
		"just after":          {changed.Add(time.Minute), true, "?", "either text"},
		"just before":         {changed.Add(-20 * time.Second), true, "?", "either text"},
		"well before":         {changed.Add(-time.Hour), true, "?", "before"},
		"nobody knows when":   {now.Add(-time.Minute), false, "?", "not known"},
		"it does not run yet": {time.Time{}, true, "?", "does not run yet"},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(c.managed)
			f.addObject(meshedPod("identity", "linkerd", "", fromRoots, func(p *podType) {
				p.Labels[labelComponent] = "identity"
				p.Status.ContainerStatuses[0].State.Running.StartedAt = metav1.NewTime(c.started)
				if c.started.IsZero() {
					p.Status.ContainerStatuses[0].State.Running = nil
				}
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "identity", Args: []string{"identity",
					"-identity-issuance-lifetime=48h0m0s", "-identity-clock-skew-allowance=10s", "-identity-scheme=linkerd.io/tls"}})
				p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "identity", RestartCount: 4,
					State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now)}}})
			}))
			s := f.survey(Options{})
			require.Len(t, s.Peers, 1)
			p := s.Peers[0]
			assert.Equal(t, c.trust, names(p.Class.Trust))
			assert.Contains(t, p.Class.TrustWhy, c.why)
			if c.trust != "?" {
				assert.Equal(t, mesh.EvidenceInferred, p.TrustEvidence)
			}
			require.NotNil(t, p.Identity)
			assert.Equal(t, 4, p.Identity.Restarts)
			if c.managed {
				assert.Equal(t, "root", names(p.Identity.Roots), "its own container started after the proxy's")
				assert.Equal(t, mesh.EvidenceInferred, p.Identity.RootsEvidence)
			} else {
				assert.NotEmpty(t, p.Identity.RootsWhy)
			}
			assert.Equal(t, "linkerd.io/tls", p.Identity.Scheme)
			i := s.Installations[0]
			assert.Equal(t, 48*time.Hour, i.IssuanceLifetime, "the longest in force counts")
			assert.Equal(t, 20*time.Second, i.ClockSkew)
			if c.managed {
				assert.Equal(t, changed, i.CopiesFor(mesh.NewPods)[0].ChangedAt.UTC())
			}
		})
	}
}

func TestPodsOfAFreshInstallationTrustWhatTheConfigMapWasMadeWith(t *testing.T) {
	installed := now.Add(-24 * time.Hour)
	for name, c := range map[string]struct {
		edit func(*fakeAPI)
		want string
	}{
		"as installed": {func(*fakeAPI) {}, "root"},
		"changed in the minute of its creation": {func(f *fakeAPI) {
			rootsMeta(f)["managedFields"].([]any)[0].(map[string]any)["time"] = installed.Add(10 * time.Second).Format(time.RFC3339)
		}, "?"},
		"made anew, later than its control plane": {func(f *fakeAPI) {
			config := f.objects["/api/v1/namespaces/linkerd/configmaps/linkerd-config"]["metadata"].(map[string]any)
			config["creationTimestamp"] = installed.Add(-time.Hour).Format(time.RFC3339)
		}, "?"},
		"a pod is older": {func(f *fakeAPI) {
			f.addObject(meshedPod("left-over", "apps", certs(t, "root2"), func(p *podType) {
				p.CreationTimestamp = metav1.NewTime(installed.Add(-time.Second))
			}))
		}, "?"},
		"not every pod was seen": {func(f *fakeAPI) {
			for i := range 6 {
				f.addObject(meshedPod(fmt.Sprint("web-", i), "apps", certs(t, "root2")))
			}
			f.fault = func(r *http.Request) (int, string) {
				if strings.HasSuffix(r.URL.Path, "/pods") && r.URL.Query().Get("continue") != "" {
					return http.StatusForbidden, "no more"
				}
				return 0, ""
			}
		}, "?"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.release("linkerd-2.18")
			rootsMeta(f)["managedFields"] = []any{map[string]any{"manager": "helm", "time": installed.Format(time.RFC3339),
				"fieldsV1": map[string]any{"f:data": map[string]any{"f:ca-bundle.crt": map[string]any{}}}}}
			f.addObject(meshedPod("identity", "linkerd", "", fromRoots, func(p *podType) {
				p.Labels[labelComponent] = "identity"
				p.CreationTimestamp = metav1.NewTime(installed)
				// By a node's clock that is behind.
				started := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(installed.Add(-5 * time.Second))}}
				p.Status.ContainerStatuses[0].State = started
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "identity"})
				p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "identity", State: started})
			}))
			c.edit(f)
			s := f.survey(Options{})
			p := s.Peers[0]
			require.NotNil(t, p.Identity)
			assert.Equal(t, c.want, names(p.Class.Trust), p.Class.TrustWhy)
			assert.Equal(t, c.want, names(p.Identity.Roots), p.Identity.RootsWhy)
			if c.want != "?" {
				assert.Equal(t, mesh.EvidenceInferred, p.TrustEvidence)
				assert.Equal(t, mesh.EvidenceInferred, p.Identity.RootsEvidence)
			}
		})
	}
}

func rootsMeta(f *fakeAPI) map[string]any {
	return f.objects["/api/v1/namespaces/linkerd/configmaps/linkerd-identity-trust-roots"]["metadata"].(map[string]any)
}

func TestWhatItTakesToRestartEveryKindOfWorkload(t *testing.T) {
	root, root2 := certs(t, "root"), certs(t, "root2")
	f := newFake(t)
	f.release("linkerd-2.18")
	yes, zero, two, partition := true, int32(0), int32(2), int32(1)
	meta := func(name string, edit ...func(*metav1.ObjectMeta)) metav1.ObjectMeta {
		m := metav1.ObjectMeta{Name: name, Namespace: "apps", UID: types.UID(name)}
		for _, e := range edit {
			e(&m)
		}
		return m
	}
	controlled := func(version, kind, name string) func(*metav1.ObjectMeta) {
		return func(m *metav1.ObjectMeta) {
			m.OwnerReferences = []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: name, UID: types.UID(name), Controller: &yes}}
		}
	}
	literal := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{labelControlPlane: "linkerd"}, Annotations: map[string]string{annotationProxyVersion: "edge-25.4.4"}},
		Spec: meshedPod("x", "x", root2).Spec}
	plain := corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}}
	deployment := func(name string, edit ...func(*appsv1.Deployment)) runtime.Object {
		d := &appsv1.Deployment{ObjectMeta: meta(name), Spec: appsv1.DeploymentSpec{Replicas: &two, Template: plain}}
		for _, e := range edit {
			e(d)
		}
		f.addObject(&appsv1.ReplicaSet{ObjectMeta: meta(name+"-rs", controlled("apps/v1", "Deployment", name))})
		f.addObject(meshedPod(name+"-pod", "apps", root, ownedBy("apps/v1", "ReplicaSet", name+"-rs", name+"-rs")))
		return d
	}
	pod := func(owner, version, kind string) {
		f.addObject(meshedPod(owner+"-pod", "apps", root, ownedBy(version, kind, owner, owner)))
	}
	f.addObject(deployment("plain"))
	f.addObject(deployment("paused", func(d *appsv1.Deployment) { d.Spec.Paused = true }))
	f.addObject(deployment("manual", func(d *appsv1.Deployment) { d.Spec.Template = literal }))
	f.addObject(deployment("operated", func(d *appsv1.Deployment) { controlled("example.com/v1", "App", "boss")(&d.ObjectMeta) }))
	f.addObject(&appsv1.Deployment{ObjectMeta: meta("asleep"), Spec: appsv1.DeploymentSpec{Replicas: &zero, Template: literal}})
	f.addObject(&appsv1.Deployment{ObjectMeta: meta("unmeshed"), Spec: appsv1.DeploymentSpec{Template: plain}})

	f.addObject(&appsv1.StatefulSet{ObjectMeta: meta("sts"), Spec: appsv1.StatefulSetSpec{Replicas: &two, Template: plain}})
	f.addObject(&appsv1.StatefulSet{ObjectMeta: meta("sts-ondelete"), Spec: appsv1.StatefulSetSpec{Template: plain, UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: "OnDelete"}}})
	f.addObject(&appsv1.StatefulSet{ObjectMeta: meta("sts-partition"), Spec: appsv1.StatefulSetSpec{Template: plain,
		UpdateStrategy: appsv1.StatefulSetUpdateStrategy{Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: &partition}}}})
	f.addObject(&appsv1.DaemonSet{ObjectMeta: meta("ds"), Spec: appsv1.DaemonSetSpec{Template: plain}})
	f.addObject(&appsv1.DaemonSet{ObjectMeta: meta("ds-ondelete"), Spec: appsv1.DaemonSetSpec{Template: plain, UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: "OnDelete"}}})
	for _, name := range []string{"sts", "sts-ondelete", "sts-partition"} {
		pod(name, "apps/v1", "StatefulSet")
	}
	pod("ds", "apps/v1", "DaemonSet")
	pod("ds-ondelete", "apps/v1", "DaemonSet")
	f.addObject(&appsv1.ReplicaSet{ObjectMeta: meta("rs-alone")})
	pod("rs-alone", "apps/v1", "ReplicaSet")
	f.addObject(&appsv1.ReplicaSet{ObjectMeta: meta("rollout-rs", controlled("argoproj.io/v1alpha1", "Rollout", "rollout"))})
	pod("rollout-rs", "apps/v1", "ReplicaSet")
	pod("clone", "apps.kruise.io/v1alpha1", "CloneSet")
	f.addObject(&corev1.ReplicationController{ObjectMeta: meta("rc"), Spec: corev1.ReplicationControllerSpec{Template: &plain}})
	pod("rc", "v1", "ReplicationController")
	f.addObject(&batchv1.Job{ObjectMeta: meta("job")})
	pod("job", "batch/v1", "Job")
	f.addObject(&batchv1.CronJob{ObjectMeta: meta("cron"), Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: plain}}}})
	f.addObject(&batchv1.Job{ObjectMeta: meta("cron-job", controlled("batch/v1", "CronJob", "cron"))})
	pod("cron-job", "batch/v1", "Job")
	f.addObject(&batchv1.CronJob{ObjectMeta: meta("cron-manual"), Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: literal}}}})
	f.addObject(meshedPod("bare", "apps", root))
	f.addObject(meshedPod("static", "kube-node", root, ownedBy("v1", "Node", "node-0", "node-0"), func(p *podType) { p.Annotations[annotationMirror] = "x" }))
	pod("vanished", "apps/v1", "StatefulSet")
	f.addYAML(`
apiVersion: workload.linkerd.io/v1beta1
kind: ExternalWorkload
metadata: {name: vm, namespace: apps}
spec:
  meshTLS: {identity: "spiffe://root.linkerd.cluster.local/vm", serverName: vm.cluster.local}
  workloadIPs: [{ip: 192.0.2.7}]
`)
	s := f.survey(Options{})
	var got []string
	for _, w := range s.Workloads {
		assert.True(t, w.Method == mesh.RestartRolling || w.Why != "", "%s says nothing", w)
		got = append(got, fmt.Sprintf("%s %s %s %d", w.Kind, w.Name, w.Method, len(w.Pods)))
	}
	slices.Sort(got)
	assert.Equal(t, strings.Split(strings.TrimSpace(`
CloneSet clone foreign 1
CronJob cron next-run 1
CronJob cron-manual reinject 0
DaemonSet ds rolling 1
DaemonSet ds-ondelete delete-pods 1
Deployment asleep reinject 0
Deployment linkerd-identity rolling 0
Deployment manual reinject 1
Deployment operated foreign 1
Deployment paused unpause 1
Deployment plain rolling 1
ExternalWorkload vm external 1
Job job when-done 1
Pod bare recreate 1
Pod static recreate 1
ReplicaSet rs-alone delete-pods 1
ReplicationController rc delete-pods 1
Rollout rollout foreign 1
StatefulSet sts rolling 1
StatefulSet sts-ondelete delete-pods 1
StatefulSet sts-partition partition 1
StatefulSet vanished unknown 1`), "\n"), got)
	assert.Contains(t, classes(s), "linkerd edge-25.4.4 root2 0+3", "the manual one, the one at zero and the CronJob's may come at any time")
	assert.Contains(t, classes(s), "linkerd  ? 1+0", "the virtual machine")
	vm := s.Peers[len(s.Peers)-1]
	assert.True(t, vm.External)
	assert.Equal(t, []string{"192.0.2.7", "vm.cluster.local"}, []string{vm.IP, vm.TLSName})
	for _, w := range s.Workloads {
		if w.Name == "plain" {
			assert.Equal(t, 2, w.Replicas)
		}
		if w.Name == "asleep" {
			assert.Equal(t, 0, w.Replicas)
			require.Len(t, w.Literal, 1)
		}
	}
}
