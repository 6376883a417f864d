package bundle_test

import (
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
)

// distinct makes n roots, and their bundles as text.
func distinct(b *testing.B, n int) (ders [][]byte, text []byte) {
	b.Helper()
	lab := newLab()
	var certs []*bundle.Certificate
	for i := range n {
		root := lab.Root(fmt.Sprintf("root.linkerd.cluster-%d.example.com", i), testca.PathLen(1))
		ders = append(ders, root.Raw)
		certs = append(certs, wrap(b, root))
	}
	return ders, bundle.MarshalPEM(certs...)
}

// BenchmarkMerge1000 reads two bundles of a thousand anchors each, none shared,
// and writes their union. It is to be held against BenchmarkParseCertificates,
// which parses the same two thousand and does nothing else: at most 1.5 times
// as long.
func BenchmarkMerge1000(b *testing.B) {
	_, one := distinct(b, 1000)
	_, two := distinct(b, 1000)
	b.ReportAllocs()
	for b.Loop() {
		x, err := bundle.Parse(one)
		if err != nil {
			b.Fatal(err)
		}
		y, err := bundle.Parse(two)
		if err != nil {
			b.Fatal(err)
		}
		if text := bundle.Merge(x, y).Marshal(); len(text) == 0 {
			b.Fatal("nothing")
		}
	}
}

func BenchmarkParseCertificates(b *testing.B) {
	ders, _ := distinct(b, 2000)
	b.ReportAllocs()
	for b.Loop() {
		parseAll(b, ders)
	}
}

func parseAll(b *testing.B, ders [][]byte) {
	for _, der := range ders {
		if _, err := x509.ParseCertificate(der); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadKnown reads two hundred anchors of which half have been read
// before: cheaper than BenchmarkParse200, which does nothing but parse all two
// hundred with x509.ParseCertificate.
func BenchmarkReadKnown(b *testing.B) {
	_, text := distinct(b, 200)
	all, err := bundle.Parse(text)
	if err != nil {
		b.Fatal(err)
	}
	known := bundle.New(all.Certificates()[:100]...)
	b.ReportAllocs()
	for b.Loop() {
		if got, err := bundle.ParseKnown(text, known); err != nil || got.Len() != 200 {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse200(b *testing.B) {
	ders, _ := distinct(b, 200)
	b.ReportAllocs()
	for b.Loop() {
		parseAll(b, ders)
	}
}

func BenchmarkVerify(b *testing.B) {
	lab := newLab()
	root := lab.Root("root")
	issuer := root.Issuer("identity.linkerd.cluster.local")
	chain := wraps(b, issuer.Leaf("web.emojivoto"), issuer)
	for _, anchors := range []int{1, 20} {
		trusted := []*testca.Cert{}
		for i := range anchors - 1 {
			trusted = append(trusted, lab.Root(fmt.Sprint("root ", i)))
		}
		all := wraps(b, append(trusted, root)...)
		for _, rules := range bothRules {
			b.Run(fmt.Sprintf("%s/anchors=%d", rules, anchors), func(b *testing.B) {
				q := bundle.Query{Rules: rules, Chain: chain, Anchors: all, At: now}
				b.ReportAllocs()
				for b.Loop() {
					if v := bundle.Verify(q); !v.OK {
						b.Fatal(v.Reason)
					}
				}
			})
		}
	}
}

func BenchmarkLint200(b *testing.B) {
	_, text := distinct(b, 200)
	b.ReportAllocs()
	for b.Loop() {
		src, err := bundle.ReadSource("in", text)
		if err != nil {
			b.Fatal(err)
		}
		bundle.Lint(src, bundle.LintOptions{Now: now})
	}
}
