package linkerd

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/internal/wiretest"
)

// benchPods is how many there are, in 589 workloads.
const benchPods = 10_000

// BenchmarkSurveyTenThousandPods surveys a cluster of 10,000 meshed pods in some
// 600 workloads over HTTP, and beside it has client-go list the same pods with
// one unpaginated protobuf request. The server is a process of its own. cpu-ms
// is user and system time, peak-MB the most that the heap's objects took beyond
// what they took before.
func BenchmarkSurveyTenThousandPods(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), benchServerEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }() // it ends with its input
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	config := &rest.Config{Host: strings.TrimSpace(address), ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"}}
	const pods = benchPods
	b.Run("survey", func(b *testing.B) {
		measure(b, func() any {
			client, err := mesh.NewClient(config, mesh.Options{})
			if err != nil {
				b.Fatal(err)
			}
			s := Survey(b.Context(), &mesh.Cluster{Client: client}, Options{})
			if len(s.Peers) != pods || len(s.Workloads) != 589 {
				b.Fatalf("%d peers, %d workloads, %v", len(s.Peers), len(s.Workloads), s.Unknowns)
			}
			b.ReportMetric(float64(s.Cost.Requests), "requests")
			b.ReportMetric(float64(s.Cost.Bytes)/1e6, "MB")
			return s
		})
	})
	b.Run("client-go", func(b *testing.B) {
		measure(b, func() any {
			c, err := kubernetes.NewForConfig(config)
			if err != nil {
				b.Fatal(err)
			}
			list, err := c.CoreV1().Pods("").List(b.Context(), metav1.ListOptions{LabelSelector: labelControlPlane})
			if err != nil || len(list.Items) != pods {
				b.Fatal(err)
			}
			return list
		})
	})
}

const benchServerEnv = "WINDLASS_BENCH_SERVER"

// benchServer serves the cluster of the benchmark until its input ends.
func benchServer() {
	const pods, page = benchPods, 500
	lab := testca.New(wiretest.Now)
	bundles := []string{lab.Root("a").PEM() + lab.Root("b").PEM(), lab.Root("c").PEM() + lab.Root("d").PEM()}
	whole := &corev1.PodList{}
	owners := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}}
	deployments := &appsv1.DeploymentList{}
	for i := range pods {
		p := wiretest.Injected(i, bundles[i%len(bundles)])
		whole.Items = append(whole.Items, p)
		if i%wiretest.PodsPerWorkload == 0 {
			yes, name, uid := true, strings.TrimSuffix(p.OwnerReferences[0].Name, "-7d4b9c5f6d"), types.UID(fmt.Sprint("deployment-", i))
			owners.Items = append(owners.Items, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: p.OwnerReferences[0].Name, Namespace: p.Namespace, UID: p.OwnerReferences[0].UID,
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: name, UID: uid, Controller: &yes}}}})
			deployments.Items = append(deployments.Items, appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.Namespace, UID: uid},
				Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: p.Spec.Containers}}}})
		}
	}
	answers := map[string][]byte{
		"/api/v1/pods": wiretest.Encode(whole), "/apis/apps/v1/replicasets": encodeMeta(owners), "/apis/apps/v1/deployments": wiretest.Encode(deployments),
		"/apis/apps/v1/statefulsets": wiretest.Encode(&appsv1.StatefulSetList{}), "/apis/apps/v1/daemonsets": wiretest.Encode(&appsv1.DaemonSetList{}),
		"/apis/batch/v1/cronjobs": wiretest.Encode(&batchv1.CronJobList{}), "/api/v1/replicationcontrollers": wiretest.Encode(&corev1.ReplicationControllerList{}),
		"/api/v1/namespaces/kube-system": []byte(`{"metadata":{"uid":"u"}}`), "/api/v1/namespaces/default/services/kubernetes": []byte(`{"metadata":{"uid":"s"}}`),
	}
	for _, list := range []string{"configmaps", "secrets", "services", "serviceaccounts"} {
		answers["/api/v1/"+list] = []byte(`{"metadata":{},"items":[]}`)
	}
	var pages [][]byte
	for from := 0; from < pods; from += page {
		part := &corev1.PodList{Items: whole.Items[from:min(from+page, pods)]}
		if from+page < pods {
			part.Continue = strconv.Itoa(len(pages) + 1)
		}
		pages = append(pages, wiretest.Encode(part))
	}
	whole, owners, deployments = nil, nil, nil
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.URL.Path]
		if r.URL.Path == "/api/v1/pods" && r.URL.Query().Has("limit") {
			n, _ := strconv.Atoi(r.URL.Query().Get("continue"))
			body = pages[n]
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(r.Header.Get("Accept"), "protobuf") {
			w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
		}
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	fmt.Println(server.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// encodeMeta encodes a list that client-go's scheme does not know by that name.
func encodeMeta(l *metav1.PartialObjectMetadataList) []byte {
	raw, err := l.Marshal()
	if err != nil {
		panic(err)
	}
	// runtime.Unknown: only its raw field matters here.
	out := append([]byte("k8s\x00"), 0x12)
	for n := len(raw); ; n >>= 7 {
		if n < 0x80 {
			out = append(out, byte(n))
			break
		}
		out = append(out, byte(n)|0x80)
	}
	return append(out, raw...)
}

// measure reports CPU time and the peak of the heap.
func measure(b *testing.B, run func() any) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	heap := func() uint64 { metrics.Read(sample); return sample[0].Value.Uint64() }
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	runtime.GC()
	base := heap()
	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		own := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				metrics.Read(own)
				peak.Store(max(peak.Load(), own[0].Value.Uint64()))
			}
		}
	}()
	var held any
	before := cpu()
	for b.Loop() {
		held = run()
	}
	spent := cpu() - before
	close(stop)
	<-stopped
	b.ReportMetric(float64(spent.Milliseconds())/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(int64(peak.Load())-int64(base))/1e6, "peak-MB")
	runtime.GC()
	b.ReportMetric(float64(int64(heap())-int64(base))/1e6, "live-MB")
	runtime.KeepAlive(held)
}
