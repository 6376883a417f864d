package webpki_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// all are the releases and the look ahead.
var all = append(webpki.Releases(), webpki.WebpkiMain)

// judgeOne judges leaf <- issuer <- root, with all that is needed to be good but
// for what change does.
func judgeOne(t *testing.T, rel webpki.Release, change func(root, issuer, leaf *maker)) (webpki.Result, error) {
	t.Helper()
	root := newMaker(t, "root", nil, caExtension(-1))
	issuer := newMaker(t, "issuer", root, caExtension(0))
	leaf := newMaker(t, "leaf", issuer, sanExtension(dnsName("leaf.example.org")))
	change(root, issuer, leaf)
	anchor, err := webpki.ParseAnchor(root.der(), rel)
	require.NoError(t, err)
	return webpki.Verify(rel, leaf.der(), [][]byte{issuer.der()}, []*webpki.Anchor{anchor}, webpki.Server, now)
}

func TestResultTellsThePath(t *testing.T) {
	root, other := newMaker(t, "root", nil), newMaker(t, "other", nil)
	upper := newMaker(t, "upper", root, caExtension(-1))
	issuer := newMaker(t, "issuer", upper, caExtension(-1))
	leaf := newMaker(t, "leaf", issuer)
	rest := [][]byte{other.der(), upper.der(), issuer.der()}
	anchors := []*webpki.Anchor{other.anchor(), root.anchor()}

	res, err := webpki.Verify(webpki.Linkerd220, leaf.der(), rest, anchors, webpki.Client, now)
	require.NoError(t, err)
	assert.Equal(t, webpki.Result{SignatureChecks: 3, Path: []int{2, 1}, Anchor: 1}, res)

	direct := newMaker(t, "leaf", root)
	res, err = webpki.Verify(webpki.Linkerd220, direct.der(), nil, anchors, webpki.Client, now)
	require.NoError(t, err)
	assert.Equal(t, webpki.Result{SignatureChecks: 1, Path: []int{}, Anchor: 1}, res)

	res, err = webpki.Verify(webpki.Linkerd220, direct.der(), nil, nil, webpki.Client, now)
	assert.ErrorIs(t, err, webpki.UnknownIssuer)
	assert.Equal(t, webpki.Result{Anchor: -1}, res)
}

func TestErrorsNameTheCertificate(t *testing.T) {
	for i, tc := range []struct {
		change func(root, issuer, leaf *maker)
		kind   webpki.Kind
		stage  webpki.Stage
		cert   int
	}{
		{func(_, _, leaf *maker) { leaf.trailer = []byte{5, 0} }, webpki.TrailingData, webpki.StageLeaf, 0},
		{func(_, _, leaf *maker) { leaf.after = utcTime(now.Add(-time.Minute)) }, webpki.CertExpired, webpki.StageVerify, 0},
		{func(_, issuer, _ *maker) { issuer.before = utcTime(now.Add(time.Minute)) }, webpki.CertNotValidYet, webpki.StageVerify, 1},
		{func(_, issuer, _ *maker) { issuer.exts = nil; issuer.noExts = true }, webpki.EndEntityUsedAsCa, webpki.StageVerify, 1},
		{func(root, _, leaf *maker) { leaf.signer = newMaker(leaf.t, "issuer", root) }, webpki.InvalidSignatureForPublicKey, webpki.StageVerify, 0},
		{func(_, issuer, _ *maker) { issuer.signer = newMaker(issuer.t, "root", nil) }, webpki.InvalidSignatureForPublicKey, webpki.StageVerify, 1},
		{func(_, issuer, _ *maker) { issuer.signer = newMaker(issuer.t, "nobody", nil) }, webpki.UnknownIssuer, webpki.StageVerify, -1},
	} {
		t.Run(fmt.Sprint(i, tc.kind), func(t *testing.T) {
			_, err := judgeOne(t, webpki.Linkerd220, tc.change)
			var e *webpki.Error
			require.True(t, errors.As(err, &e), "%v", err)
			assert.Equal(t, tc.kind, e.Kind)
			assert.Equal(t, tc.stage, e.Stage)
			assert.Equal(t, tc.cert, e.Cert)
			assert.ErrorIs(t, err, tc.kind)
			assert.NotErrorIs(t, err, webpki.BadDer)
		})
	}
}

