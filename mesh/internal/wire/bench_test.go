package wire

import (
	"bytes"
	"runtime"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
)

// BenchmarkTenThousandPods reads one list of 10,000 injected pods, each with a
// bundle of two anchors, as this package does and as client-go's types do. The
// figure live-MB is what stays in memory while the result is held; for
// client-go it includes the response's bytes, which its decoder needs whole.
func BenchmarkTenThousandPods(b *testing.B) {
	data := protobufOf(b, podList(b, 10_000, 3, 2))
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	live := func(b *testing.B, hold func() any) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		held := hold()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1e6, "live-MB")
		runtime.KeepAlive(held)
	}
	b.Run("wire", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		read := func() any { pods, _ := readPods(b, decoder(), data); return pods }
		before := cpu()
		for b.Loop() {
			read()
		}
		b.ReportMetric(float64((cpu()-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		live(b, read)
	})
	b.Run("client-go", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		read := func() any {
			body := bytes.Clone(data) // what a client has read
			list := &corev1.PodList{}
			if _, _, err := clientscheme.Codecs.UniversalDeserializer().Decode(body, nil, list); err != nil {
				b.Fatal(err)
			}
			return []any{body, list}
		}
		before := cpu()
		for b.Loop() {
			read()
		}
		b.ReportMetric(float64((cpu()-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		live(b, read)
	})
}
