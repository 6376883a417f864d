package linkerdtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// patience bounds, in real time, what cannot take long on one machine, so that a
// fault shows as an error and not as a test that hangs.
const patience = 20 * time.Second

// certify obtains a leaf and sees to the next time (linkerd2-proxy
// linkerd/proxy/identity-client/src/certify.rs, Certify::run).
func (p *Proxy) certify() {
	done := p.cfg.Clock.Begin()
	defer done()
	p.certifying.Lock()
	defer p.certifying.Unlock()
	err := p.obtain()
	now := p.cfg.Clock.Now()

	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return
	}
	p.lastErr = err
	if err == nil {
		p.ok++
		p.renewed = now
	} else {
		p.bad++
	}
	// A dead leaf is refused by identity's proxy, so that Linkerd's would try in
	// vain every ten seconds from here on. Identity's own asks past the proxies.
	if err != nil && p.cred != nil && now.After(p.cred.leaf.NotAfter) && !p.local() {
		p.dead = true
		p.mu.Unlock()
		p.log("Failed to obtain identity: %v; its certificate is dead, and so it will never", err)
		return
	}
	for _, stop := range p.stop {
		stop()
	}
	p.stop = []func(){p.cfg.Clock.AfterFunc(p.refreshIn(now), p.certify)}
	if cred := p.cred; cred != nil {
		// One look at the moment of death, unless there is a new leaf by then.
		if in := cred.leaf.NotAfter.Add(time.Second).Sub(now); in > 0 {
			p.stop = append(p.stop, p.cfg.Clock.AfterFunc(in, func() { p.died(cred) }))
		}
	}
	p.mu.Unlock()
	if err != nil {
		p.log("Failed to obtain identity: %v", err)
	}
}

// Retry asks for the first leaf at once, without waiting for the next attempt to
// fall due. A proxy that has a leaf is left alone.
func (p *Proxy) Retry() {
	if !p.Ready() {
		p.certify()
	}
}

// died tells that the leaf has ended, which is a change of what is presented.
func (p *Proxy) died(cred *credential) {
	done := p.cfg.Clock.Begin()
	defer done()
	if p.credential() == cred {
		p.cfg.Changes.Change(p, func() {})
	}
}

// refreshIn is refresh_in of certify.rs: 70 % of what remains, within bounds;
// without a live leaf the minimum.
func (p *Proxy) refreshIn(now time.Time) time.Duration {
	remains := p.expiry.Sub(now)
	if p.expiry.IsZero() || remains < 0 {
		return p.minimum
	}
	return min(max(remains*7/10, p.minimum), p.maximum)
}

// obtain asks identity for a leaf and installs it. Until that has worked the
// proxy keeps what it has.
func (p *Proxy) obtain() error {
	if p.ended() {
		return errStopped
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	token, err := p.cfg.Token(ctx)
	if err != nil {
		return err
	}
	conn, err := p.dialIdentity(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	resp, err := certifyOver(ctx, conn, &pb.CertifyRequest{
		Identity: p.name, Token: token, CertificateSigningRequest: p.csr,
	})
	if err != nil {
		return err
	}
	if resp.GetValidUntil() == nil {
		return errors.New("identity certification missing expiration")
	}
	expiry := resp.GetValidUntil().AsTime()
	if !expiry.After(p.cfg.Clock.Now()) {
		return errors.New("certificate already expired")
	}
	return p.install(append([][]byte{resp.GetLeafCertificate()}, resp.GetIntermediateCertificates()...), expiry)
}

var errStopped = errors.New("the process has ended")

func (p *Proxy) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

// install takes a leaf into use, if the proxy's own anchors verify it for its
// own name, as a client would (linkerd/meshtls/src/creds/store.rs,
// set_certificate and validate).
func (p *Proxy) install(chain [][]byte, expiry time.Time) error {
	if err := p.judge(chain, asServer, p.name); err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	if !p.key.PublicKey.Equal(leaf.PublicKey) {
		return errors.New("the certificate is for another key") // CertifiedKey::from_der: InconsistentKeys
	}
	cred := &credential{
		id: presentedID(chain), chain: chain, leaf: leaf,
		cert: &tls.Certificate{Certificate: chain, PrivateKey: p.key, Leaf: leaf},
	}
	cred.server = p.serverConfig(cred)
	var tell func()
	p.cfg.Changes.Change(p, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cred, p.expiry = cred, expiry
		tell, p.onReady = p.onReady, nil
	})
	if tell != nil {
		tell()
	}
	return nil
}

// local tells whether this is identity's own proxy, which talks to the
// container next to it without TLS (linkerd/app/src/env.rs: an address on the
// loopback has no identity).
func (p *Proxy) local() bool {
	host, _, _ := strings.Cut(p.cfg.Env[EnvIdentityAddr], ":")
	return strings.TrimSuffix(host, ".") == "localhost"
}

// dialIdentity connects to the identity service: to the first of its replicas,
// beginning with another one each time, with which the handshake works.
func (p *Proxy) dialIdentity(ctx context.Context) (net.Conn, error) {
	if p.local() {
		if p.cfg.Backend == nil {
			return nil, errors.New("connect localhost: connection refused")
		}
		return p.cfg.Backend(ctx)
	}
	hosts := p.cfg.Resolve(p.cfg.Env[EnvIdentityAddr])
	if len(hosts) == 0 {
		return nil, fmt.Errorf("no endpoints of %s", p.cfg.Env[EnvIdentityAddr])
	}
	p.mu.Lock()
	p.attempts++
	first := p.attempts
	p.mu.Unlock()
	var errs []error
	for i := range hosts {
		conn, err := p.Dial(ctx, hosts[(first+i)%len(hosts)], p.identity)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// certifyOver makes one call over one connection.
func certifyOver(ctx context.Context, conn net.Conn, req *pb.CertifyRequest) (*pb.CertifyResponse, error) {
	c := &firstError{Conn: conn}
	var once sync.Once
	client, err := grpc.NewClient("passthrough:///identity",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			err := errors.New("the connection ended")
			var use net.Conn
			once.Do(func() { use, err = c, nil })
			return use, err
		}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	resp, err := pb.NewIdentityClient(client).Certify(ctx, req)
	if err != nil {
		// In TLS 1.3 a client learns only by reading that it was refused.
		if first := c.get(); first != nil && strings.Contains(first.Error(), "tls:") {
			return nil, first
		}
		return nil, err
	}
	return resp, nil
}

// firstError remembers the first error of reading a connection.
type firstError struct {
	net.Conn
	mu  sync.Mutex
	err error
}

func (c *firstError) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.err == nil {
		c.err = err
	}
	return n, err
}

func (c *firstError) get() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
