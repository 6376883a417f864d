package linkerdtest

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// The sides whose chains are judged.
const (
	asServer = webpki.Server
	asClient = webpki.Client
)

// protoTransport is the protocol that proxies speak to each other (linkerd2-proxy
// linkerd/transport-header). protoProbe is the ledger's: the server answers with
// one byte once it has accepted its client, since in TLS 1.3 a client's handshake
// ends before the server has judged the client's chain.
const (
	protoTransport = "transport.l5d.io/v1"
	protoProbe     = "probe.windlass"
)

// curves spares the ledger the cost of post-quantum key exchange, which has no
// bearing on certificates. P-256 is the quickest in Go.
var curves = []tls.CurveID{tls.CurveP256, tls.X25519}

// serverConfig is what the proxy accepts connections by: a chain is asked for,
// one that is presented must verify, none is fine (linkerd/meshtls/src/creds/store.rs,
// server_config: WebPkiClientVerifier, allow_unauthenticated). Like rustls it
// tells the subjects of its anchors.
func (p *Proxy) serverConfig(cred *credential) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: curves, NextProtos: []string{protoProbe, protoTransport},
		Time: p.cfg.Clock.Now, SessionTicketsDisabled: true,
		Certificates: []tls.Certificate{*cred.cert},
		ClientAuth:   tls.RequestClientCert, ClientCAs: p.trust.hints,
		VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
			if len(chain) == 0 {
				return nil
			}
			return p.judge(chain, asClient, "")
		},
	}
}

// accepting is the configuration of a listener: it takes connections for the
// proxy's own name, as soon as there is a leaf.
func (p *Proxy) accepting() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Time: p.cfg.Clock.Now,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.ServerName != p.name {
				return nil, fmt.Errorf("not for this proxy: %q", hello.ServerName)
			}
			cred := p.credential()
			if cred == nil {
				return nil, errors.New("no certificate yet")
			}
			return cred.server, nil
		},
	}
}

// clientConfig is what the proxy connects by. It presents its chain whatever the
// server hints at (CertResolver of store.rs ignores the acceptable issuers); Go
// on its own would withhold a chain that the hints do not name, and as a server
// admits who presents nothing, a refusal could never show.
func (p *Proxy) clientConfig(name string, protos ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: curves, NextProtos: protos,
		Time: p.cfg.Clock.Now, SessionTicketsDisabled: true,
		ServerName: name,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cred := p.credential(); cred != nil {
				return cred.cert, nil
			}
			return &tls.Certificate{}, nil
		},
		InsecureSkipVerify: true, // replaced, not left out:
		VerifyPeerCertificate: func(chain [][]byte, _ [][]*x509.Certificate) error {
			return p.judge(chain, asServer, name)
		},
	}
}

// judge decides about a presented chain by the proxies' rules; for a server its
// name counts too.
func (p *Proxy) judge(chain [][]byte, side webpki.Usage, name string) error {
	_, err := p.chains.get(p.cfg.Release.Rules(), chain).Verify(p.trust.anchors, side, p.cfg.Clock.Now())
	if err == nil && name != "" && !webpki.MatchesIdentity(chain[0], name) {
		err = fmt.Errorf("the certificate is for %q, not for %q", webpki.Identity(chain[0]), name)
	}
	if err != nil {
		return &Refusal{By: p.name, What: side.String(), Err: err, Chain: describeChain(chain), Trust: p.trust.label}
	}
	return nil
}

// Dial connects to another proxy, which must have the identity name. As TLS 1.3
// goes, the other may still refuse; then reading fails.
func (p *Proxy) Dial(ctx context.Context, host, name string) (net.Conn, error) {
	conn, err := p.cfg.Network.Dial(ctx, net.JoinHostPort(host, InboundPort))
	if err != nil {
		return nil, err
	}
	tc := tls.Client(conn, p.clientConfig(name))
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", host, err)
	}
	return abrupt{tc, conn}, nil
}

// abrupt is a TLS connection that is closed without a farewell, which would wait
// for a peer that does not read.
type abrupt struct {
	net.Conn
	raw net.Conn
}

func (c abrupt) Close() error { return c.raw.Close() }

// accept serves the inbound port.
func (p *Proxy) accept() {
	for {
		conn, err := p.inbound.Accept()
		if err != nil {
			return
		}
		untrack, ok := p.track(conn)
		if !ok {
			conn.Close()
			return
		}
		go func() {
			defer untrack()
			if err := p.serve(conn); err != nil {
				p.log("inbound: %v", err)
			}
		}()
	}
}

// serve accepts one connection and hands what is in it to the container behind.
// It returns once the connection is closed, with the reason if it was refused.
func (p *Proxy) serve(conn net.Conn) error {
	defer conn.Close() // not the TLS connection, whose farewell may block
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tc := tls.Server(conn, p.accepting())
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	if tc.ConnectionState().NegotiatedProtocol == protoProbe {
		_, err := tc.Write([]byte{1})
		return err
	}
	if p.cfg.Backend == nil {
		return nil
	}
	behind, err := p.cfg.Backend(ctx)
	if err != nil {
		return err
	}
	defer behind.Close()
	go func() {
		defer behind.Close()
		io.Copy(behind, tc)
	}()
	io.Copy(tc, behind)
	return nil
}

// probe shakes hands with server as this proxy does, over a pipe. The error is
// the first cause: the *Refusal of whichever side refused, if one did.
func (p *Proxy) probe(server *Proxy) error {
	near, far := net.Pipe()
	defer near.Close()
	served := make(chan error, 1)
	go func() { served <- server.serve(far) }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tc := tls.Client(near, p.clientConfig(server.name, protoProbe))
	err := tc.HandshakeContext(ctx)
	if err == nil {
		// From here on only a server that does not answer could keep us.
		stop := context.AfterFunc(ctx, func() { near.Close() })
		defer stop()
		_, err = io.ReadFull(tc, make([]byte, 1))
	}
	near.Close()
	other := <-served
	if err == nil {
		return nil
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) && errors.As(other, &refusal) {
		return refusal
	}
	if other != nil && refusal == nil {
		return fmt.Errorf("%w (%s: %w)", err, server.name, other)
	}
	return err
}

// chainCache keeps parsed chains, which remember what signatures they have found
// good, so that a fleet's handshakes do not repeat each other's arithmetic.
type chainCache struct {
	mu     sync.Mutex
	chains map[chainKey]*webpki.Chain
}

type chainKey struct {
	rules webpki.Release
	chain ID
}

// maxChains bounds the cache; it starts anew when full.
const maxChains = 4096

func newChainCache() *chainCache { return &chainCache{chains: make(map[chainKey]*webpki.Chain)} }

func (c *chainCache) get(rules webpki.Release, chain [][]byte) *webpki.Chain {
	hash := sha256.New()
	for _, der := range chain {
		fmt.Fprintf(hash, "%d:", len(der))
		hash.Write(der)
	}
	key := chainKey{rules, ID(hash.Sum(nil))}
	c.mu.Lock()
	defer c.mu.Unlock()
	if parsed := c.chains[key]; parsed != nil {
		return parsed
	}
	if len(c.chains) >= maxChains {
		clear(c.chains)
	}
	parsed := webpki.ParseChain(rules, chain[0], chain[1:])
	c.chains[key] = parsed
	return parsed
}
