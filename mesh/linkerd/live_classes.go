package linkerd

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
)

// certificates keeps what many peers present once. It is safe for concurrent
// use.
type certificates struct {
	mu    sync.Mutex
	certs map[bundle.Fingerprint]*bundle.Certificate
	lists map[[sha256.Size]byte][][]byte
}

func (k *certificates) shared(c *bundle.Certificate) *bundle.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known := k.certs[c.Fingerprint()]; known != nil {
		return known
	}
	if k.certs == nil {
		k.certs = map[bundle.Fingerprint]*bundle.Certificate{}
	}
	k.certs[c.Fingerprint()] = c
	return c
}

func (k *certificates) hints(subjects [][]byte) [][]byte {
	if len(subjects) == 0 {
		return nil
	}
	h := sha256.New()
	for _, s := range subjects {
		fmt.Fprintf(h, "%d:", len(s))
		h.Write(s)
	}
	key := [sha256.Size]byte(h.Sum(nil))
	k.mu.Lock()
	defer k.mu.Unlock()
	if known, ok := k.lists[key]; ok {
		return known
	}
	if k.lists == nil {
		k.lists = map[[sha256.Size]byte][][]byte{}
	}
	k.lists[key] = subjects
	return subjects
}

// liveKey is what peers must share to be one class once they were asked.
type liveKey struct{ plane, release, trust, presented string }

// presentedKey is equal for chains that no verdict at this moment tells apart:
// everything above the leaf is the same, and the leaves are of one make.
func presentedKey(p *mesh.Presented, name string) string {
	h := sha256.New()
	for _, c := range p.Chain[1:] {
		f := c.Fingerprint()
		h.Write(f[:])
	}
	h.Write([]byte(leafMake(p.Chain, p.At, name)))
	return hex.EncodeToString(h.Sum(nil))
}

// leafMake says of a leaf what verdicts rest on, beside the certificates above
// it. Proxies' leaves all come from one template (linkerd2 pkg/tls/ca.go).
func leafMake(chain []*bundle.Certificate, at time.Time, name string) string {
	leaf, err := chain[0].X509()
	if err != nil {
		return chain[0].Fingerprint().String()
	}
	age := "alive"
	switch {
	case !at.IsZero() && at.After(leaf.NotAfter):
		age = "dead"
	case !at.IsZero() && at.Before(leaf.NotBefore):
		age = "unborn"
	}
	signed := false
	if len(chain) > 1 {
		if issuer, err := chain[1].X509(); err == nil {
			signed = bytes.Equal(leaf.RawIssuer, issuer.RawSubject) &&
				issuer.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil
		}
	}
	return fmt.Sprint(age, signed, carries(leaf, name), leaf.RawIssuer, leaf.SignatureAlgorithm, leaf.PublicKeyAlgorithm,
		leaf.KeyUsage, leaf.ExtKeyUsage, leaf.UnknownExtKeyUsage, leaf.IsCA, leaf.UnhandledCriticalExtensions)
}

// carries reports whether a leaf carries an identity.
func carries(leaf *x509.Certificate, name string) bool {
	return slices.Contains(leaf.DNSNames, name)
}

// Why the chain of peers is not known.
const (
	whyNotSampled = "it was not asked: a sample of its class was"
	whyNoAnswer   = "it was asked and did not answer"
	whyLatent     = "no proxy of it was asked"
)

// reclassify puts each peer into the class of what is known about it now.
// Pointers to classes that templates hold stay good.
func (l *live) reclassify() {
	s := l.survey
	classes := map[liveKey]*mesh.Class{}
	var order []*mesh.Class
	add := func(key liveKey, c *mesh.Class) {
		classes[key] = c
		order = append(order, c)
	}
	for _, c := range s.Classes {
		if c.Latent == 0 {
			continue
		}
		// What templates may make has not been asked, whatever their peers said.
		c.Peers, c.Presented, c.PresentedWhy = 0, nil, whyLatent
		add(liveKey{c.Installation, c.Release, trustKey(c.Trust, c.TrustWhy), "?" + whyLatent}, c)
	}
	for i := range s.Peers {
		p, a := &s.Peers[i], l.answers[i]
		old := p.Class
		trust, why := old.Trust, old.TrustWhy
		if a.trustAsked {
			trust, why = a.trust, a.trustWhy
		}
		key := liveKey{plane: old.Installation, release: old.Release, trust: trustKey(trust, why)}
		if p.Presented != nil {
			key.presented = presentedKey(p.Presented, p.TLSName)
		} else {
			key.presented = "?" + a.presentedWhy
		}
		c := classes[key]
		if c == nil {
			c = &mesh.Class{Installation: old.Installation, Release: old.Release, Trust: trust, TrustWhy: why}
			if p.Presented == nil {
				c.PresentedWhy = a.presentedWhy
			}
			add(key, c)
		}
		if p.Presented != nil && (c.Presented == nil || endsBefore(p.Presented, c.Presented)) {
			c.Presented = p.Presented
		}
		c.Peers++
		p.Class = c
	}
	s.Classes = order
}

func trustKey(t *mesh.TrustSet, why string) string {
	if t == nil {
		return "?" + why
	}
	return t.ID
}

func endsBefore(a, b *mesh.Presented) bool {
	_, endA := a.Chain[0].Validity()
	_, endB := b.Chain[0].Validity()
	return endA.Before(endB)
}
