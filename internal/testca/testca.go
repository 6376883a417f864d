// Package testca builds certificate hierarchies for tests, sound ones and
// broken ones, in a line per certificate:
//
//	lab := testca.New(now)
//	root := lab.Root("root")
//	iss := root.Issuer("identity.linkerd.cluster.local", testca.Until(48*time.Hour))
//	leaf := iss.Leaf("web.emojivoto")
//	x := lab.Root("new root").CrossSignedBy(root)
//
// It is built on the standard library alone and shares no code with what it
// helps to test. Keys are made when the test runs and never leave memory.
// Mistakes in its use panic, so that no test has to handle errors. Only tests
// and demos import it.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync/atomic"
	"time"
)

// Lab makes hierarchies around one moment.
type Lab struct {
	now    time.Time
	serial atomic.Int64
}

// New returns a lab whose certificates are valid around now.
func New(now time.Time) *Lab { return &Lab{now: now.UTC().Truncate(time.Second)} }

// Now is the lab's moment.
func (l *Lab) Now() time.Time { return l.now }

// Cert is a certificate with its key and its way up to a root.
type Cert struct {
	*x509.Certificate
	Key crypto.Signer
	// Parent signed it; itself for a root.
	Parent *Cert
	lab    *Lab
}

// Option changes one thing about a certificate.
type Option func(*recipe)

type recipe struct {
	template    *x509.Certificate
	key         func() crypto.Signer
	from, until *time.Duration
}

// Template is the way to everything the other options do not offer.
func Template(edit func(*x509.Certificate)) Option { return func(r *recipe) { edit(r.template) } }

// From begins the validity at an offset from now (negative: in the past).
func From(offset time.Duration) Option { return func(r *recipe) { r.from = &offset } }

// Until ends the validity at an offset from now (negative: expired).
func Until(offset time.Duration) Option { return func(r *recipe) { r.until = &offset } }

// PathLen limits the path length; negative removes the limit.
func PathLen(n int) Option {
	return func(r *recipe) { r.template.MaxPathLen, r.template.MaxPathLenZero = n, n == 0 }
}

// EKU sets the extended key usages.
func EKU(usages ...x509.ExtKeyUsage) Option {
	return func(r *recipe) { r.template.ExtKeyUsage = usages }
}

// Usage sets the key usage; 0 leaves the extension out.
func Usage(u x509.KeyUsage) Option { return func(r *recipe) { r.template.KeyUsage = u } }

// NotCA makes basic constraints say CA:FALSE.
func NotCA() Option {
	return func(r *recipe) { r.template.IsCA, r.template.MaxPathLen = false, -1 }
}

// DNS sets the DNS names.
func DNS(names ...string) Option { return func(r *recipe) { r.template.DNSNames = names } }

// Permit adds critical name constraints that permit these DNS domains only.
func Permit(domains ...string) Option {
	return func(r *recipe) {
		r.template.PermittedDNSDomains, r.template.PermittedDNSDomainsCritical = domains, true
	}
}

// Extension adds an extension as it is.
func Extension(e pkix.Extension) Option {
	return func(r *recipe) { r.template.ExtraExtensions = append(r.template.ExtraExtensions, e) }
}

// Subject sets the whole subject as DER bytes.
func Subject(raw []byte) Option { return func(r *recipe) { r.template.RawSubject = raw } }

// SignedWith sets the algorithm of the signature.
func SignedWith(a x509.SignatureAlgorithm) Option {
	return func(r *recipe) { r.template.SignatureAlgorithm = a }
}

// WithKey uses a key that exists, for twins and same-key cases.
func WithKey(key crypto.Signer) Option {
	return func(r *recipe) { r.key = func() crypto.Signer { return key } }
}

// Kind makes a key of another kind than ECDSA P-256: "P-224", "P-384",
// "P-521", "Ed25519", "RSA 2048" and so on.
func Kind(kind string) Option {
	return func(r *recipe) { r.key = func() crypto.Signer { return Key(kind) } }
}

// Key makes a key; see Kind.
func Key(kind string) crypto.Signer {
	curves := map[string]elliptic.Curve{"P-224": elliptic.P224(), "P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	if curve, ok := curves[kind]; ok {
		return must(ecdsa.GenerateKey(curve, rand.Reader))
	}
	if bits, ok := strings.CutPrefix(kind, "RSA "); ok {
		var n int
		must(fmt.Sscan(bits, &n))
		return must(rsa.GenerateKey(rand.Reader, n))
	}
	if kind == "Ed25519" {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		must(0, err)
		return key
	}
	panic("testca: no such kind of key: " + kind)
}

// Root makes a self-signed root: ten years, no path length limit.
func (l *Lab) Root(cn string, opts ...Option) *Cert {
	t := l.ca(cn, 87600*time.Hour)
	return l.build(nil, t, opts)
}

