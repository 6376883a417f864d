package linkerd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/windlass-mesh/windlass/internal/testbed"
	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/mesh/internal/wiretest"
	"github.com/windlass-mesh/windlass/mesh/linkerd/testdata/soak/figures"
)

// The cluster of the soak test. Pods are spread evenly over the workloads, and
// those over the namespaces.
const (
	soakEnv         = "WINDLASS_SOAK"
	soakPods        = 10_000
	soakDeployments = 450
	soakStatefuls   = 100
	soakDaemons     = 50
	soakWorkloads   = soakDeployments + soakStatefuls + soakDaemons
	soakNamespaces  = 40
	soakOldReplicas = 2 // ReplicaSets of a Deployment's past, at zero
	soakRuns        = 5
)

// The promise: what a survey may cost, as a part of one LIST of the same pods.
const (
	soakCPU    = 1.0 / 3
	soakMemory = 1.0 / 5
)

// TestSoakTenThousandPods surveys 10,000 meshed pods in 600 workloads on a real
// API server, and beside it has client-go list the same pods by one unpaginated
// request: each in processes of their own, in turn. `make soak` runs it.
//
// The pods are written as the injector and a kubelet leave them, with sixty
// variables and a full status, bound to nodes that are not there; while that is
// done, and from then on, neither controllers nor a kubelet run. KWOK would add
// a status smaller than theirs, and a controller no more than the
// owner references: a survey reads the API and cannot tell. It can tell a pod
// of the wrong size.
func TestSoakTenThousandPods(t *testing.T) {
	if os.Getenv(soakEnv) == "" {
		t.Skip("takes minutes: make soak")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	dir := t.TempDir()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir, "./testdata/soak/survey", "./testdata/soak/podlist")
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)

	c := testbed.Start(t, 1, func(o *testbed.Options) { o.Nodes = -1 }).Clusters[0]
	require.NoError(t, c.Controllers.Stop(ctx))
	began := time.Now()
	installReal(ctx, t, c, "linkerd-2.18")
	fill(ctx, t, c)
	t.Logf("%d pods in %d workloads are there after %s", soakPods, soakWorkloads, time.Since(began).Round(time.Second))
	kubeconfig := filepath.Join(dir, "kubeconfig")
	require.NoError(t, c.WriteKubeconfig(kubeconfig, c.Config))

	gzip := []string{"gzip"}
	kinds := []*soakKind{
		{name: "windlass survey", program: "survey"},
		{name: "client-go LIST", program: "podlist"},
		{name: "windlass survey, gzip", program: "survey", args: gzip},
		{name: "client-go LIST, gzip", program: "podlist", args: gzip},
	}
	for run := range soakRuns {
		for _, k := range kinds {
			agent := fmt.Sprintf("soak-%s%s-%d", k.program, strings.Join(k.args, ""), run)
			mark, err := c.AuditMark()
			require.NoError(t, err)
			cmd := exec.CommandContext(ctx, filepath.Join(dir, k.program), append([]string{kubeconfig, agent}, k.args...)...)
			cmd.Stderr = os.Stderr
			before := serverCPU(t, c)
			out, err := cmd.Output()
			require.NoError(t, err, k.name)
			f := soakFigures{server: serverCPU(t, c) - before}
			require.NoError(t, json.Unmarshal(out, &f.Figures))
			require.Equal(t, soakPods, f.Pods, k.name)
			calls, err := c.Calls(mark, testbed.ByUserAgent(agent))
			require.NoError(t, err)
			require.EqualValues(t, f.Requests, len(calls), "%s: the audit log has %v", k.name, testbed.Count(calls, testbed.Call.String))
			for _, call := range calls {
				require.False(t, call.Writes(), "%s", call)
			}
			if k.program == "survey" {
				require.Equal(t, soakWorkloads, f.Workloads)
			}
			k.runs = append(k.runs, f)
		}
	}
	t.Logf("\n%s", soakTable(kinds))
	// Time is shown and judges nobody: this machine may be busy. Memory is what
	// the program makes of it.
	pages := int64(soakPods/500 + soakDeployments*(1+soakOldReplicas)/500)
	for i := 0; i < len(kinds); i += 2 {
		require.LessOrEqual(t, ratio(kinds[i], kinds[i+1], soakFigures.peak), soakMemory)
		require.LessOrEqual(t, kinds[i].median(soakFigures.requests), pages+20, "beyond the pages of lists the number is fixed")
	}
}