// Rules that the vectors leave out, case by case.
func TestCorners(t *testing.T) {
	const ok = webpki.Kind("")
	every := func(k webpki.Kind) map[webpki.Release]webpki.Kind {
		return map[webpki.Release]webpki.Kind{
			webpki.Linkerd218: k, webpki.Linkerd219: k, webpki.Linkerd220: k, webpki.WebpkiMain: k,
		}
	}
	on := func(m map[webpki.Release]webpki.Kind, rel webpki.Release, k webpki.Kind) map[webpki.Release]webpki.Kind {
		m[rel] = k
		return m
	}
	since220 := func(k webpki.Kind) map[webpki.Release]webpki.Kind {
		return on(on(every(k), webpki.Linkerd218, ok), webpki.Linkerd219, ok)
	}
	eku := func(ids ...string) []byte {
		var oids [][]byte
		for _, id := range ids {
			oids = append(oids, tlv(6, str(id)))
		}
		return extension(extEKU, false, seq(oids...))
	}
	const serverAuth, clientAuth = "\x2b\x06\x01\x05\x05\x07\x03\x01", "\x2b\x06\x01\x05\x05\x07\x03\x02"

	for name, tc := range map[string]struct {
		change func(root, issuer, leaf *maker)
		want   map[webpki.Release]webpki.Kind
	}{
		"nothing changed": {func(_, _, _ *maker) {}, every(ok)},

		"anchor with critical basic constraints that are no CA": {
			func(root, _, _ *maker) { root.exts = [][]byte{extension(extBasicConstraints, true, seq())} }, every(ok)},
		"anchor with a path length of 0 and two below": {
			func(root, issuer, _ *maker) { root.exts = [][]byte{caExtension(0)} }, every(ok)},

		"an extension twice": {
			func(_, issuer, _ *maker) { issuer.exts = append(issuer.exts, caExtension(0)) }, every(webpki.ExtensionValueInvalid)},
		"an unknown extension twice": {
			func(_, issuer, _ *maker) {
				issuer.exts = append(issuer.exts, extension(14, false, tlv(4)), extension(14, false, tlv(4)))
			}, every(ok)},
		"critical subject key identifier": {
			func(_, issuer, _ *maker) { issuer.exts = append(issuer.exts, extension(14, true, tlv(4))) },
			every(webpki.UnsupportedCriticalExtension)},
		"an extension value that is no sequence": {
			func(_, issuer, _ *maker) { issuer.exts = append(issuer.exts, extension(extEKU, false, tlv(4))) }, every(webpki.BadDer)},
		"an extension value with something after it": {
			func(_, issuer, _ *maker) {
				issuer.exts = append(issuer.exts, extension(extEKU, false, append(seq(tlv(6, str(serverAuth))), 5, 0)))
			}, every(webpki.TrailingData)},
		"explicit false is accepted": {
			func(_, _, leaf *maker) {
				leaf.exts = append(leaf.exts, extension(extBasicConstraints, false, seq([]byte{1, 1, 0})))
			}, every(ok)},
		"a boolean that is neither 0 nor 255": {
			func(_, _, leaf *maker) {
				leaf.exts = append(leaf.exts, extension(extBasicConstraints, false, seq([]byte{1, 1, 1})))
			}, every(webpki.BadDer)},

		"a path length on a leaf": {
			func(_, _, leaf *maker) {
				leaf.exts = append(leaf.exts, extension(extBasicConstraints, false, seq([]byte{2, 1, 0})))
			}, every(ok)},
		"a path length of 255": {
			func(_, issuer, _ *maker) {
				issuer.exts = [][]byte{extension(extBasicConstraints, true, seq([]byte{1, 1, 0xff, 2, 2, 0, 255}))}
			}, every(ok)},
		"a path length of 256": {
			func(_, issuer, _ *maker) {
				issuer.exts = [][]byte{extension(extBasicConstraints, true, seq([]byte{1, 1, 0xff, 2, 2, 1, 0}))}
			}, every(webpki.BadDer)},
		"a negative path length": {
			func(_, issuer, _ *maker) {
				issuer.exts = [][]byte{extension(extBasicConstraints, true, seq([]byte{1, 1, 0xff, 2, 1, 0xff}))}
			}, every(webpki.BadDer)},
		"no CA and something after the path length: the first counts": {
			func(_, issuer, _ *maker) {
				issuer.exts = [][]byte{extension(extBasicConstraints, true, seq([]byte{2, 1, 0, 5, 0}))}
			}, every(webpki.EndEntityUsedAsCa)},

		"what follows the right EKU is not read": {
			func(_, issuer, _ *maker) {
				issuer.exts = append(issuer.exts, extension(extEKU, false, seq(tlv(6, str(serverAuth)), []byte{0xff})))
			}, every(ok)},
		"what stands before the right EKU is": {
			func(_, issuer, _ *maker) {
				issuer.exts = append(issuer.exts, extension(extEKU, false, seq([]byte{5, 0}, tlv(6, str(serverAuth)))))
			}, every(webpki.BadDer)},
		"the right EKU is the second": {
			func(_, issuer, _ *maker) { issuer.exts = append(issuer.exts, eku(clientAuth, serverAuth)) }, every(ok)},
		"another EKU only": {
			func(_, issuer, _ *maker) { issuer.exts = append(issuer.exts, eku(clientAuth)) },
			on(every(webpki.RequiredEkuNotFoundContext), webpki.Linkerd218, webpki.RequiredEkuNotFound)},
		"an empty EKU": {
			func(_, issuer, _ *maker) { issuer.exts = append(issuer.exts, eku()) },
			on(every(webpki.EmptyEkuExtension), webpki.Linkerd218, webpki.BadDer)},

		"the outer algorithm is not the inner one": {
			func(_, issuer, _ *maker) { issuer.inner = seq(str("\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03")) },
			every(webpki.SignatureAlgorithmMismatch)},
		"P-256 with SHA-512 came with 2.20": {
			func(_, issuer, _ *maker) { issuer.outer = seq(str("\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04")) },
			map[webpki.Release]webpki.Kind{
				webpki.Linkerd218: webpki.UnsupportedSignatureAlgorithm,
				webpki.Linkerd219: webpki.UnsupportedSignatureAlgorithmForPublicKeyContext,
				webpki.Linkerd220: webpki.InvalidSignatureForPublicKey, // the maker signs with SHA-256
				webpki.WebpkiMain: webpki.InvalidSignatureForPublicKey,
			}},

		"not before after not after": {
			func(_, issuer, _ *maker) { issuer.before = utcTime(now.Add(2 * time.Hour)) }, every(webpki.InvalidCertValidity)},
		"GeneralizedTime before 2050": {
			func(_, issuer, _ *maker) { issuer.after = tlv(0x18, str("20300101000000Z")) }, every(ok)},
		"a time with a fraction": {
			func(_, issuer, _ *maker) { issuer.after = tlv(0x18, str("20300101000000.5Z")) }, every(webpki.BadDerTime)},
		"a time with an offset": {
			func(_, issuer, _ *maker) { issuer.after = tlv(0x17, str("300101000000+0000")) }, every(webpki.BadDerTime)},
		"a time with something after the Z": {
			func(_, issuer, _ *maker) { issuer.after = tlv(0x17, str("300101000000ZZ")) }, every(webpki.TrailingData)},
		"30 February": {
			func(_, issuer, _ *maker) { issuer.after = tlv(0x17, str("300230000000Z")) }, every(webpki.BadDerTime)},
		"29 February of a leap year": {
			func(_, issuer, _ *maker) { issuer.after = tlv(0x17, str("280229000000Z")) }, every(ok)},
		"the leap second": {
			func(_, issuer, _ *maker) { issuer.after = tlv(0x17, str("300101000060Z")) }, every(webpki.BadDerTime)},
		"before 1970": {
			func(_, issuer, _ *maker) { issuer.before = tlv(0x17, str("690101000000Z")) }, every(webpki.BadDerTime)},
		"a time that is none": {
			func(_, issuer, _ *maker) { issuer.after = tlv(0x0c, str("300101000000Z")) }, every(webpki.TrailingData)},

		"unique identifiers": {
			func(_, issuer, _ *maker) { issuer.unique = append(tlv(0x81, str("\x00a")), tlv(0x82, str("\x00b"))...) },
			on(every(webpki.TrailingData), webpki.WebpkiMain, ok)},
		"something after the extensions": {
			func(_, issuer, _ *maker) { issuer.trailer = []byte{5, 0} }, every(webpki.TrailingData)},
		"a serial that is no integer": {
			func(_, issuer, _ *maker) { issuer.serial = []byte{4, 1, 1} }, every(webpki.BadDer)},
		"an explicit version 1": {
			func(_, issuer, _ *maker) { issuer.version = tlv(0xa0, []byte{2, 1, 0}) }, every(webpki.UnsupportedCertVersion)},
		"a version that is no small integer": {
			func(_, issuer, _ *maker) { issuer.version = tlv(0xa0, []byte{2, 2, 1, 2}) }, every(webpki.BadDer)},

		"key usage without keyCertSign on an issuer": {
			func(_, issuer, _ *maker) {
				issuer.exts = append(issuer.exts, extension(extKeyUsage, true, []byte{3, 2, 7, 0x80}))
			}, on(every(ok), webpki.WebpkiMain, webpki.IssuerNotCertSigner)},
		"key usage that is no bit string": {
			func(_, issuer, _ *maker) {
				issuer.exts = append(issuer.exts, extension(extKeyUsage, true, []byte{4, 0}))
			},
			on(every(ok), webpki.WebpkiMain, webpki.BadDer)},

		"a wildcard inside a permitted subtree": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, permitted(dnsName("example.org")))
				leaf.exts = [][]byte{sanExtension(dnsName("*.a.example.org"))}
			}, every(ok)},
		"a wildcard wider than the permitted subtree": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, permitted(dnsName("b.a.example.org")))
				leaf.exts = [][]byte{sanExtension(dnsName("*.a.example.org"))}
			}, since220(webpki.NameConstraintViolation)},
		"a wildcard that reaches into an excluded subtree": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, excluded(dnsName("b.a.example.org")))
				leaf.exts = [][]byte{sanExtension(dnsName("*.a.example.org"))}
			}, every(webpki.NameConstraintViolation)},
		"a URI under an excluded one": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, excluded(uriName("elsewhere.example")))
				leaf.exts = [][]byte{sanExtension(uriName("spiffe://example.org/x"))}
			}, since220(webpki.NameConstraintViolation)},
		"an email address under a constraint of that kind": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, permitted(tlv(0x81, str("example.org"))))
				leaf.exts = [][]byte{sanExtension(tlv(0x81, str("a@example.org")))}
			}, every(webpki.NameConstraintViolation)},
		"one of two permitted subtrees is enough": {
			func(root, _, _ *maker) {
				root.exts = append(root.exts, permitted(dnsName("example.com"), dnsName("example.org")))
			}, every(ok)},
		"each name has to be permitted": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, permitted(dnsName("example.org")))
				leaf.exts = [][]byte{sanExtension(dnsName("a.example.org"), dnsName("a.example.com"))}
			}, every(webpki.NameConstraintViolation)},
		"a constraint counts for the certificates below it only": {
			func(_, issuer, _ *maker) {
				issuer.exts = append(issuer.exts, permitted(dnsName("example.org")), sanExtension(dnsName("issuer.example.com")))
			}, every(ok)},
		"a constraint that is no DNS name": {
			func(root, _, _ *maker) { root.exts = append(root.exts, permitted(dnsName("*.example.org"))) },
			every(webpki.MalformedNameConstraint)},
		"a name that is no DNS name": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, permitted(dnsName("example.org")))
				leaf.exts = [][]byte{sanExtension(dnsName("a..example.org"))}
			}, every(webpki.MalformedDnsIdentifier)},
		"a malformed name matters only under constraints": {
			func(_, _, leaf *maker) { leaf.exts = [][]byte{sanExtension([]byte{0xff})} }, every(ok)},
		"even under empty ones": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, extension(extNameConstraints, true, seq()))
				leaf.exts = [][]byte{sanExtension([]byte{0xff})}
			}, every(webpki.BadDer)},
		"minimum in a subtree": {
			func(root, _, _ *maker) {
				root.exts = append(root.exts, extension(extNameConstraints, true,
					seq(tlv(0xa0, seq(dnsName("example.org"), tlv(0x80, []byte{0}))))))
			}, every(webpki.TrailingData)},
		"something after the subtrees": {
			func(root, _, _ *maker) {
				root.exts = append(root.exts, extension(extNameConstraints, true, seq(tlv(0xa0, seq(dnsName("example.org"))), []byte{5, 0})))
			}, every(webpki.BadDer)},
		"a mask with a hole": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, permitted(tlv(0x87, []byte{10, 0, 0, 0, 0xff, 0, 0xff, 0})))
				leaf.exts = [][]byte{sanExtension(tlv(0x87, []byte{10, 0, 0, 1}))}
			}, every(webpki.InvalidNetworkMaskConstraint)},
		"an address in the network": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, permitted(tlv(0x87, []byte{10, 0, 0, 0, 0xff, 0xf0, 0, 0})))
				leaf.exts = [][]byte{sanExtension(tlv(0x87, []byte{10, 15, 0, 1}))}
			}, every(ok)},
		"an address outside the network": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, permitted(tlv(0x87, []byte{10, 0, 0, 0, 0xff, 0xf0, 0, 0})))
				leaf.exts = [][]byte{sanExtension(tlv(0x87, []byte{10, 16, 0, 1}))}
			}, every(webpki.NameConstraintViolation)},
		"an IPv4 address and an IPv6 network": {
			func(root, _, leaf *maker) {
				root.exts = append(root.exts, permitted(tlv(0x87, make([]byte, 32))))
				leaf.exts = [][]byte{sanExtension(tlv(0x87, []byte{10, 0, 0, 1}))}
			}, every(webpki.NameConstraintViolation)},
	} {
		for _, rel := range all {
			t.Run(name+"/"+rel.String(), func(t *testing.T) {
				_, err := judgeOne(t, rel, tc.change)
				assert.Equal(t, tc.want[rel], kind(err))
			})
		}
	}
}

