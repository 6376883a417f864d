package linkerdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"time"
)

// The ports of a proxy (values proxy.ports of the chart).
const (
	InboundPort = "4143"
	AdminPort   = "4191"
)

// ProxyConfig is what a proxy finds when its container starts.
type ProxyConfig struct {
	Cluster string
	Pod     string // namespace/name, to tell people which one it is
	Release Release
	Clock   Clock
	Network Network
	IP      string
	// Env is the environment of the process.
	Env map[string]string
	// Token returns what the token file holds.
	Token func(ctx context.Context) ([]byte, error)
	// Resolve returns the hosts of the identity service, as DNS does.
	Resolve func(service string) []string
	// Backend dials the container behind the proxy, past the proxy. Identity's
	// own proxy gets its leaf by it. Nil is a container that does not listen.
	Backend func(ctx context.Context) (net.Conn, error)
	// Changes is told before this proxy presents something else. Nil is nobody.
	Changes Changes
	// Log receives what the proxy logs. Nil drops it.
	Log func(line string)
}

// Changes lets somebody look whenever what a proxy presents or trusts changes.
type Changes interface {
	// Change calls apply, after which p trusts or presents something else, and
	// returns once all is seen that is to be seen before the next change.
	Change(p *Proxy, apply func())
}

// Proxy is one process of a Linkerd proxy: its key, its anchors and its ports
// last as long as it does.
type Proxy struct {
	cfg      ProxyConfig
	name     string // its own identity
	identity string // that of the identity service
	trust    *trustSet
	key      *ecdsa.PrivateKey
	csr      []byte
	chains   *chainCache
	minimum  time.Duration
	maximum  time.Duration
	inbound  net.Listener
	admin    *adminServer

	certifying sync.Mutex // held while a leaf is asked for

	mu       sync.Mutex
	cred     *credential // nil before the first leaf
	expiry   time.Time   // of the leaf, as identity told; zero before
	renewed  time.Time
	ok, bad  int // refreshes
	lastErr  error
	attempts int
	dead     bool
	stopped  bool
	stop     []func() // timers
	conns    map[net.Conn]struct{}
	onReady  func()
}

// credential is a leaf with all that is presented with it.
type credential struct {
	id     ID
	chain  [][]byte // leaf first
	leaf   *x509.Certificate
	server *tls.Config
	cert   *tls.Certificate
}

// StartProxy starts a proxy: it reads its environment, makes a key, listens, and
// asks for its first leaf, whose absence is no failure of the start. An error is
// what the process exits with, a *Fatal where Linkerd's would exit too.
func StartProxy(cfg ProxyConfig) (*Proxy, error) { return startProxy(cfg, newChainCache()) }

func startProxy(cfg ProxyConfig, chains *chainCache) (*Proxy, error) {
	done := cfg.Clock.Begin()
	defer done()
	cfg.Env = maps.Clone(cfg.Env)
	if cfg.Log == nil {
		cfg.Log = func(string) {}
	}
	if cfg.Changes == nil {
		cfg.Changes = unwatched{}
	}
	p := &Proxy{
		cfg: cfg, name: cfg.Env[EnvLocalName], identity: cfg.Env[EnvIdentityName], chains: chains,
		conns: make(map[net.Conn]struct{}),
	}
	var err error
	if p.trust, err = loadTrust(cfg.Env[EnvTrustAnchors], cfg.Release.Rules()); err != nil {
		return nil, err
	}
	if err := p.makeKey(); err != nil {
		return nil, err
	}
	// linkerd2-proxy linkerd/app/src/env.rs: DEFAULT_IDENTITY_MIN_REFRESH and
	// DEFAULT_IDENTITY_MAX_REFRESH.
	if p.minimum, err = durationEnv(cfg.Env, EnvMinRefresh, 10*time.Second); err != nil {
		return nil, err
	}
	if p.maximum, err = durationEnv(cfg.Env, EnvMaxRefresh, 24*time.Hour); err != nil {
		return nil, err
	}
	if p.inbound, err = cfg.Network.Listen(net.JoinHostPort(cfg.IP, InboundPort)); err != nil {
		return nil, fatal(err, "Initialization failure: %s", err)
	}
	if p.admin, err = startAdmin(p); err != nil {
		p.inbound.Close()
		return nil, fatal(err, "Initialization failure: %s", err)
	}
	go p.accept()
	p.certify()
	return p, nil
}