type soakFigures struct {
	figures.Figures
	server time.Duration // CPU of the API server meanwhile
}

func (f soakFigures) cpu() int64      { return int64(f.CPU) }
func (f soakFigures) wall() int64     { return int64(f.Wall) }
func (f soakFigures) peak() int64     { return f.Peak }
func (f soakFigures) idle() int64     { return f.Idle }
func (f soakFigures) requests() int64 { return f.Requests }
func (f soakFigures) bytes() int64    { return f.Bytes }
func (f soakFigures) api() int64      { return int64(f.server) }

// soakKind is one way to get at the pods, and what it cost each time.
type soakKind struct {
	name, program string
	args          []string
	runs          []soakFigures
}

func (k *soakKind) median(of func(soakFigures) int64) int64 {
	sorted := slices.SortedFunc(slices.Values(k.runs), func(a, b soakFigures) int { return cmp.Compare(of(a), of(b)) })
	return of(sorted[len(sorted)/2])
}

func ratio(a, b *soakKind, of func(soakFigures) int64) float64 {
	return float64(a.median(of)) / float64(b.median(of))
}

func soakTable(kinds []*soakKind) string {
	var out strings.Builder
	tw := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "MEDIAN OF %d RUNS\tWALL\tCPU\tPEAK MEMORY\tOF IT IDLE\tREQUESTS\tMB READ\tAPI SERVER'S CPU\n", soakRuns)
	for _, k := range kinds {
		span := func(of func(soakFigures) int64) time.Duration {
			return time.Duration(k.median(of)).Round(time.Millisecond)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%.1f MB\t%.1f MB\t%d\t%.1f\t%s\n", k.name, span(soakFigures.wall), span(soakFigures.cpu),
			float64(k.median(soakFigures.peak))/1e6, float64(k.median(soakFigures.idle))/1e6,
			k.median(soakFigures.requests), float64(k.median(soakFigures.bytes))/1e6, span(soakFigures.api))
	}
	tw.Flush()
	fmt.Fprintln(&out)
	fmt.Fprintln(tw, "PROMISE\tFIGURE\tBOUND\t")
	promise := func(what string, value, bound float64) {
		word := "met"
		if value > bound {
			word = "NOT MET"
		}
		fmt.Fprintf(tw, "%s\t%.3f\t%.3f\t%s\n", what, value, bound, word)
	}
	for i := 0; i < len(kinds); i += 2 {
		of := kinds[i].name + " / " + kinds[i+1].name
		promise("CPU: "+of, ratio(kinds[i], kinds[i+1], soakFigures.cpu), soakCPU)
		promise("peak memory: "+of, ratio(kinds[i], kinds[i+1], soakFigures.peak), soakMemory)
	}
	tw.Flush()
	return out.String()
}