func TestSearchEndsWhenItsBudgetIsSpent(t *testing.T) {
	root := newMaker(t, "root", nil)
	leaf := newMaker(t, "leaf", newMaker(t, "tangle", nil))

	t.Run("path building", func(t *testing.T) {
		var rest [][]byte
		for range 12 {
			rest = append(rest, newMaker(t, "tangle", nil, caExtension(-1)).der())
		}
		res, err := webpki.Verify(webpki.Linkerd220, leaf.der(), rest, []*webpki.Anchor{root.anchor()}, webpki.Server, now)
		assert.ErrorIs(t, err, webpki.MaximumPathBuildCallsExceeded)
		assert.Zero(t, res.SignatureChecks)
	})
	t.Run("signatures by an unknown algorithm count too", func(t *testing.T) {
		var anchors []*webpki.Anchor
		for range 100 {
			m := newMaker(t, "root", nil)
			m.spki = seq(seq(str("\x06\x03\x2b\x65\x70")), tlv(3, make([]byte, 33)))
			anchors = append(anchors, m.anchor())
		}
		right := newMaker(t, "root", nil)
		direct := newMaker(t, "leaf", right).der()
		res, err := webpki.Verify(webpki.Linkerd220, direct, nil, append(anchors[:99:99], right.anchor()), webpki.Server, now)
		require.NoError(t, err)
		assert.Equal(t, 1, res.SignatureChecks)
		_, err = webpki.Verify(webpki.Linkerd220, direct, nil, append(anchors[:100:100], right.anchor()), webpki.Server, now)
		assert.ErrorIs(t, err, webpki.MaximumSignatureChecksExceeded)
	})
	t.Run("name constraints", func(t *testing.T) {
		names := func(n int) (out [][]byte) {
			for i := range n {
				out = append(out, dnsName(fmt.Sprintf("n%d.example.org", i)))
			}
			return out
		}
		anchored := newMaker(t, "root", nil, excluded(names(500)...))
		for n, want := range map[int]webpki.Kind{
			499: "", // 499 names and the directory name make 250000 comparisons
			500: webpki.MaximumNameConstraintComparisonsExceeded,
		} {
			m := newMaker(t, "leaf", anchored)
			for i := range n {
				m.exts = append(m.exts, dnsName(fmt.Sprintf("m%d.example.org", i)))
			}
			m.exts = [][]byte{sanExtension(m.exts...)}
			_, err := webpki.Verify(webpki.Linkerd220, m.der(), nil, []*webpki.Anchor{anchored.anchor()}, webpki.Server, now)
			assert.Equal(t, want, kind(err), "%d names", n)
		}
	})
}

