package linkerdtest

import "testing"

// BenchmarkHandshake is one handshake of the ledger's: both ends present and
// verify, over TLS 1.3.
func BenchmarkHandshake(b *testing.B) {
	w := NewWorld(epoch)
	c := w.AddCluster("east", newAnchor(newLab(), "O").install())
	pods := c.Deploy("shop", "web", 2)
	for b.Loop() {
		if err := pods[0].Proxy.probe(pods[1].Proxy); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
}

// BenchmarkFinish is the final round of a fleet of 40 pods, with all cores.
func BenchmarkFinish(b *testing.B) {
	w := NewWorld(epoch)
	c := w.AddCluster("east", newAnchor(newLab(), "O").install())
	c.Deploy("shop", "web", 37)
	n := 0
	for b.Loop() {
		w.Ledger.Finish()
		n += 40 * 39
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "handshakes/s")
}

// BenchmarkCertify is one renewal: token, request, leaf and the handshakes that
// follow.
func BenchmarkCertify(b *testing.B) {
	w := NewWorld(epoch)
	c := w.AddCluster("east", newAnchor(newLab(), "O").install())
	web := c.Deploy("shop", "web", 1)[0]
	for b.Loop() {
		if err := web.Proxy.obtain(); err != nil {
			b.Fatal(err)
		}
	}
}
