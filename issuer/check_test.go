package issuer_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/issuer"
)

const identity = "identity.linkerd.cluster.local"

func TestCheckPair(t *testing.T) {
	lab := testca.New(now)
	root, old := lab.Root("root"), lab.Root("old")
	good := root.Issuer(identity)
	both := testca.EKU(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	self := lab.Root(identity, both)
	odd := testca.Extension(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
	p384 := lab.Root("p384", testca.Kind("P-384"))
	rsa := lab.Root("rsa", testca.Kind("RSA 2048"))
	expired := lab.Root("expired", testca.From(-2*day), testca.Until(-day))

	for name, c := range map[string]struct {
		issuer *testca.Cert
		others []*testca.Cert
		roots  []*testca.Cert
		opts   issuer.CheckOptions
		want   []error
		warns  string
	}{
		"sound":                        {issuer: good, roots: []*testca.Cert{old, root}, opts: issuer.CheckOptions{DNSName: identity}},
		"linkerd's self-signed":        {issuer: self, roots: []*testca.Cert{self}},
		"RSA root":                     {issuer: rsa.Issuer(identity), roots: []*testca.Cert{rsa}},
		"usages that suffice":          {issuer: root.Issuer(identity, both), roots: []*testca.Cert{root}},
		"through a cross-signed root":  {issuer: good, others: []*testca.Cert{root.CrossSignedBy(old)}, roots: []*testca.Cert{old}},
		"another key":                  {issuer: &testca.Cert{Certificate: good.Certificate, Key: root.Key, Parent: root}, roots: []*testca.Cert{root}, want: []error{issuer.ErrKeyMismatch}},
		"no key":                       {issuer: &testca.Cert{Certificate: good.Certificate, Parent: root}, roots: []*testca.Cert{root}, want: []error{issuer.ErrKeyMismatch}},
		"another root":                 {issuer: good, roots: []*testca.Cert{old}, want: []error{issuer.ErrUntrusted}},
		"no roots":                     {issuer: good, want: []error{issuer.ErrUntrusted}},
		"RSA issuer":                   {issuer: root.Issuer(identity, testca.Kind("RSA 2048")), roots: []*testca.Cert{root}, want: []error{issuer.ErrUnsupportedKey}},
		"P-384 issuer, allowed":        {issuer: root.Issuer(identity, testca.Kind("P-384")), roots: []*testca.Cert{root}, opts: issuer.CheckOptions{AllowUnusual: true}, warns: "unusual-key"},
		"P-384 issuer":                 {issuer: root.Issuer(identity, testca.Kind("P-384")), roots: []*testca.Cert{root}, want: []error{issuer.ErrUnsupportedKey}},
		"not a CA":                     {issuer: root.Issuer(identity, testca.NotCA()), roots: []*testca.Cert{root}, want: []error{issuer.ErrNotCA}},
		"expired":                      {issuer: root.Issuer(identity, testca.Until(-time.Second)), roots: []*testca.Cert{root}, want: []error{issuer.ErrExpired}},
		"not yet valid":                {issuer: root.Issuer(identity, testca.From(30*time.Second)), roots: []*testca.Cert{root}, want: []error{issuer.ErrNotYetValid}},
		"two things at once":           {issuer: root.Issuer(identity, testca.NotCA(), testca.Until(-time.Second)), roots: []*testca.Cert{root}, want: []error{issuer.ErrNotCA, issuer.ErrExpired}},
		"root expired":                 {issuer: expired.Issuer(identity), roots: []*testca.Cert{expired}, want: []error{issuer.ErrUntrusted, issuer.ErrExpired}},
		"root not yet valid":           {issuer: root.Issuer(identity), roots: []*testca.Cert{root.Again(testca.From(day))}, want: []error{issuer.ErrUntrusted, issuer.ErrNotYetValid}},
		"cross-signed root expired":    {issuer: good, others: []*testca.Cert{root.CrossSignedBy(old, testca.Until(-time.Second))}, roots: []*testca.Cert{root}, want: []error{issuer.ErrExpired}},
		"server only":                  {issuer: root.Issuer(identity, testca.EKU(x509.ExtKeyUsageServerAuth)), roots: []*testca.Cert{root}, want: []error{issuer.ErrUsage}},
		"client only":                  {issuer: root.Issuer(identity, testca.EKU(x509.ExtKeyUsageClientAuth)), roots: []*testca.Cert{root}, want: []error{issuer.ErrUsage}},
		"any usage":                    {issuer: root.Issuer(identity, testca.EKU(x509.ExtKeyUsageAny)), roots: []*testca.Cert{root}, want: []error{issuer.ErrUsage}},
		"root for clients only":        {issuer: lab.Root("r", testca.EKU(x509.ExtKeyUsageClientAuth)).Issuer(identity), want: []error{issuer.ErrUntrusted}},
		"cross-signed, path length 0":  {issuer: good, others: []*testca.Cert{root.CrossSignedBy(old, testca.PathLen(0))}, roots: []*testca.Cert{root}, want: []error{issuer.ErrPathLen}},
		"critical unknown extension":   {issuer: root.Issuer(identity, odd), roots: []*testca.Cert{root}, want: []error{issuer.ErrUntrusted}},
		"ECDSA-SHA384":                 {issuer: p384.Issuer(identity, testca.SignedWith(x509.ECDSAWithSHA384)), roots: []*testca.Cert{p384}, want: []error{issuer.ErrSignatureAlgorithm}},
		"ECDSA-SHA384, allowed":        {issuer: p384.Issuer(identity, testca.SignedWith(x509.ECDSAWithSHA384)), roots: []*testca.Cert{p384}, opts: issuer.CheckOptions{AllowUnusual: true}, warns: "signature-algorithm unusual-key"},
		"P-384 root":                   {issuer: p384.Issuer(identity, testca.SignedWith(x509.ECDSAWithSHA256)), roots: []*testca.Cert{p384}, want: []error{issuer.ErrUnsupportedKey}},
		"RSA-PSS, even if allowed":     {issuer: rsa.Issuer(identity, testca.SignedWith(x509.SHA256WithRSAPSS)), roots: []*testca.Cert{rsa}, opts: issuer.CheckOptions{AllowUnusual: true}, want: []error{issuer.ErrSignatureAlgorithm}},
		"no DNS name for 2.8":          {issuer: root.Issuer(identity, testca.DNS()), roots: []*testca.Cert{root}, opts: issuer.CheckOptions{DNSName: identity}, want: []error{issuer.ErrName}},
		"the root's subject":           {issuer: root.Issuer("root"), roots: []*testca.Cert{root}, warns: "same-subject"},
		"key usage without certSign":   {issuer: root.Issuer(identity, testca.Usage(x509.KeyUsageDigitalSignature)), roots: []*testca.Cert{root}, warns: "usage"},
		"root's path length too small": {issuer: lab.Root("r", testca.PathLen(0)).Issuer(identity), warns: "path-length"},
	} {
		t.Run(name, func(t *testing.T) {
			chain := append([]*x509.Certificate{c.issuer.Certificate}, testca.Certs(c.others...)...)
			if c.roots == nil && name != "no roots" {
				c.roots = []*testca.Cert{c.issuer.Parent}
			}
			warnings, err := issuer.CheckPair(chain, c.issuer.Key, testca.Certs(c.roots...), now, c.opts)
			if len(c.want) == 0 {
				require.NoError(t, err)
			}
			for _, want := range c.want {
				require.ErrorIs(t, err, want)
			}
			if err == nil {
				require.Equal(t, c.warns, codes(warnings))
			} else {
				require.NotContains(t, err.Error(), "\n")
			}
		})
	}
	_, err := issuer.CheckIssuer(nil, testca.Certs(root), now, issuer.CheckOptions{})
	require.ErrorIs(t, err, issuer.ErrUntrusted)
	_, err = issuer.CheckIssuer(testca.Certs(good), testca.Certs(root), time.Time{}, issuer.CheckOptions{})
	require.ErrorIs(t, err, issuer.ErrValidity, "the clock is not read")
}

// Cross-signed roots stand side by side: a path length of 1, as step gives its
// roots, is enough for each of them.
func TestSiblingsDoNotCountAsBelowEachOther(t *testing.T) {
	lab := testca.New(now)
	a, b, root := lab.Root("a"), lab.Root("b"), lab.Root("root", testca.PathLen(1))
	chain := []*x509.Certificate{root.Issuer(identity).Certificate}
	for _, by := range []*testca.Cert{a, b} {
		x, err := issuer.CrossSign(root.Certificate, by.Certificate, by.Key, now, issuer.CrossSignOptions{})
		require.NoError(t, err)
		chain = append(chain, x.Certificate)
	}
	for _, anchor := range []*testca.Cert{a, b, root} {
		_, err := issuer.CheckIssuer(chain, testca.Certs(anchor), now, issuer.CheckOptions{})
		require.NoError(t, err)
	}
}

// Where two anchors serve, the one that Linkerd's command line likes counts.
func TestCheckTakesTheBestAnchor(t *testing.T) {
	lab := testca.New(now)
	p384, old := lab.Root("p384", testca.Kind("P-384")), lab.Root("old")
	root := lab.Root("root")
	iss := root.Issuer(identity)
	chain := testca.Certs(iss, root.CrossSignedBy(p384, testca.SignedWith(x509.ECDSAWithSHA256)), root.CrossSignedBy(old))
	warnings, err := issuer.CheckIssuer(chain, testca.Certs(p384, old), now, issuer.CheckOptions{})
	require.NoError(t, err)
	require.Empty(t, warnings)
}