// Issuer makes an identity issuer below: one year, path length 0, its common
// name also as DNS name.
func (c *Cert) Issuer(cn string, opts ...Option) *Cert {
	t := c.lab.ca(cn, 8760*time.Hour)
	t.MaxPathLen, t.MaxPathLenZero, t.DNSNames = 0, true, []string{cn}
	return c.lab.build(c, t, opts)
}

// Sub makes a CA below without path length limit.
func (c *Cert) Sub(cn string, opts ...Option) *Cert {
	return c.lab.build(c, c.lab.ca(cn, 8760*time.Hour), opts)
}

// Leaf makes a workload certificate: 24 hours, for server and client. A name of
// the form "sa.ns" is completed to Linkerd's, any other stands as it is; "" is
// no name.
func (c *Cert) Leaf(name string, opts ...Option) *Cert {
	if strings.Count(name, ".") == 1 {
		name += ".serviceaccount.identity.linkerd.cluster.local"
	}
	t := &x509.Certificate{
		NotBefore: c.lab.now.Add(-time.Hour), NotAfter: c.lab.now.Add(24 * time.Hour), BasicConstraintsValid: true, MaxPathLen: -1,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if name != "" {
		t.Subject, t.DNSNames = pkix.Name{CommonName: name}, []string{name}
	}
	return c.lab.build(c, t, opts)
}

// CrossSignedBy signs this certificate's subject and key with another CA.
func (c *Cert) CrossSignedBy(by *Cert, opts ...Option) *Cert {
	t := c.lab.ca("", 8760*time.Hour)
	t.RawSubject, t.SubjectKeyId = c.RawSubject, c.SubjectKeyId
	return c.lab.build(by, t, append([]Option{WithKey(c.Key)}, opts...))
}

// Again makes a twin of a root: same subject and key, new dates and serial.
func (c *Cert) Again(opts ...Option) *Cert {
	t := c.lab.ca("", 87600*time.Hour)
	t.RawSubject, t.SubjectKeyId = c.RawSubject, c.SubjectKeyId
	return c.lab.build(nil, t, append([]Option{WithKey(c.Key)}, opts...))
}

// Adopt takes a CA certificate made elsewhere, to build below it.
func (l *Lab) Adopt(c *x509.Certificate, key crypto.Signer) *Cert {
	adopted := &Cert{Certificate: c, Key: key, lab: l}
	adopted.Parent = adopted
	return adopted
}

func (l *Lab) ca(cn string, validity time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: cn}, NotBefore: l.now.Add(-time.Hour), NotAfter: l.now.Add(validity),
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func (l *Lab) build(parent *Cert, t *x509.Certificate, opts []Option) *Cert {
	r := &recipe{template: t, key: func() crypto.Signer { return Key("P-256") }}
	for _, o := range opts {
		o(r)
	}
	if r.from != nil {
		t.NotBefore = l.now.Add(*r.from)
	}
	if r.until != nil {
		t.NotAfter = l.now.Add(*r.until)
	}
	t.SerialNumber = big.NewInt(l.serial.Add(1))
	c := &Cert{Key: r.key(), Parent: parent, lab: l}
	signer, by := c.Key, t
	if parent == nil {
		c.Parent = c
	} else {
		signer, by = parent.Key, parent.Certificate
		t.AuthorityKeyId = by.SubjectKeyId
	}
	der := must(x509.CreateCertificate(rand.Reader, t, by, c.Key.Public(), signer))
	c.Certificate = must(x509.ParseCertificate(der))
	return c
}

// Chain is what this certificate presents: itself and its parents, without the
// root, then the others given (cross-signed roots, say).
func (c *Cert) Chain(others ...*Cert) []*x509.Certificate {
	chain := []*x509.Certificate{c.Certificate}
	for p := c.Parent; p.Parent != p; p = p.Parent {
		chain = append(chain, p.Certificate)
	}
	return append(chain, Certs(others...)...)
}

// Certs takes the certificates out.
func Certs(cs ...*Cert) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range cs {
		out = append(out, c.Certificate)
	}
	return out
}

// Pool makes a pool of anchors.
func Pool(cs ...*Cert) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range cs {
		pool.AddCert(c.Certificate)
	}
	return pool
}

// TLS is the certificate as a TLS server or client presents it.
func (c *Cert) TLS(others ...*Cert) tls.Certificate {
	out := tls.Certificate{PrivateKey: c.Key, Leaf: c.Certificate}
	for _, x := range c.Chain(others...) {
		out.Certificate = append(out.Certificate, x.Raw)
	}
	return out
}

// PEM writes certificates as PEM, in order.
func PEM(certs ...*x509.Certificate) string {
	var out strings.Builder
	for _, c := range certs {
		must(0, pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out.String()
}

// PEM is the certificate alone as PEM.
func (c *Cert) PEM() string { return PEM(c.Certificate) }

// KeyPEM is the key as PKCS#8 PEM in clear.
func (c *Cert) KeyPEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(c.Key))}))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("testca: " + err.Error())
	}
	return v
}
