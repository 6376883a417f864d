package linkerdtest

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/windlass-mesh/windlass/bundle"
)

// The defaults of the chart: identity.issuer.issuanceLifetime and
// identity.issuer.clockSkewAllowance.
const (
	DefaultLifetime = 24 * time.Hour
	DefaultSkew     = 20 * time.Second
)

// SchemeLinkerd is the identity scheme in which the issuer Secret has the keys
// crt.pem and key.pem; with any other they are tls.crt and tls.key.
const SchemeLinkerd = "linkerd.io/tls"

// TrustRootsKey is the key of the ConfigMap linkerd-identity-trust-roots.
const TrustRootsKey = "ca-bundle.crt"

// IdentityConfig is what an identity process finds when its container starts.
type IdentityConfig struct {
	Release     Release
	Clock       Clock
	Namespace   string // of the control plane
	TrustDomain string
	Scheme      string
	Lifetime    time.Duration
	Skew        time.Duration
	TrustRoots  Dir // /var/run/linkerd/identity/trust-roots
	Issuer      Dir // /var/run/linkerd/identity/issuer
	// Validate tells whose token it is: the identity, or a NotAuthenticated or
	// InvalidToken error, or another where it could not be found out.
	Validate func(ctx context.Context, token []byte) (identity string, err error)
	// Record receives the events. Nil drops them.
	Record func(Event)
	// Log receives what the process logs. Nil drops it.
	Log func(line string)
}

// NotAuthenticated and InvalidToken are what Validate says of a bad token
// (linkerd2 pkg/identity/service.go).
type (
	NotAuthenticated struct{}
	InvalidToken     struct{ Reason string }
)

// Error implements error.
func (NotAuthenticated) Error() string { return "authentication token could not be authenticated" }

// Error implements error.
func (e InvalidToken) Error() string { return e.Reason }

// Identity is one process of linkerd-identity. Its gRPC server speaks plain HTTP/2
// within its pod: from outside it is reached through the pod's proxy.
type Identity struct {
	pb.UnimplementedIdentityServer
	cfg      IdentityConfig
	anchors  *x509.CertPool // read once
	server   *grpc.Server
	listener *memoryListener

	mu     sync.Mutex
	issuer *authority
	files  string // what the issuer files held when the watch last looked
	miss   int
}

// StartIdentity starts an identity process. It reads its anchors and its issuer;
// where Linkerd's exits instead of starting, the error is a *Fatal with the last
// line of its log (linkerd2 controller/cmd/identity/main.go).
func StartIdentity(cfg IdentityConfig) (*Identity, error) {
	if cfg.Log == nil {
		cfg.Log = func(string) {}
	}
	if cfg.Record == nil {
		cfg.Record = func(Event) {}
	}
	text, err := cfg.TrustRoots.ReadFile(TrustRootsKey)
	if err != nil {
		return nil, fatal(err, "could not read identity trust anchors PEM: %s", err)
	}
	roots := bundle.ReadAs(text, bundle.Identity, 0)
	if roots.Err != nil {
		return nil, fatal(roots.Err, "Failed to read trust anchors: %s", roots.Err)
	}
	id := &Identity{cfg: cfg, anchors: x509.NewCertPool(), listener: newMemoryListener("localhost:8080")}
	for _, c := range roots.Certificates {
		parsed, err := c.X509()
		if err != nil {
			return nil, fatal(err, "Failed to read trust anchors: %s", err)
		}
		id.anchors.AddCert(parsed)
	}
	if err := id.load(); err != nil {
		return nil, fatal(err, "Failed to initialize identity service: %s", err)
	}
	id.files = id.issuerFiles()
	id.server = grpc.NewServer()
	pb.RegisterIdentityServer(id.server, id)
	go id.server.Serve(id.listener)
	return id, nil
}

// Stop ends the process.
func (id *Identity) Stop() { id.server.Stop() }

// dial connects to the gRPC port within the pod.
func (id *Identity) dial(ctx context.Context) (net.Conn, error) { return id.listener.dial(ctx) }

