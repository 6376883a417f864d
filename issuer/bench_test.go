package issuer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"

	"github.com/windlass-mesh/windlass/issuer"
)

// BenchmarkRootAndIssuer and BenchmarkBareKeygenAndSign make the same two keys
// and two certificates; the difference is what judging costs.
func BenchmarkRootAndIssuer(b *testing.B) {
	for b.Loop() {
		rootKey, err := issuer.GenerateKey()
		if err != nil {
			b.Fatal(err)
		}
		root, err := issuer.Root(rootKey, now, issuer.RootOptions{})
		if err != nil {
			b.Fatal(err)
		}
		key, err := issuer.GenerateKey()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := issuer.Intermediate(key.Public(), root, rootKey, now, issuer.IntermediateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareKeygenAndSign(b *testing.B) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: now, NotAfter: now.Add(year),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	below := *template
	below.Subject.CommonName = identity
	for b.Loop() {
		rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, rootKey.Public(), rootKey)
		if err != nil {
			b.Fatal(err)
		}
		root, err := x509.ParseCertificate(der)
		if err != nil {
			b.Fatal(err)
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		if der, err = x509.CreateCertificate(rand.Reader, &below, root, key.Public(), rootKey); err != nil {
			b.Fatal(err)
		}
		if _, err := x509.ParseCertificate(der); err != nil {
			b.Fatal(err)
		}
	}
}
