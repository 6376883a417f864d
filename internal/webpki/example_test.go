package webpki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// An anchor that has expired still serves; an issuer that has does not.
func Example() {
	day := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	rootKey, root := certificate("root.linkerd.cluster.local", day.AddDate(0, 0, -1), nil, nil)
	issuerKey, issuer := certificate("identity.linkerd.cluster.local", day.AddDate(0, 0, 2), root, rootKey)
	_, leaf := certificate("web.shop.serviceaccount.identity.linkerd.cluster.local", day.AddDate(0, 0, 9), issuer, issuerKey)

	anchor, err := webpki.ParseAnchor(root.Raw, webpki.Linkerd220)
	if err != nil {
		fmt.Println(err)
		return
	}
	chain := webpki.ParseChain(webpki.Linkerd220, leaf.Raw, [][]byte{issuer.Raw})
	for _, at := range []time.Time{day, day.AddDate(0, 0, 3)} {
		_, err := chain.Verify([]*webpki.Anchor{anchor}, webpki.Server, at)
		switch {
		case err == nil:
			fmt.Println(at.Format(time.DateOnly), "accepted as", webpki.Identity(leaf.Raw))
		case errors.Is(err, webpki.CertExpired):
			fmt.Println(at.Format(time.DateOnly), "refused, expired")
		}
	}
	// Output:
	// 2026-09-01 accepted as web.shop.serviceaccount.identity.linkerd.cluster.local
	// 2026-09-04 refused, expired
}

// certificate makes a CA, or a leaf where the signer is no root.
func certificate(name string, notAfter time.Time, signer *x509.Certificate, signerKey *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	leaf := signer != nil && signer.Issuer.CommonName != signer.Subject.CommonName
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: notAfter.AddDate(-1, 0, 0), NotAfter: notAfter,
		BasicConstraintsValid: true, IsCA: !leaf,
	}
	if leaf {
		template.DNSNames = []string{name}
	}
	if signer == nil {
		signer, signerKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer, &key.PublicKey, signerKey)
	if err != nil {
		panic(err)
	}
	crt, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return key, crt
}
