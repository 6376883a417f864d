package linkerdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

// webhookService stands in for Service linkerd-proxy-injector: the API server
// calls it by URL, and it hands each connection to the next ready replica, which
// ends the TLS with its own certificate. Where there is none it hangs up.
type webhookService struct {
	url      string
	ca       []byte // PEM, as are cert and key
	cert     []byte
	key      []byte
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (r *podRuntime) serveWebhook() (*webhookService, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &webhookService{url: "https://" + l.Addr().String() + "/", listener: l, conns: make(map[net.Conn]struct{})}
	if err := s.renew(r.fleet); err != nil {
		l.Close()
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.carry(conn, r.nextInjector())
		}
	}()
	return s, nil
}

func (s *webhookService) carry(conn net.Conn, to string) {
	defer conn.Close()
	if to == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	behind, err := Loopback{}.Dial(ctx, to)
	if err != nil {
		return
	}
	defer behind.Close()
	s.mu.Lock()
	if s.conns == nil {
		s.mu.Unlock()
		return
	}
	s.conns[conn] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
	}()
	go func() {
		defer behind.Close()
		io.Copy(behind, conn)
	}()
	io.Copy(conn, behind)
}

func (s *webhookService) close() {
	s.listener.Close()
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for c := range conns {
		c.Close()
	}
}

// renew makes a serving certificate that signs itself, as the chart does. It is
// judged by the API server, whose time is the real one, so that its dates are
// wide.
func (s *webhookService) renew(f *Fleet) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	const years = 10 * 365 * 24 * time.Hour
	now := f.Clock.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "linkerd-proxy-injector.linkerd.svc"},
		NotBefore: now.Add(-years), NotAfter: now.Add(years), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"linkerd-proxy-injector.linkerd.svc"},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	p8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	s.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: p8})
	s.ca = s.cert
	return nil
}
