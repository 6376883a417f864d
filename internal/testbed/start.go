package testbed

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"
)

// startTimeout bounds the start of a bed in a test. A first run builds the
// programs, which takes minutes.
const startTimeout = 9 * time.Minute

// Start gives a test a bed of n clusters that ends with it. When the test fails,
// the ends of the components' logs are shown. With -short the test is skipped:
// short tests need nothing but Go.
func Start(t testing.TB, n int, configure ...func(*Options)) *Bed {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a test bed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	o := Options{Clusters: n, Log: testLog{t}}
	for _, f := range configure {
		f(&o)
	}
	b, err := Up(ctx, o)
	if err != nil {
		t.Fatalf("start a test bed: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, b)
		}
		b.Stop()
	})
	t.Logf("%d clusters are ready after %s", len(b.Clusters), b.Took.Round(10*time.Millisecond))
	return b
}

// testLog writes lines to a test's log.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimRight(p, "\n"))
	return len(p), nil
}

func showLogs(t testing.TB, b *Bed) {
	var text bytes.Buffer
	_ = b.WriteLogs(&text, 4096) // a buffer takes everything
	t.Logf("%s", text.Bytes())
}

// shared is the bed of all tests of a package that call Shared.
var shared struct {
	mu   sync.Mutex
	main bool
	bed  *Bed
}

// Main runs the tests of a package that share a bed, and ends the bed:
//
//	func TestMain(m *testing.M) { os.Exit(testbed.Main(m)) }
func Main(m *testing.M) int {
	shared.main = true
	defer func() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		if shared.bed != nil {
			shared.bed.Stop()
		}
	}()
	return m.Run()
}

// Shared gives a test the bed that the package's tests share, of n clusters at
// least. It starts with the first test that asks for it, which so settles how
// many clusters there are and how they are configured. Tests keep apart by
// namespaces: Cluster.Namespace. The package needs a TestMain with Main.
func Shared(t testing.TB, n int, configure ...func(*Options)) *Bed {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a test bed")
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.main {
		t.Fatal("the package has no TestMain that calls testbed.Main")
	}
	if shared.bed == nil {
		ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
		defer cancel()
		// The bed outlives the test, so it must not keep the test's log.
		o := Options{Clusters: n}
		for _, f := range configure {
			f(&o)
		}
		b, err := Up(ctx, o)
		if err != nil {
			t.Fatalf("start a test bed: %v", err)
		}
		shared.bed = b
		t.Logf("%d clusters are ready after %s", len(b.Clusters), b.Took.Round(10*time.Millisecond))
	}
	bed := shared.bed
	if len(bed.Clusters) < n {
		t.Fatalf("the shared bed has %d clusters, %d are wanted: have the first test that asks ask for the most", len(bed.Clusters), n)
	}
	t.Cleanup(func() {
		if t.Failed() {
			showLogs(t, bed)
		}
	})
	return bed
}