// load reads the issuer and takes it into use (service.go, Initialize).
func (id *Identity) load() error {
	issuer, err := id.readIssuer()
	if err != nil {
		return err
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	id.issuer = issuer
	return nil
}

// IssuerChanged tells the process's watch of the issuer directory that its files
// may have changed (service.go, Run). An issuer that is not good is skipped, and
// the old one goes on signing.
func (id *Identity) IssuerChanged() {
	done := id.cfg.Clock.Begin()
	defer done()
	id.mu.Lock()
	same := id.files == id.issuerFiles()
	id.files = id.issuerFiles()
	missed := !same && id.miss > 0
	if missed {
		id.miss--
	}
	id.mu.Unlock()
	if same || missed {
		return
	}
	if err := id.load(); err != nil {
		id.event(warning, "IssuerUpdateSkipped", fmt.Sprintf("Skipping issuer update as certs could not be read from disk: %s", err))
		return
	}
	id.event(normal, "IssuerUpdated", "Updated identity issuer")
}

// MissNext makes the watch miss the next n changes of the files: linkerd2 issue
// 15109, where identity goes on with the old issuer until that expires.
func (id *Identity) MissNext(n int) {
	id.mu.Lock()
	defer id.mu.Unlock()
	id.miss = n
}

// Issuer returns the certificate that the process signs with.
func (id *Identity) Issuer() *x509.Certificate {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.issuer.cert
}

// Certify implements the identity service (service.go, Certify).
func (id *Identity) Certify(ctx context.Context, req *pb.CertifyRequest) (*pb.CertifyResponse, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	name, token, csr, err := checkRequest(req)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := id.issuer.verify(id.anchors, id.cfg.Clock.Now()); err != nil {
		id.event(warning, "IssuerValidationFailed", fmt.Sprintf("%s - CSR Identity : %s", err, name))
		return nil, err
	}
	if err := checkCSR(csr, name); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	if err := id.authenticate(ctx, token, name); err != nil {
		return nil, err
	}
	leaf, err := id.issuer.sign(csr, id.cfg.Clock.Now(), id.cfg.Lifetime, id.cfg.Skew)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if id.cfg.Release.issuedEvents() {
		sum := sha256.Sum256(leaf.Raw)
		segments := strings.Split(name, ".")
		id.cfg.Record(Event{
			At: id.cfg.Clock.Now(), Type: normal, Reason: "IssuedLeafCertificate",
			Message: fmt.Sprintf("issued certificate for %s until %s: %s", name, leaf.NotAfter, hex.EncodeToString(sum[:])),
			Object:  ObjectReference{"v1", "ServiceAccount", segments[1], segments[0]},
		})
	}
	return &pb.CertifyResponse{
		LeafCertificate:          leaf.Raw,
		IntermediateCertificates: id.issuer.presented(),
		ValidUntil:               timestamppb.New(leaf.NotAfter),
	}, nil
}

// authenticate has the token checked and compares whose it is with the name that
// is asked for.
func (id *Identity) authenticate(ctx context.Context, token []byte, name string) error {
	found, err := id.cfg.Validate(ctx, token)
	switch {
	case errors.As(err, &NotAuthenticated{}):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.As(err, &InvalidToken{}):
		return status.Error(codes.InvalidArgument, err.Error())
	case err != nil:
		return status.Error(codes.Internal, fmt.Sprintf("error validating token for %s: %s", name, err))
	case found != name:
		return status.Error(codes.FailedPrecondition,
			fmt.Sprintf("requested identity did not match provided token: requested=%s; found=%s", name, found))
	}
	return nil
}

// checkRequest and checkCSR are the functions of service.go. Like there, the
// signature of the request is not checked.
func checkRequest(req *pb.CertifyRequest) (name string, token []byte, csr *x509.CertificateRequest, err error) {
	switch {
	case req.GetIdentity() == "":
		return "", nil, nil, errors.New("missing identity")
	case len(req.GetToken()) == 0:
		return "", nil, nil, errors.New("missing token")
	case len(req.GetCertificateSigningRequest()) == 0:
		return "", nil, nil, errors.New("missing certificate signing request")
	}
	csr, err = x509.ParseCertificateRequest(req.GetCertificateSigningRequest())
	return req.GetIdentity(), req.GetToken(), csr, err
}

func checkCSR(csr *x509.CertificateRequest, name string) error {
	switch {
	case len(csr.DNSNames) != 1:
		return errors.New("CSR must have exactly one DNSName")
	case csr.DNSNames[0] != name:
		return fmt.Errorf("CSR name does not match requested identity: csr=%s; req=%s", csr.DNSNames[0], name)
	case csr.Subject.CommonName != "" && csr.Subject.CommonName != name:
		return fmt.Errorf("invalid CommonName: %s", csr.Subject.CommonName)
	case len(csr.EmailAddresses) > 0:
		return errors.New("cannot validate email addresses")
	case len(csr.IPAddresses) > 0:
		return errors.New("cannot validate IP addresses")
	case len(csr.URIs) > 0:
		return errors.New("cannot validate URIs")
	}
	return nil
}

// ServeHTTP is the admin server of port 9990, as far as it tells of certificates.
func (id *Identity) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ping":
		text(w, http.StatusOK, "pong\n")
	case "/ready":
		text(w, http.StatusOK, "ok\n")
	case "/metrics":
		var body string
		if id.cfg.Release.issuerMetric() {
			const name = "issuer_cert_ttl_seconds"
			ttl := id.Issuer().NotAfter.Sub(id.cfg.Clock.Now()).Seconds()
			body = fmt.Sprintf("# HELP %s The remaining seconds until the issuer certificate expires\n# TYPE %s gauge\n%s %g\n", name, name, name, ttl)
		}
		text(w, http.StatusOK, body)
	default:
		http.NotFound(w, r)
	}
}

// event records what happened to the issuer, at the Deployment.
func (id *Identity) event(kind, reason, message string) {
	id.cfg.Log(message)
	id.cfg.Record(Event{
		At: id.cfg.Clock.Now(), Type: kind, Reason: reason, Message: message,
		Object: ObjectReference{"apps/v1", "Deployment", id.cfg.Namespace, "linkerd-identity"},
	})
}

// The types of events.
const (
	normal  = "Normal"
	warning = "Warning"
)

// Event is an event as the source component linkerd-identity records it.
type Event struct {
	At      time.Time
	Type    string // Normal or Warning
	Reason  string
	Message string
	Object  ObjectReference
}

// ObjectReference says what an event is about.
type ObjectReference struct{ APIVersion, Kind, Namespace, Name string }
