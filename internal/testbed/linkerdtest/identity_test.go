package linkerdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/identity"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/windlass-mesh/windlass/internal/testca"
)

// dir is a mounted directory that a test writes to.
type dir map[string]string

func (d dir) ReadFile(name string) ([]byte, error) {
	if text, ok := d[name]; ok {
		return []byte(text), nil
	}
	return nil, fmt.Errorf("open %s: no such file or directory", name)
}

// bench is an identity process with its files and what it recorded.
type bench struct {
	cfg    IdentityConfig
	clock  *Fake
	roots  dir
	issuer dir
	events []Event
}

func newBench(a anchor) *bench {
	b := &bench{clock: NewFake(epoch), roots: dir{TrustRootsKey: a.root.PEM()}, issuer: dir{}}
	b.write(a.issuer)
	b.cfg = IdentityConfig{
		Release: Latest, Clock: b.clock, Namespace: "linkerd", TrustDomain: "cluster.local", Scheme: SchemeLinkerd,
		Lifetime: DefaultLifetime, Skew: DefaultSkew, TrustRoots: b.roots, Issuer: b.issuer,
		Validate: func(_ context.Context, token []byte) (string, error) { return string(token), nil },
		Record:   func(e Event) { b.events = append(b.events, e) },
	}
	return b
}

// write puts an issuer, and what stands above it, into the files.
func (b *bench) write(issuer *testca.Cert, above ...*testca.Cert) {
	b.issuer["crt.pem"] = testca.PEM(append([]*x509.Certificate{issuer.Certificate}, testca.Certs(above...)...)...)
	b.issuer["key.pem"] = issuer.KeyPEM()
}

const webName = "web.shop.serviceaccount.identity.linkerd.cluster.local"

func request(t *testing.T, edit func(*x509.CertificateRequest)) *pb.CertifyRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	csr := &x509.CertificateRequest{Subject: pkix.Name{CommonName: webName}, DNSNames: []string{webName}}
	if edit != nil {
		edit(csr)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, csr, key)
	require.NoError(t, err)
	return &pb.CertifyRequest{Identity: webName, Token: []byte(webName), CertificateSigningRequest: der}
}

func (b *bench) start(t *testing.T) *Identity {
	t.Helper()
	id, err := StartIdentity(b.cfg)
	require.NoError(t, err)
	t.Cleanup(id.Stop)
	return id
}

func (b *bench) leaf(t *testing.T, id *Identity) *x509.Certificate {
	t.Helper()
	resp, err := id.Certify(t.Context(), request(t, nil))
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(resp.LeafCertificate)
	require.NoError(t, err)
	require.Equal(t, leaf.NotAfter, resp.ValidUntil.AsTime())
	return leaf
}

func TestIdentityStartsOnlyWithAnchorsAndAnIssuerThatAreGood(t *testing.T) {
	lab := newLab()
	o, n := newAnchor(lab, "O"), newAnchor(lab, "N")
	for _, test := range []struct {
		name  string
		given func(*bench)
		want  string // where it ends in "...", a beginning
	}{
		{"no anchors file", func(b *bench) { delete(b.roots, TrustRootsKey) },
			"could not read identity trust anchors PEM: open ca-bundle.crt: no such file or directory"},
		{"a blank line after the last block", func(b *bench) { b.roots[TrustRootsKey] += "\n" },
			"Failed to read trust anchors: not a PEM certificate"},
		{"an empty bundle", func(b *bench) { b.roots[TrustRootsKey] = "" },
			"Failed to read trust anchors: no certificates found"},
		{"an issuer of another anchor", func(b *bench) { b.write(n.issuer) },
			"Failed to initialize identity service: failed to verify issuer credentials for 'identity.linkerd.cluster.local' with trust anchors: x509: certificate signed by unknown authority..."},
		{"the key of another issuer", func(b *bench) { b.issuer["key.pem"] = n.issuer.KeyPEM() },
			"Failed to initialize identity service: failed to read CA from disk: tls: Public and private key do not match"},
		{"EC PARAMETERS before the key", func(b *bench) {
			b.issuer["key.pem"] = "-----BEGIN EC PARAMETERS-----\nAA==\n-----END EC PARAMETERS-----\n"
		},
			"Failed to initialize identity service: failed to read CA from disk: unsupported block type: 'EC PARAMETERS'"},
		{"a leaf for an issuer", func(b *bench) { b.write(o.root.Leaf("web.shop")) },
			"Failed to initialize identity service: failed to verify issuer certificate: it must be an intermediate-CA, but it is not"},
		{"an expired anchor", func(b *bench) {
			old := newAnchor(lab, "old")
			old.root = old.root.Again(testca.Until(-time.Minute))
			b.roots[TrustRootsKey] = old.root.PEM()
			b.write(old.issuer)
		}, "Failed to initialize identity service: failed to verify issuer credentials for 'identity.linkerd.cluster.local' with trust anchors: x509: ..."},
		{"an expired issuer", func(b *bench) { b.write(o.root.Issuer("gone", testca.Until(-time.Minute))) },
			"Failed to initialize identity service: failed to verify issuer credentials for 'identity.linkerd.cluster.local' with trust anchors: x509: certificate has expired or is not yet valid: ..."},
		{"the other scheme's files", func(b *bench) { b.cfg.Scheme = "kubernetes.io/tls" },
			"Failed to initialize identity service: failed to read CA from disk: open tls.key: no such file or directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(o)
			test.given(b)
			_, err := StartIdentity(b.cfg)
			var f *Fatal
			require.ErrorAs(t, err, &f)
			if n := len(test.want) - 3; test.want[n:] == "..." {
				require.Contains(t, err.Error(), test.want[:n])
				return
			}
			require.EqualError(t, err, test.want)
		})
	}
	b := newBench(o)
	b.cfg.Scheme = "kubernetes.io/tls"
	b.issuer["tls.crt"], b.issuer["tls.key"] = o.issuer.PEM(), o.issuer.KeyPEM()
	b.start(t)
	require.Empty(t, b.events, "the first load is no event")
}

