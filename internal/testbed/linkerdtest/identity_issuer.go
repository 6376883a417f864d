package linkerdtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
)

// authority is an issuer in use. Its serial numbers begin at 1, so that they
// repeat from one load to the next (linkerd2 pkg/tls/ca.go, NewCA).
type authority struct {
	cert   *x509.Certificate
	chain  []*x509.Certificate // what stands above it in the issuer file
	key    crypto.Signer
	serial int64
}

// readIssuer reads the mounted Secret and verifies it (service.go,
// loadCredentials).
func (id *Identity) readIssuer() (*authority, error) {
	crtName, keyName := id.cfg.issuerNames()
	a, err := readCredentials(id.cfg.Issuer, crtName, keyName)
	if err != nil {
		return nil, fmt.Errorf("failed to read CA from disk: %w", err)
	}
	if err := a.verify(id.anchors, id.cfg.Clock.Now()); err != nil {
		name := fmt.Sprintf("identity.%s.%s", id.cfg.Namespace, id.cfg.TrustDomain)
		return nil, fmt.Errorf("failed to verify issuer credentials for '%s' with trust anchors: %w", name, err)
	}
	if !a.cert.IsCA {
		return nil, errors.New("failed to verify issuer certificate: it must be an intermediate-CA, but it is not")
	}
	return a, nil
}

// issuerNames returns the names of the issuer files (controller/cmd/identity/main.go).
func (cfg IdentityConfig) issuerNames() (crt, key string) {
	if cfg.Scheme == SchemeLinkerd {
		return "crt.pem", "key.pem"
	}
	return "tls.crt", "tls.key"
}

// issuerFiles is what the issuer files hold, to see whether they have changed.
func (id *Identity) issuerFiles() string {
	crtName, keyName := id.cfg.issuerNames()
	crt, _ := id.cfg.Issuer.ReadFile(crtName)
	key, _ := id.cfg.Issuer.ReadFile(keyName)
	return string(crt) + "\x00" + string(key)
}

// readCredentials is ReadPEMCreds of linkerd2 pkg/tls/cred.go.
func readCredentials(m Dir, crtName, keyName string) (*authority, error) {
	keyText, err := m.ReadFile(keyName)
	if err != nil {
		return nil, err
	}
	crtText, err := m.ReadFile(crtName)
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(keyText)
	if err != nil {
		return nil, err
	}
	certs, err := bundle.ReadIssuer(crtText)
	if err != nil {
		return nil, err
	}
	a := &authority{key: key, serial: 1}
	for i, c := range certs {
		parsed, err := c.X509()
		if err != nil {
			return nil, err
		}
		if i == 0 {
			a.cert = parsed
			continue
		}
		a.chain = append(a.chain, parsed)
	}
	if pub, ok := a.cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !pub.Equal(key.Public()) {
		return nil, errors.New("tls: Public and private key do not match")
	}
	return a, nil
}

// decodeKey reads the first block only, so that EC PARAMETERS before a key are an
// error (linkerd2 pkg/tls/codec.go, DecodePEMKey).
func decodeKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not PEM-encoded")
	}
	switch block.Type {
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		switch key := key.(type) {
		case *ecdsa.PrivateKey:
			return key, nil
		case *rsa.PrivateKey:
			return key, nil
		}
		return nil, fmt.Errorf("unsupported PKCS8 private key: %T", key)
	}
	return nil, fmt.Errorf("unsupported block type: '%s'", block.Type)
}

// verify is Crt.Verify of linkerd2 pkg/tls/cred.go, with Go's own verifier and its
// default usage: an extended key usage, if there is one, must allow servers.
func (a *authority) verify(anchors *x509.CertPool, now time.Time) error {
	above := x509.NewCertPool()
	for _, c := range a.chain {
		above.AddCert(c)
	}
	_, err := a.cert.Verify(x509.VerifyOptions{Roots: anchors, Intermediates: above, CurrentTime: now})
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w - Current Time : %s - Invalid before %s - Invalid After %s", err, now, a.cert.NotBefore, a.cert.NotAfter)
	}
	return err
}

// end is the earliest end in the chain, which no leaf outlives (ca.go,
// findFirstExpiration). The anchor's does not count.
func (a *authority) end() time.Time {
	end := a.cert.NotAfter
	for _, c := range a.chain {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// presented is what a workload presents after its leaf.
func (a *authority) presented() [][]byte {
	out := [][]byte{a.cert.Raw}
	for _, c := range a.chain {
		out = append(out, c.Raw)
	}
	return out
}

// sign issues a leaf (ca.go, IssueEndEntityCrt and createTemplate). The algorithm
// is fixed, so that an RSA issuer loads well and then cannot sign.
func (a *authority) sign(csr *x509.CertificateRequest, now time.Time, lifetime, skew time.Duration) (*x509.Certificate, error) {
	pub, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("CSR must contain an ECDSA public key: %+v", csr.PublicKey)
	}
	end := now.Add(lifetime).Add(skew)
	if first := a.end(); first.Before(end) {
		end = first
	}
	t := &x509.Certificate{
		SerialNumber:       big.NewInt(a.serial),
		SignatureAlgorithm: x509.ECDSAWithSHA256,
		NotBefore:          now.Add(-skew),
		NotAfter:           end,
		KeyUsage:           x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:        []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		Subject:            csr.Subject,
		DNSNames:           csr.DNSNames,
	}
	a.serial++
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, pub, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
