package bundle

import (
	"bytes"
	"encoding/pem"
	"slices"
)

// Bundle is a set of certificates that are trusted as anchors, with a note of
// where each was found. It keeps the order in which certificates came, for
// readers that care; Marshal writes the canonical order.
//
// The zero value is an empty bundle, ready to use. A Bundle is not safe for
// use by several goroutines while one of them changes it.
type Bundle struct {
	certs []*Certificate
	index map[Fingerprint]int
	from  map[Fingerprint]*origins
}

// origins lists places without repeating one.
type origins struct {
	list []string
	seen map[string]struct{}
}

func (o *origins) add(places []string) {
	for _, p := range places {
		if _, ok := o.seen[p]; !ok {
			if o.seen == nil {
				o.seen = make(map[string]struct{})
			}
			o.seen[p] = struct{}{}
			o.list = append(o.list, p)
		}
	}
}

// New returns a bundle of the given certificates, each counted once.
func New(certs ...*Certificate) *Bundle {
	b := &Bundle{index: make(map[Fingerprint]int, len(certs))}
	for _, c := range certs {
		b.Add(c)
	}
	return b
}

// Merge returns the union by certificate: every certificate of every bundle is
// in it exactly once, in the order first met. Twins (two certificates of one
// anchor) both stay; Twins reports them.
func Merge(bundles ...*Bundle) *Bundle {
	n := 0
	for _, b := range bundles {
		n += b.Len()
	}
	union := &Bundle{certs: make([]*Certificate, 0, n), index: make(map[Fingerprint]int, n)}
	for _, b := range bundles {
		for _, c := range b.certs {
			union.Add(c, b.places(c)...)
		}
	}
	return union
}

// Add puts a certificate into the bundle and notes where it was found. It
// reports whether the certificate was new.
func (b *Bundle) Add(c *Certificate, from ...string) bool {
	if b.index == nil {
		b.index = make(map[Fingerprint]int)
	}
	_, known := b.index[c.fingerprint]
	if !known {
		b.index[c.fingerprint] = len(b.certs)
		b.certs = append(b.certs, c)
	}
	if len(from) > 0 {
		if b.from == nil {
			b.from = make(map[Fingerprint]*origins)
		}
		if b.from[c.fingerprint] == nil {
			b.from[c.fingerprint] = &origins{}
		}
		b.from[c.fingerprint].add(from)
	}
	return !known
}

func (b *Bundle) places(c *Certificate) []string {
	if o := b.from[c.fingerprint]; o != nil {
		return o.list
	}
	return nil
}

// Without returns a copy of the bundle that lacks the given certificates.
func (b *Bundle) Without(drop ...Fingerprint) *Bundle {
	rest := &Bundle{}
	for _, c := range b.certs {
		if !slices.Contains(drop, c.fingerprint) {
			rest.Add(c, b.places(c)...)
		}
	}
	return rest
}

// Len returns the number of certificates.
func (b *Bundle) Len() int { return len(b.certs) }

// Certificates returns the certificates in the order they came.
func (b *Bundle) Certificates() []*Certificate { return slices.Clone(b.certs) }

// Sorted returns the certificates in canonical order: ascending fingerprint,
// which is also the order in which trust-manager writes a bundle.
func (b *Bundle) Sorted() []*Certificate {
	certs := b.Certificates()
	slices.SortFunc(certs, func(x, y *Certificate) int {
		return bytes.Compare(x.fingerprint[:], y.fingerprint[:])
	})
	return certs
}

// Get returns the certificate with the fingerprint, or nil.
func (b *Bundle) Get(f Fingerprint) *Certificate {
	if i, ok := b.index[f]; ok {
		return b.certs[i]
	}
	return nil
}

// From returns where the certificate was found, in the order noted.
func (b *Bundle) From(f Fingerprint) []string {
	if o := b.from[f]; o != nil {
		return slices.Clone(o.list)
	}
	return nil
}

// Clone returns an independent copy.
func (b *Bundle) Clone() *Bundle { return Merge(b) }

// Equal reports whether both bundles hold the same certificates, in any order.
func (b *Bundle) Equal(other *Bundle) bool {
	return b.Len() == other.Len() && b.Contains(other)
}

// Contains reports whether every certificate of other is in b.
func (b *Bundle) Contains(other *Bundle) bool {
	for f := range other.index {
		if _, ok := b.index[f]; !ok {
			return false
		}
	}
	return true
}

// Diff returns the certificates that only b holds and those that only other
// holds, each in canonical order.
func (b *Bundle) Diff(other *Bundle) (onlyHere, onlyThere []*Certificate) {
	missing := func(in, from *Bundle) (certs []*Certificate) {
		for _, c := range in.Sorted() {
			if from.Get(c.fingerprint) == nil {
				certs = append(certs, c)
			}
		}
		return certs
	}
	return missing(b, other), missing(other, b)
}

// Shared returns the anchors that both bundles hold, whichever certificates
// stand for them, in canonical order of b's. A shared anchor is not a proof
// that two clusters can talk: that takes Verify in both directions.
func (b *Bundle) Shared(other *Bundle) []AnchorID {
	theirs := make(map[AnchorID]bool, other.Len())
	for _, c := range other.certs {
		theirs[c.anchorID] = true
	}
	var shared []AnchorID
	for _, c := range b.Sorted() {
		if theirs[c.anchorID] {
			shared = append(shared, c.anchorID)
			delete(theirs, c.anchorID)
		}
	}
	return shared
}

// Marshal writes the bundle as every reader of Linkerd's accepts it: only
// CERTIFICATE blocks in canonical order, nothing between them, and exactly one
// newline after the last. An empty bundle is an empty text.
func (b *Bundle) Marshal() []byte { return MarshalPEM(b.Sorted()...) }

// MarshalPEM writes certificates as PEM in the order given, as Marshal does.
func MarshalPEM(certs ...*Certificate) []byte {
	var buf bytes.Buffer
	for _, c := range certs {
		buf.Grow(len(c.raw)*3/2 + 64)
		// Writing to memory cannot fail, and a block without headers is always legal.
		_ = pem.Encode(&buf, &pem.Block{Type: pemCertificate, Bytes: c.raw})
	}
	return buf.Bytes()
}

const pemCertificate = "CERTIFICATE"