func TestIdentityFollowsTheIssuerAndNotTheAnchors(t *testing.T) {
	lab := newLab()
	o, n := newAnchor(lab, "O"), newAnchor(lab, "N")
	b := newBench(o)
	id := b.start(t)

	b.roots[TrustRootsKey] = both(o, n)
	b.write(n.issuer)
	id.IssuerChanged()
	require.Equal(t, o.issuer.Raw, id.Issuer().Raw)
	require.Len(t, b.events, 1)
	require.Equal(t, "IssuerUpdateSkipped", b.events[0].Reason)
	require.Equal(t, "Warning", b.events[0].Type)
	require.Contains(t, b.events[0].Message, "Skipping issuer update as certs could not be read from disk: failed to verify issuer credentials")
	require.Equal(t, ObjectReference{"apps/v1", "Deployment", "linkerd", "linkerd-identity"}, b.events[0].Object)

	id = b.start(t) // a new process reads the anchors anew
	require.Equal(t, n.issuer.Raw, id.Issuer().Raw)

	next := o.root.Issuer("next")
	b.write(next)
	id.MissNext(1)
	id.IssuerChanged()
	require.Equal(t, n.issuer.Raw, id.Issuer().Raw, "the change was missed")
	id.IssuerChanged()
	require.Equal(t, n.issuer.Raw, id.Issuer().Raw, "and there is no other")
	b.write(o.issuer)
	id.IssuerChanged()
	require.Equal(t, o.issuer.Raw, id.Issuer().Raw)
	require.Equal(t, Event{
		At: epoch, Type: "Normal", Reason: "IssuerUpdated", Message: "Updated identity issuer",
		Object: ObjectReference{"apps/v1", "Deployment", "linkerd", "linkerd-identity"},
	}, b.events[len(b.events)-1])
}

func TestALeafEndsWithTheFirstOfItsChainAndNotWithTheAnchor(t *testing.T) {
	lab := newLab()
	o := newAnchor(lab, "O")
	n := anchor{root: lab.Root("N", testca.Until(time.Hour))}
	n.issuer = n.root.Issuer("under N")
	b := newBench(n)
	id := b.start(t)
	require.Equal(t, epoch.Add(DefaultLifetime+DefaultSkew), b.leaf(t, id).NotAfter, "the anchor's end does not count")

	x := n.root.CrossSignedBy(o.root, testca.Until(6*time.Hour))
	b.write(n.issuer, x)
	id.IssuerChanged()
	require.Equal(t, epoch.Add(6*time.Hour), b.leaf(t, id).NotAfter)
	resp, err := id.Certify(t.Context(), request(t, nil))
	require.NoError(t, err)
	require.Equal(t, [][]byte{n.issuer.Raw, x.Raw}, resp.IntermediateCertificates)

	// Once X has ended, leaves are dead on arrival, without a word.
	b.roots[TrustRootsKey] = n.root.Again(testca.Until(day)).PEM()
	id = b.start(t)
	b.clock.Advance(7 * time.Hour)
	require.Equal(t, epoch.Add(6*time.Hour), b.leaf(t, id).NotAfter)
}

func TestIdentityChecksItsIssuerAtEachRequest(t *testing.T) {
	b := newBench(newAnchor(newLab(), "O", testca.Until(time.Hour)))
	id := b.start(t)
	b.clock.Advance(2 * time.Hour)
	_, err := id.Certify(t.Context(), request(t, nil))
	require.Equal(t, codes.Unknown, status.Code(err), "the bare error of the verifier")
	require.Len(t, b.events, 1)
	require.Equal(t, "IssuerValidationFailed", b.events[0].Reason)
	require.Equal(t, err.Error()+" - CSR Identity : "+webName, b.events[0].Message)
	require.Contains(t, err.Error(), " - Current Time : 2026-03-01 14:00:00 +0000 UTC - Invalid before ")
	require.Contains(t, metrics(id), "\nissuer_cert_ttl_seconds -3600\n")
}

