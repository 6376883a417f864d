package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// Reading is what one of Linkerd's consumers takes from a PEM text.
type Reading struct {
	// Certificates in the consumer's order. A proxy keeps a certificate that
	// stands in the text twice twice; identity keeps each once.
	Certificates []*Certificate
	// Skipped are blocks that the consumer passes over without failing.
	Skipped []Skipped
	// TruncatedAt is the line of the block at which identity's reader stops
	// without an error, dropping all that follows; 0 when it read to the end.
	TruncatedAt int
	// Err is why the consumer takes nothing and, with it, does not start.
	Err error
}

// Skipped is a certificate that a consumer passes over.
type Skipped struct {
	Certificate *Certificate
	Line        int // where its block begins, from 1
	Reason      error
}

// ReadAs tells what the consumer that follows the rules takes from exactly
// this text. The release matters to proxies alone.
//
//   - Identity: linkerd-identity reading its trust roots, and
//     linkerd2-proxy-identity reading a sidecar's environment (linkerd2
//     pkg/tls/codec.go, DecodePEMCertPool).
//   - Proxy: the proxy itself (linkerd2-proxy linkerd/meshtls/src/creds.rs).
func ReadAs(text []byte, rules Rules, release Release) Reading {
	if rules == Identity {
		return readAsIdentity(text, nil)
	}
	sections, err := readSections(text, nil)
	return readAsProxy(sections, err, release)
}

func readAsIdentity(text []byte, known *Bundle) Reading {
	certs, truncatedAt, err := linkerdDecode(text, known)
	if err == nil && len(certs) == 0 {
		err = errNoCertificates
	}
	if err != nil {
		return Reading{TruncatedAt: truncatedAt, Err: err}
	}
	return Reading{Certificates: New(certs...).certs, TruncatedAt: truncatedAt}
}

// The texts of linkerd2 pkg/tls/codec.go, as they stand in its logs.
var (
	errNotPEM         = errors.New("not a PEM certificate")
	errNoCertificates = errors.New("no certificates found")
)

// linkerdDecode reads as DecodePEMCertificates of linkerd2 pkg/tls does: text
// after the last block is an error, a block of another label ends the reading
// without one. truncatedAt is the line of such a block when a certificate
// stands behind it, else 0.
func linkerdDecode(text []byte, known *Bundle) (certs []*Certificate, truncatedAt int, err error) {
	rest := text
	for len(rest) > 0 {
		block, after := pem.Decode(rest)
		if block == nil {
			return certs, 0, errNotPEM
		}
		if block.Type != pemCertificate {
			if bytes.Contains(after, []byte(beginMark+pemCertificate+tailMark)) || len(certs) == 0 {
				// pem.Decode does not say where the block began: it is the last
				// BEGIN of that label in what was read.
				from, read := len(text)-len(rest), text[:len(text)-len(after)]
				start := from + max(0, bytes.LastIndex(read[from:], []byte(beginMark+block.Type+tailMark)))
				truncatedAt = lineOf(text, start)
			}
			return certs, truncatedAt, nil
		}
		cert := oddCertificate(block.Bytes, known)
		if cert.parseErr != nil {
			return certs, 0, cert.parseErr
		}
		certs = append(certs, cert)
		rest = after
	}
	return certs, 0, nil
}

// section is a CERTIFICATE block as proxies read it.
type section struct {
	cert *Certificate
	line int
}

// readSections reads a text as the proxies' PEM reader does, which is the same
// in all releases.
func readSections(text []byte, known *Bundle) ([]section, error) {
	found, err := webpki.ReadPEM(text)
	if err != nil {
		return nil, pemFault(err)
	}
	sections := make([]section, len(found))
	for i, s := range found {
		sections[i] = section{oddCertificate(s.DER, known), s.Line}
	}
	return sections, nil
}

// pemFault words a fault as rustls does, with its line and without the bytes of
// the text, which may be those of a key.
func pemFault(err error) error {
	var fault *webpki.PEMError
	if !errors.As(err, &fault) {
		return err
	}
	reason, _, quoted := strings.Cut(fault.Reason, ": [")
	if !quoted {
		reason = fault.Reason
	}
	return fmt.Errorf("line %d: %s", fault.Line, reason)
}

func readAsProxy(sections []section, err error, release Release) Reading {
	if err != nil {
		return Reading{Err: err}
	}
	if len(sections) == 0 {
		return Reading{Err: errNoTrustRoots}
	}
	var r Reading
	for _, s := range sections {
		if _, err := webpki.ParseAnchor(s.cert.raw, release); err != nil {
			r.Skipped = append(r.Skipped, Skipped{s.cert, s.line, err})
			continue
		}
		r.Certificates = append(r.Certificates, s.cert)
	}
	if len(r.Certificates) == 0 {
		r.Err = fmt.Errorf("no trust roots loaded: %w", r.Skipped[0].Reason)
	}
	return r
}

// oddCertificate holds whatever a block held, even where no frame of a
// certificate can be made out. It takes ownership of der.
func oddCertificate(der []byte, known *Bundle) *Certificate {
	fp := Fingerprint(sha256.Sum256(der))
	if known != nil {
		if c := known.Get(fp); c != nil {
			return c
		}
	}
	c, err := newCertificate(der, fp)
	if err != nil {
		return &Certificate{raw: der, fingerprint: fp, parseErr: errors.Unwrap(err), odd: &frame{}}
	}
	return c
}

// The text of linkerd2-proxy linkerd/meshtls/src/creds.rs.
var errNoTrustRoots = errors.New("no trust roots in PEM file")

// ReadChain reads a chain as it is presented, first certificate first. It is
// lenient, so that no certificate is too odd to be judged: blocks of other
// labels and text around the blocks are passed over, and a block that Go
// refuses is kept. It fails where proxies' PEM reader does.
func ReadChain(text []byte) ([]*Certificate, error) {
	sections, err := readSections(text, nil)
	if err != nil {
		return nil, err
	}
	return certificatesOf(sections), nil
}

func certificatesOf(sections []section) []*Certificate {
	certs := make([]*Certificate, len(sections))
	for i, s := range sections {
		certs[i] = s.cert
	}
	return certs
}

// ReadIssuer reads linkerd-identity's issuer file as linkerd-identity does
// (linkerd2 pkg/tls, DecodePEMCrt).
func ReadIssuer(text []byte) ([]*Certificate, error) {
	certs, _, err := linkerdDecode(text, nil)
	if err == nil && len(certs) == 0 {
		err = errNoCertificates
	}
	if err != nil {
		return nil, err
	}
	return certs, nil
}

// AfterFirst returns what follows the first block of a PEM text: of a chain as
// presented, the part that stands in the issuer file.
func AfterFirst(text []byte) []byte {
	_, rest := pem.Decode(text)
	return rest
}