func TestAFatalErrorHidesWhatWasMetBefore(t *testing.T) {
	root := newMaker(t, "root", nil)
	expired := newMaker(t, "tangle", root, caExtension(-1))
	expired.after = utcTime(now.Add(-time.Minute))
	rest := [][]byte{expired.der()}
	for range 12 {
		rest = append(rest, newMaker(t, "tangle", nil, caExtension(-1)).der())
	}
	leaf := newMaker(t, "leaf", newMaker(t, "tangle", nil)).der()
	_, err := webpki.Verify(webpki.Linkerd220, leaf, rest, nil, webpki.Server, now)
	assert.ErrorIs(t, err, webpki.MaximumPathBuildCallsExceeded)
}

func TestAChainServesManyAtOnce(t *testing.T) {
	root, other := newMaker(t, "root", nil), newMaker(t, "root", nil)
	issuer := newMaker(t, "issuer", root, caExtension(0))
	chain := webpki.ParseChain(webpki.Linkerd220, newMaker(t, "leaf", issuer).der(), [][]byte{issuer.der()})
	right, both := []*webpki.Anchor{root.anchor()}, []*webpki.Anchor{other.anchor(), root.anchor()}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				res, err := chain.Verify(right, webpki.Server, now)
				assert.NoError(t, err)
				assert.Equal(t, 2, res.SignatureChecks, "a remembered check counts")
				res, err = chain.Verify(both, webpki.Client, now)
				assert.NoError(t, err)
				assert.Equal(t, 3, res.SignatureChecks)
				_, err = chain.Verify(both[:1], webpki.Server, now)
				assert.ErrorIs(t, err, webpki.InvalidSignatureForPublicKey)
				_, err = chain.Verify(right, webpki.Server, now.Add(2*time.Hour))
				assert.ErrorIs(t, err, webpki.CertExpired)
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerify(b *testing.B) {
	root := newMaker(b, "root", nil)
	issuer := newMaker(b, "issuer", root, caExtension(0))
	leaf, rest := newMaker(b, "leaf", issuer).der(), [][]byte{issuer.der()}
	anchors := []*webpki.Anchor{root.anchor()}
	for range 19 {
		anchors = append(anchors, newMaker(b, "another root", nil).anchor())
	}
	b.Run("from DER", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := webpki.Verify(webpki.Linkerd220, leaf, rest, anchors, webpki.Server, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("prepared", func(b *testing.B) {
		b.ReportAllocs()
		chain := webpki.ParseChain(webpki.Linkerd220, leaf, rest)
		for b.Loop() {
			if _, err := chain.Verify(anchors, webpki.Server, now); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("prepared, unknown issuer", func(b *testing.B) {
		b.ReportAllocs()
		chain := webpki.ParseChain(webpki.Linkerd220, leaf, rest)
		for b.Loop() {
			if _, err := chain.Verify(anchors[1:], webpki.Server, now); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
