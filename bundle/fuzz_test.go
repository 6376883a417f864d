package bundle_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/windlass-mesh/windlass/bundle"
)

// seedTexts are PEM texts of all kinds, from the vectors; the very large ones
// would only slow a fuzzer down.
func seedTexts(f *testing.F) [][]byte {
	var texts [][]byte
	for _, c := range textVectors(f) {
		if text := c.text(f); len(text) < 20_000 {
			texts = append(texts, text)
		}
	}
	return texts
}

func FuzzParse(f *testing.F) {
	for _, text := range seedTexts(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := bundle.Parse(text)
		if err != nil {
			var bad *bundle.ParseError
			if !errors.As(err, &bad) || len(bad.Issues) == 0 {
				t.Fatalf("not a ParseError: %v", err)
			}
			lines := 1 + bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r"))
			for _, i := range bad.Issues {
				if i.Line < 1 || i.Line > lines || i.Level != bundle.LevelError || i.Code == "" {
					t.Fatalf("%+v", i)
				}
				if strings.ContainsFunc(i.Message, func(r rune) bool { return !unicode.IsGraphic(r) }) {
					t.Fatalf("steers a terminal: %q", i.Message)
				}
			}
			return
		}
		// Nothing that a plain reader of PEM finds is lost.
		for rest := text; ; {
			block, after := pem.Decode(rest)
			if block == nil {
				break
			}
			rest = after
			if block.Type == "CERTIFICATE" && b.Get(sha256.Sum256(block.Bytes)) == nil && len(block.Headers) == 0 {
				t.Fatalf("lost a certificate of %d bytes", len(block.Bytes))
			}
		}
		again, err := bundle.Parse(b.Marshal())
		if err != nil || !again.Equal(b) {
			t.Fatalf("what was written is not what was read: %v", err)
		}
	})
}

func FuzzSource(f *testing.F) {
	lab := newLab()
	root := lab.Root("root")
	issuer := root.Issuer("issuer")
	for _, text := range seedTexts(f) {
		f.Add(text)
		if len(text) < 3000 {
			f.Add([]byte(trustRoots(string(text))))
			f.Add([]byte(issuerSecret(string(text)) + pod("web", string(text))))
		}
	}
	f.Add([]byte(trustRoots(root.PEM()) + issuerSecret(issuer.PEM()) + pod("web", root.PEM())))
	f.Add([]byte(`{"kind":"List","items":[{"kind":"ConfigMap","metadata":{"name":"linkerd-config"},"data":{"global":"{\"identityContext\":{\"trustAnchorsPem\":\"x\"}}"}}]}`))
	f.Add([]byte("kind: ConfigMap\nmetadata: {name: linkerd-config}\ndata:\n  values: |\n    global:\n      identityTrustAnchorsPEM: |\n" + indented(root.PEM(), "        ")))
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := bundle.ReadSource("in", data)
		if err != nil {
			return
		}
		b, err := src.Anchors()
		if err == nil {
			if b.Len() == 0 {
				t.Fatal("no anchors and no error")
			}
			for _, c := range b.Certificates() {
				if len(b.From(c.Fingerprint())) == 0 {
					t.Fatal("an anchor from nowhere")
				}
			}
		} else if !strings.HasPrefix(err.Error(), "read in") {
			t.Fatalf("an error without its source: %v", err)
		}
		_, _ = src.Chain()
		for _, r := range bothRules {
			_, _ = src.AnchorsAs(r)
		}
		src.Disagreements()
		for _, f := range bundle.Lint(src, bundle.LintOptions{Now: now}) {
			if f.Message == "" || f.Code == "" || f.Level == "" {
				t.Fatalf("%+v", f)
			}
			if strings.ContainsFunc(f.Message+f.Subject, func(r rune) bool { return !unicode.IsGraphic(r) }) {
				t.Fatalf("steers a terminal: %q", f)
			}
		}
	})
}

func FuzzMergeLosesNothing(f *testing.F) {
	texts := seedTexts(f)
	for i, text := range texts {
		f.Add(text, texts[(i*7+3)%len(texts)])
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		x, errX := bundle.Parse(one)
		y, errY := bundle.Parse(two)
		if errX != nil || errY != nil {
			return
		}
		union := bundle.Merge(x, y)
		if !union.Contains(x) || !union.Contains(y) || union.Len() > x.Len()+y.Len() || !union.Equal(bundle.Merge(y, x)) {
			t.Fatal("no union")
		}
		text := union.Marshal()
		if !bytes.Equal(text, bundle.Merge(y, x).Marshal()) {
			t.Fatal("the text depends on the order")
		}
		takesBack(t, union, text)
	})
}

// decodePEMCertificates is the reader of linkerd2 pkg/tls/codec.go, from which
// ReadAs(Identity) must not differ.
func decodePEMCertificates(text []byte) (certs []*x509.Certificate, err error) {
	for len(text) > 0 {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return certs, errors.New("not a PEM certificate")
		}
		if block.Type != "CERTIFICATE" {
			return certs, nil
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return certs, err
		}
		certs = append(certs, c)
	}
	return certs, nil
}