// makeKey makes the key and the request that last as long as the process
// (linkerd2 proxy-identity/main.go: a new one for each start of the container).
func (p *Proxy) makeKey() error {
	if p.name == "" {
		return fatal(nil, "a non-empty identity is required")
	}
	if !strings.Contains(p.name, ".") {
		return fatal(nil, "%s a fully qualified DNS name is required", p.name)
	}
	var err error
	if p.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	p.csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: p.name}, DNSNames: []string{p.name},
	}, p.key)
	return err
}

func durationEnv(env map[string]string, name string, def time.Duration) (time.Duration, error) {
	s, ok := env[name]
	if !ok {
		return def, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fatal(err, "Initialization failure: invalid environment variable %s", name)
	}
	return d, nil
}

// Name returns the identity that the proxy goes by.
func (p *Proxy) Name() string { return p.name }

// Pod returns which pod it is the proxy of.
func (p *Proxy) Pod() string { return p.cfg.Pod }

// Cluster returns the name of its cluster.
func (p *Proxy) Cluster() string { return p.cfg.Cluster }

// Ready tells whether /ready answers 200: it does from the first leaf on, and
// goes on doing so when that has died.
func (p *Proxy) Ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cred != nil && !p.stopped
}

// WhenReady calls f once the proxy is ready: at once if it is, which the result
// tells, or with the first leaf.
func (p *Proxy) WhenReady(f func()) (already bool) {
	p.mu.Lock()
	already = p.cred != nil
	if !already {
		p.onReady = f
	}
	p.mu.Unlock()
	if already {
		f()
	}
	return already
}

// Dead tells whether the proxy has a leaf that has died: no peer takes it any
// more, identity's proxy is one of them, and so there will be no other.
func (p *Proxy) Dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// Err returns why the last attempt to obtain a leaf failed, nil if it did not.
func (p *Proxy) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastErr
}

// Refreshes counts the attempts to obtain a leaf.
func (p *Proxy) Refreshes() (ok, failed int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ok, p.bad
}

// Chain returns the certificates that the proxy presents, leaf first, or nil.
func (p *Proxy) Chain() []*x509.Certificate {
	cred := p.credential()
	if cred == nil {
		return nil
	}
	chain := make([]*x509.Certificate, len(cred.chain))
	for i, der := range cred.chain {
		chain[i], _ = x509.ParseCertificate(der) // they were parsed in the handshake
	}
	return chain
}

// Trust returns the ID of what the proxy trusts.
func (p *Proxy) Trust() ID { return p.trust.id }

// Presents returns the ID of what the proxy presents beside its leaf, the same
// for all that were certified by one issuer with one chain. The zero ID means
// that it presents nothing yet.
func (p *Proxy) Presents() ID {
	if cred := p.credential(); cred != nil {
		return cred.id
	}
	return ID{}
}

func (p *Proxy) credential() *credential {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cred
}

// Stop ends the process, as the end of its container does.
func (p *Proxy) Stop() {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return
	}
	p.stopped = true
	stop, conns := p.stop, p.conns
	p.stop, p.conns = nil, nil
	p.mu.Unlock()
	for _, f := range stop {
		f()
	}
	p.inbound.Close()
	p.admin.close()
	for c := range conns {
		c.Close()
	}
}

// track remembers a connection until it is closed, to end it with the process.
func (p *Proxy) track(c net.Conn) (untrack func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, false
	}
	p.conns[c] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
	}, true
}

func (p *Proxy) log(format string, args ...any) {
	p.cfg.Log(fmt.Sprintf("%s %s: %s", p.cfg.Clock.Now().UTC().Format(time.RFC3339), p.cfg.Pod, fmt.Sprintf(format, args...)))
}

type unwatched struct{}

func (unwatched) Change(_ *Proxy, apply func()) { apply() }

func presentedID(chain [][]byte) ID {
	hash := sha256.New()
	for _, der := range chain[1:] {
		sum := sha256.Sum256(der)
		hash.Write(sum[:])
	}
	return ID(hash.Sum(nil))
}