func TestIdentityIssuesLeavesAsLinkerdDoes(t *testing.T) {
	b := newBench(newAnchor(newLab(), "O"))
	id := b.start(t)
	first, second := b.leaf(t, id), b.leaf(t, id)
	require.Equal(t, int64(1), first.SerialNumber.Int64())
	require.Equal(t, int64(2), second.SerialNumber.Int64())
	require.Equal(t, int64(1), b.leaf(t, b.start(t)).SerialNumber.Int64(), "each process begins anew")
	require.Equal(t, x509.ECDSAWithSHA256, first.SignatureAlgorithm)
	require.Equal(t, []string{webName}, first.DNSNames)
	require.Equal(t, webName, first.Subject.CommonName)
	require.Equal(t, x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment, first.KeyUsage)
	require.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, first.ExtKeyUsage)
	sum := sha256.Sum256(first.Raw)
	require.Equal(t, Event{
		At: epoch, Type: "Normal", Reason: "IssuedLeafCertificate",
		Message: "issued certificate for " + webName + " until 2026-03-02 12:00:20 +0000 UTC: " + hex.EncodeToString(sum[:]),
		Object:  ObjectReference{"v1", "ServiceAccount", "shop", "web"},
	}, b.events[0])
}

func TestIdentityRefusesRequestsThatAreNotInOrder(t *testing.T) {
	b := newBench(newAnchor(newLab(), "O"))
	id := b.start(t)
	csr := func(edit func(*x509.CertificateRequest)) func(*pb.CertifyRequest) {
		return func(r *pb.CertifyRequest) { r.CertificateSigningRequest = request(t, edit).CertificateSigningRequest }
	}
	for _, test := range []struct {
		name string
		edit func(*pb.CertifyRequest)
		code codes.Code
		want string
	}{
		{"no identity", func(r *pb.CertifyRequest) { r.Identity = "" }, codes.InvalidArgument, "missing identity"},
		{"no token", func(r *pb.CertifyRequest) { r.Token = nil }, codes.InvalidArgument, "missing token"},
		{"no request", func(r *pb.CertifyRequest) { r.CertificateSigningRequest = nil }, codes.InvalidArgument, "missing certificate signing request"},
		{"two names", csr(func(c *x509.CertificateRequest) { c.DNSNames = append(c.DNSNames, "b") }), codes.FailedPrecondition, "CSR must have exactly one DNSName"},
		{"another name", csr(func(c *x509.CertificateRequest) { c.DNSNames = []string{"b"} }), codes.FailedPrecondition, "CSR name does not match requested identity: csr=b; req=" + webName},
		{"another common name", csr(func(c *x509.CertificateRequest) { c.Subject.CommonName = "b" }), codes.FailedPrecondition, "invalid CommonName: b"},
		{"an email address", csr(func(c *x509.CertificateRequest) { c.EmailAddresses = []string{"a@b"} }), codes.FailedPrecondition, "cannot validate email addresses"},
		{"an IP address", csr(func(c *x509.CertificateRequest) { c.IPAddresses = []net.IP{net.IPv4(1, 2, 3, 4)} }), codes.FailedPrecondition, "cannot validate IP addresses"},
		{"a URI", csr(func(c *x509.CertificateRequest) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "a"}} }), codes.FailedPrecondition, "cannot validate URIs"},
		{"the token of another", func(r *pb.CertifyRequest) { r.Token = []byte("other") }, codes.FailedPrecondition, "requested identity did not match provided token: requested=" + webName + "; found=other"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, nil)
			test.edit(r)
			_, err := id.Certify(t.Context(), r)
			require.Equal(t, test.code, status.Code(err))
			require.Equal(t, test.want, status.Convert(err).Message())
		})
	}
	require.Empty(t, b.events)
}

func TestAnRSAIssuerLoadsAndCannotSign(t *testing.T) {
	lab := newLab()
	o := anchor{root: lab.Root("O")}
	o.issuer = o.root.Issuer("rsa", testca.Kind("RSA 2048"))
	b := newBench(o)
	id := b.start(t)
	_, err := id.Certify(t.Context(), request(t, nil))
	require.Equal(t, codes.Internal, status.Code(err))
}

func TestTheIssuersMetricCameWith218(t *testing.T) {
	b := newBench(newAnchor(newLab(), "O", testca.Until(time.Hour)))
	require.Contains(t, metrics(b.start(t)), "\nissuer_cert_ttl_seconds 3600\n")
	b.cfg.Release = MustRelease("2.17")
	require.NotContains(t, metrics(b.start(t)), "issuer")
}

func metrics(id *Identity) string {
	rec := httptest.NewRecorder()
	id.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	body, _ := io.ReadAll(rec.Body)
	return string(body)
}