// serverCPU is the CPU time that the API server has used so far.
func serverCPU(t *testing.T, c *testbed.Cluster) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.API.PID()))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(b), ") ")
	var user, system int64
	fields := strings.Fields(after) // from the third field of proc(5) on
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	require.NoError(t, err)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// fill makes the workloads and then their pods.
func fill(ctx context.Context, t *testing.T, c *testbed.Cluster) {
	t.Helper()
	config := rest.CopyConfig(c.Config)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	parallel := func(n int, do func(context.Context, int) error) {
		t.Helper()
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(16)
		for i := range n {
			group.Go(func() error { return do(ctx, i) })
		}
		require.NoError(t, group.Wait())
	}
	parallel(soakNamespaces, func(ctx context.Context, i int) error {
		name := fmt.Sprint("team-", i)
		_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		_, err = client.CoreV1().ServiceAccounts(name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "web"}}, metav1.CreateOptions{})
		return err
	})
	owners := make([]metav1.OwnerReference, soakWorkloads)
	parallel(soakWorkloads, func(ctx context.Context, i int) (err error) {
		owners[i], err = soakWorkload(ctx, client, i)
		return err
	})
	lab := testca.New(time.Now())
	bundles := []string{lab.Root("a").PEM() + lab.Root("b").PEM(), lab.Root("c").PEM() + lab.Root("d").PEM()}
	parallel(soakPods, func(ctx context.Context, i int) error {
		pod := wiretest.Injected(i, bundles[i%len(bundles)])
		owner := owners[i%soakWorkloads]
		pod.Name, pod.GenerateName = fmt.Sprintf("%s-%05x", owner.Name, i), owner.Name+"-"
		pod.Namespace = fmt.Sprint("team-", i%soakWorkloads%soakNamespaces)
		pod.OwnerReferences = []metav1.OwnerReference{owner}
		pod.UID, pod.ResourceVersion, pod.CreationTimestamp, pod.ManagedFields = "", "", metav1.Time{}, nil
		status := pod.Status
		made, err := client.CoreV1().Pods(pod.Namespace).Create(ctx, &pod, metav1.CreateOptions{FieldManager: "kube-controller-manager"})
		if err != nil {
			return err
		}
		made.Status = status
		_, err = client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, made, metav1.UpdateOptions{FieldManager: "kubelet"})
		return err
	})
}

// soakWorkload makes workload number i, and for a Deployment its ReplicaSets, as
// its controller would. It returns what owns the pods.
func soakWorkload(ctx context.Context, client kubernetes.Interface, i int) (metav1.OwnerReference, error) {
	ns := fmt.Sprint("team-", i%soakNamespaces)
	labels := map[string]string{"app": fmt.Sprint("app-", i)}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	pod := wiretest.Injected(0, "")
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: pod.Spec.Containers, ServiceAccountName: "web"}}
	template.Spec.Containers[0].VolumeMounts = nil // of what a ServiceAccount's pods are given
	replicas, none := int32(soakPods/soakWorkloads), int32(0)
	meta := metav1.ObjectMeta{Name: fmt.Sprint("app-", i), Namespace: ns}
	ref := func(kind, name string, uid types.UID) metav1.OwnerReference {
		yes := true
		return metav1.OwnerReference{APIVersion: "apps/v1", Kind: kind, Name: name, UID: uid, Controller: &yes, BlockOwnerDeletion: &yes}
	}
	switch apps := client.AppsV1(); {
	case i < soakDeployments:
		d, err := apps.Deployments(ns).Create(ctx, &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: selector, Template: template}}, metav1.CreateOptions{})
		if err != nil {
			return metav1.OwnerReference{}, err
		}
		var last *appsv1.ReplicaSet
		for r := range soakOldReplicas + 1 {
			meta.Name = fmt.Sprintf("app-%d-7d4b9c5f6%d", i, r)
			meta.OwnerReferences = []metav1.OwnerReference{ref("Deployment", d.Name, d.UID)}
			spec := appsv1.ReplicaSetSpec{Replicas: &none, Selector: selector, Template: template}
			if r == soakOldReplicas {
				spec.Replicas = &replicas
			}
			if last, err = apps.ReplicaSets(ns).Create(ctx, &appsv1.ReplicaSet{ObjectMeta: meta, Spec: spec}, metav1.CreateOptions{}); err != nil {
				return metav1.OwnerReference{}, err
			}
		}
		return ref("ReplicaSet", last.Name, last.UID), nil
	case i < soakDeployments+soakStatefuls:
		s, err := apps.StatefulSets(ns).Create(ctx, &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: &replicas, Selector: selector, Template: template, ServiceName: meta.Name}}, metav1.CreateOptions{})
		if err != nil {
			return metav1.OwnerReference{}, err
		}
		return ref("StatefulSet", s.Name, s.UID), nil
	default:
		d, err := apps.DaemonSets(ns).Create(ctx, &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}}, metav1.CreateOptions{})
		if err != nil {
			return metav1.OwnerReference{}, err
		}
		return ref("DaemonSet", d.Name, d.UID), nil
	}
}
