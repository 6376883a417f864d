package linkerd

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
)

// What became of asking a proxy, for errors.Is.
var (
	// ErrNoEnv: the proxy is too old to tell its environment (before 2.12).
	ErrNoEnv = errors.New("the proxy does not tell its environment: it is of Linkerd 2.11 or older")
	// ErrAnswer: it answered something else than a proxy does.
	ErrAnswer = errors.New("not the answer of a Linkerd proxy")
	// ErrHandshake: it was reached, and no TLS handshake came about.
	ErrHandshake = errors.New("no TLS handshake")
)

// maxAnswer bounds what a proxy may say about itself. The API server takes no
// ConfigMap of more than 1 MiB, and JSON escapes its line ends.
const maxAnswer = 4 << 20

// askAnchors asks on a new connection to a proxy's admin port for the anchors
// that its process was started with (linkerd2-proxy linkerd/app/admin/src/server.rs,
// env_rsp, v2.185.0 and later). set is false where the process has no such
// variable. What is wrong is ErrNoEnv, ErrAnswer or the connection's error.
func askAnchors(conn io.ReadWriter) (pem string, set bool, err error) {
	const ask = "GET /env.json?" + layout.ProxyAnchorsEnv + " HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nUser-Agent: windlass\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, ask); err != nil {
		return "", false, err
	}
	broken := &firstError{Reader: conn}
	in := &io.LimitedReader{R: broken, N: maxAnswer}
	resp, err := http.ReadResponse(bufio.NewReader(in), nil)
	if err == nil {
		defer resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusNotFound:
			return "", false, ErrNoEnv
		case resp.StatusCode != http.StatusOK:
			return "", false, fmt.Errorf("%w: HTTP status %d", ErrAnswer, resp.StatusCode)
		}
		var env map[string]*string
		if err = json.NewDecoder(resp.Body).Decode(&env); err == nil {
			text, asked := env[layout.ProxyAnchorsEnv]
			switch {
			case !asked:
				return "", false, fmt.Errorf("%w: it lacks the variable that was asked for", ErrAnswer)
			case text == nil:
				return "", false, nil
			}
			return *text, true, nil
		}
	}
	switch {
	case broken.err != nil:
		return "", false, broken.err
	case in.N <= 0:
		return "", false, fmt.Errorf("%w: more than %d bytes", ErrAnswer, maxAnswer)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "", false, fmt.Errorf("%w: it ends early", ErrAnswer)
	}
	return "", false, fmt.Errorf("%w: neither HTTP nor JSON", ErrAnswer)
}

// firstError keeps why a connection broke, which readers above it may reword.
type firstError struct {
	io.Reader
	err error
}

func (r *firstError) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// askChain shakes hands on a new connection with a proxy whose certificate
// carries the name. Nothing is verified but that the proxy holds the leaf's key:
// the chain is judged by Linkerd's rules, elsewhere. at goes into the result.
//
// Go's TLS parses what is presented, so a certificate that Go refuses gives
// ErrHandshake; linkerd-identity parses its issuer with Go as well and cannot
// hand one out.
func askChain(ctx context.Context, conn net.Conn, name string, at time.Time, known *certificates) (*mesh.Presented, error) {
	out := &mesh.Presented{At: at}
	config := &tls.Config{
		ServerName: name, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: true, // it is asked what it presents, not believed
		GetClientCertificate: func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			out.Hints = known.hints(info.AcceptableCAs)
			return &tls.Certificate{}, nil // a proxy admits who shows none
		},
	}
	broken := &firstErrorConn{Conn: conn}
	tc := tls.Client(broken, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		switch {
		case broken.err != nil && ctx.Err() == nil:
			return nil, broken.err
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w for %s: %w", ErrHandshake, name, err)
	}
	defer tc.Close()
	var err error
	if out.Chain, err = known.chain(tc.ConnectionState().PeerCertificates); err != nil {
		return nil, fmt.Errorf("%w for %s: %w", ErrHandshake, name, err)
	}
	return out, nil
}

type firstErrorConn struct {
	net.Conn
	err error
}

func (c *firstErrorConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// chain takes certificates over. Those of issuers are the same for many peers,
// and kept once.
func (k *certificates) chain(from []*x509.Certificate) ([]*bundle.Certificate, error) {
	if len(from) == 0 {
		return nil, errors.New("no certificate was presented")
	}
	out := make([]*bundle.Certificate, len(from))
	for i, c := range from {
		b, err := bundle.FromX509(c)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = k.shared(b)
		}
		out[i] = b
	}
	return out, nil
}