func FuzzReadAs(f *testing.F) {
	for _, text := range seedTexts(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		certs, err := decodePEMCertificates(text)
		if err == nil && len(certs) == 0 {
			err = errors.New("no certificates found")
		}
		got := bundle.ReadAs(text, bundle.Identity, bundle.Releases()[0])
		if (err == nil) != (got.Err == nil) || err != nil && err.Error() != got.Err.Error() {
			t.Fatalf("Linkerd says %v, we say %v", err, got.Err)
		}
		if err != nil {
			return
		}
		var distinct []bundle.Fingerprint
		seen := make(map[bundle.Fingerprint]bool)
		for _, c := range certs {
			if fp := bundle.Fingerprint(sha256.Sum256(c.Raw)); !seen[fp] {
				seen[fp] = true
				distinct = append(distinct, fp)
			}
		}
		if len(distinct) != len(got.Certificates) {
			t.Fatalf("Linkerd takes %d, we take %d", len(distinct), len(got.Certificates))
		}
		for i, c := range got.Certificates {
			if c.Fingerprint() != distinct[i] {
				t.Fatalf("certificate %d differs", i)
			}
		}
		if lines := 1 + bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")); got.TruncatedAt < 0 || got.TruncatedAt > lines {
			t.Fatalf("truncated at line %d of %d", got.TruncatedAt, lines)
		}
		for _, r := range bundle.Releases() {
			bundle.ReadAs(text, bundle.Proxy, r)
		}
	})
}

// FuzzVerify takes one blob apart into certificates: whatever they are, a
// verdict comes, with a reason.
func FuzzVerify(f *testing.F) {
	lab := newLab()
	root := lab.Root("root")
	sub := root.Sub("sub")
	issuer := sub.Issuer("issuer")
	leaf := issuer.Leaf("web.emojivoto")
	join := func(ders ...[]byte) []byte { return bytes.Join(ders, []byte("|cut|")) }
	f.Add(join(leaf.Raw, issuer.Raw, sub.Raw), join(root.Raw), uint8(0))
	f.Add(join(issuer.Raw, sub.Raw, lab.Root("x").CrossSignedBy(root).Raw), join(root.Raw, root.Again().Raw), uint8(1))
	f.Add(join(root.Raw), join(root.Raw), uint8(1))
	var set struct {
		Cases []struct{ Chain, Anchors []string }
	}
	loadVectors(f, "chains.json", &set)
	ders := func(texts []string) []byte {
		var all [][]byte
		for rest := []byte(strings.Join(texts, "\n")); ; {
			block, after := pem.Decode(rest)
			if block == nil {
				return join(all...)
			}
			all, rest = append(all, block.Bytes), after
		}
	}
	for i, c := range set.Cases {
		if i%3 == 0 && len(c.Anchors) > 0 && !strings.HasPrefix(c.Anchors[0], "@") {
			f.Add(ders(c.Chain), ders(c.Anchors), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, chain, anchors []byte, how uint8) {
		read := func(blob []byte) (certs []*bundle.Certificate) {
			for _, der := range bytes.Split(blob, []byte("|cut|")) {
				if c, err := bundle.ParseCertificate(der); err == nil {
					certs = append(certs, c)
				} else if odd, err := bundle.ReadChain(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err == nil {
					certs = append(certs, odd...)
				}
			}
			return certs
		}
		q := bundle.Query{Anchors: read(anchors), At: now, Usage: bundle.Usage(how >> 1 & 1)}
		if how&1 == 0 {
			q.Chain = read(chain)
		} else {
			q.Issuer = read(chain)
		}
		if how&4 != 0 {
			q.Name = "web.emojivoto.serviceaccount.identity.linkerd.cluster.local"
		}
		for _, q.Rules = range bothRules {
			v := bundle.Verify(q)
			if v.Reason == "" || v.OK && len(v.Path) == 0 || !v.OK && len(v.Path) != 0 || v.OK && !v.Judged {
				t.Fatalf("%+v", v)
			}
			if strings.ContainsFunc(v.Reason, func(r rune) bool { return !unicode.IsGraphic(r) }) {
				t.Fatalf("steers a terminal: %q", v.Reason)
			}
			end := bundle.SoundUntil(q)
			if len(q.Issuer) > 0 && len(v.Path) == 1 {
				continue // its own anchor: see SoundUntil
			}
			if v.OK != !end.IsZero() || v.OK && end.Before(q.At) {
				t.Fatalf("OK is %v, sound until %s", v.OK, end)
			}
			if v.OK {
				later := q
				later.At = end.Add(time.Second)
				if bundle.Verify(later).OK {
					t.Fatal("sound after its end")
				}
			}
		}
		for _, c := range append(q.Anchors, append(q.Chain, q.Issuer...)...) {
			_, _, _, _, _ = c.Key(), c.Serial(), c.IsCA(), c.SelfSigned(), c.String()
			c.MaxPathLen()
		}
	})
}
