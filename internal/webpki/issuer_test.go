package webpki_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// An issuer alone is judged as the chain of a leaf that it has signed.
func TestAnIssuerIsJudgedAsItsLeaf(t *testing.T) {
	long := "spiffe://example.org/" + strings.Repeat("x", 300)
	for name, tc := range map[string]struct {
		leaf   string // the name of the leaf
		change func(root, upper, issuer *maker)
	}{
		"good":                    {"a.example.org", func(_, _, _ *maker) {}},
		"no name":                 {"", func(_, _, _ *maker) {}},
		"expired":                 {"a.example.org", func(_, _, issuer *maker) { issuer.after = utcTime(now.Add(-1)) }},
		"no CA":                   {"a.example.org", func(_, _, issuer *maker) { issuer.exts = nil; issuer.noExts = true }},
		"path length above":       {"a.example.org", func(_, upper, _ *maker) { upper.exts = [][]byte{caExtension(0)} }},
		"signed by another":       {"a.example.org", func(_, _, issuer *maker) { issuer.signer = newMaker(t, "upper", nil) }},
		"constraint kept":         {"a.example.org", func(_, upper, _ *maker) { upper.exts = append(upper.exts, permitted(dnsName("example.org"))) }},
		"constraint broken":       {"a.example.com", func(_, upper, _ *maker) { upper.exts = append(upper.exts, permitted(dnsName("example.org"))) }},
		"no name, no constraint":  {"", func(_, upper, _ *maker) { upper.exts = append(upper.exts, permitted(dnsName("example.org"))) }},
		"URI constraint":          {"spiffe://example.org/x", func(root, _, _ *maker) { root.exts = append(root.exts, permitted(uriName("example.org"))) }},
		"URI constraint, long":    {long, func(root, _, _ *maker) { root.exts = append(root.exts, permitted(uriName("example.org"))) }},
		"a DNS name too long":     {long[21:], func(root, _, _ *maker) { root.exts = append(root.exts, permitted(dnsName("example.org"))) }},
		"an unknown critical ext": {"a.example.org", func(_, upper, _ *maker) { upper.exts = append(upper.exts, extension(36, true, seq())) }},
	} {
		for _, rel := range all {
			t.Run(name+"/"+rel.String(), func(t *testing.T) {
				root := newMaker(t, "root", nil, caExtension(-1))
				upper := newMaker(t, "upper", root, caExtension(-1))
				issuer := newMaker(t, "issuer", upper, caExtension(0))
				tc.change(root, upper, issuer)
				leaf := newMaker(t, "leaf", issuer)
				leaf.noExts = true
				if tc.leaf != "" {
					san := dnsName(tc.leaf)
					if strings.Contains(tc.leaf, "://") {
						san = uriName(tc.leaf)
					}
					leaf.noExts, leaf.exts = false, [][]byte{sanExtension(san)}
				}
				anchors := []*webpki.Anchor{root.anchor()}
				rest := [][]byte{issuer.der(), upper.der()}

				want, wantErr := webpki.Verify(rel, leaf.der(), rest, anchors, webpki.Server, now)
				got, err := webpki.ParseIssuer(rel, rest, tc.leaf).Verify(anchors, webpki.Server, now)
				assert.Equal(t, want, got)
				assert.Equal(t, wantErr, err)
			})
		}
	}
}

func TestAnIssuerThatCannotSignIsRefused(t *testing.T) {
	p521 := seq(seq(str("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23")), tlv(3, make([]byte, 134)))
	rsa1024 := seq(seq(str("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00")),
		tlv(3, []byte{0}, seq(tlv(2, []byte{0}, []byte(strings.Repeat("\xff", 128))), tlv(2, []byte{1, 0, 1}))))
	for name, tc := range map[string]struct {
		spki []byte
		want map[webpki.Release]webpki.Kind
	}{
		"P-521": {p521, map[webpki.Release]webpki.Kind{
			webpki.Linkerd218: webpki.UnsupportedSignatureAlgorithmForPublicKey}},
		"RSA 1024": {rsa1024, map[webpki.Release]webpki.Kind{
			webpki.Linkerd218: webpki.InvalidSignatureForPublicKey, webpki.Linkerd219: webpki.InvalidSignatureForPublicKey,
			webpki.Linkerd220: webpki.InvalidSignatureForPublicKey, webpki.WebpkiMain: webpki.InvalidSignatureForPublicKey}},
		"no key": {seq(), map[webpki.Release]webpki.Kind{
			webpki.Linkerd218: webpki.BadDer, webpki.Linkerd219: webpki.BadDer,
			webpki.Linkerd220: webpki.BadDer, webpki.WebpkiMain: webpki.BadDer}},
	} {
		for _, rel := range all {
			t.Run(name+"/"+rel.String(), func(t *testing.T) {
				root := newMaker(t, "root", nil, caExtension(-1))
				issuer := newMaker(t, "issuer", root, caExtension(0))
				issuer.spki = tc.spki
				_, err := webpki.ParseIssuer(rel, [][]byte{issuer.der()}, "").Verify([]*webpki.Anchor{root.anchor()}, webpki.Server, now)
				assert.Equal(t, tc.want[rel], kind(err))
			})
		}
	}
}

func TestAnIssuerThatDoesNotParseIsRefused(t *testing.T) {
	_, err := webpki.ParseIssuer(webpki.Linkerd220, [][]byte{{1}}, "").Verify(nil, webpki.Server, now)
	var e *webpki.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 1, e.Cert)
	assert.Equal(t, webpki.StageVerify, e.Stage)
	_, err = webpki.ParseIssuer(webpki.Linkerd220, nil, "").Verify(nil, webpki.Server, now)
	assert.Error(t, err)
}
