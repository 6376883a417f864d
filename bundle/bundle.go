package bundle

import (
	"bytes"
	"encoding/base64"
	"slices"
)

// Bundle is a set of certificates that are trusted as anchors, with a note of
// where each was found. It keeps the order in which certificates came, for
// readers that care; Marshal writes the canonical order.
//
// The zero value is an empty bundle, ready to use. A Bundle is not safe for
// use by several goroutines while one of them changes it.
type Bundle struct {
	certs  []*Certificate
	index  map[Fingerprint]int
	from   map[Fingerprint]*origins
	bodies bodyIndex // for ParseKnown
}

// origins keeps the places a certificate was found at. Lists are shared between
// certificates and never changed: ten thousand pods with one bundle of a
// hundred anchors are one list, not a million notes.
type origins struct{ lists [][]string }

func (o *origins) add(places []string) {
	for _, l := range o.lists {
		if len(l) == len(places) && (len(l) == 0 || &l[0] == &places[0] || len(l) == 1 && l[0] == places[0]) {
			return
		}
	}
	o.lists = append(o.lists, places)
}

// all lists every place once.
func (o *origins) all() []string {
	var list []string
	seen := make(map[string]bool)
	for _, l := range o.lists {
		for _, p := range l {
			if !seen[p] {
				seen[p] = true
				list = append(list, p)
			}
		}
	}
	return list
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
			union.put(c)
			if o := b.from[c.fingerprint]; o != nil {
				union.note(c, o.lists...)
			}
		}
	}
	return union
}

// Add puts a certificate into the bundle and notes where it was found. It
// reports whether the certificate was new.
func (b *Bundle) Add(c *Certificate, from ...string) bool {
	added := b.put(c)
	if len(from) > 0 {
		b.note(c, slices.Clone(from))
	}
	return added
}

func (b *Bundle) put(c *Certificate) bool {
	if _, known := b.index[c.fingerprint]; known {
		return false
	}
	if b.index == nil {
		b.index = make(map[Fingerprint]int)
	}
	b.index[c.fingerprint] = len(b.certs)
	b.certs = append(b.certs, c)
	return true
}

// note keeps the lists of places as they are; nobody may change them after.
func (b *Bundle) note(c *Certificate, lists ...[]string) {
	if b.from == nil {
		b.from = make(map[Fingerprint]*origins)
	}
	o := b.from[c.fingerprint]
	if o == nil {
		o = &origins{}
		b.from[c.fingerprint] = o
	}
	for _, l := range lists {
		o.add(l)
	}
}

// Without returns a copy of the bundle that lacks the given certificates.
func (b *Bundle) Without(drop ...Fingerprint) *Bundle {
	gone := make(map[Fingerprint]bool, len(drop))
	for _, f := range drop {
		gone[f] = true
	}
	rest := &Bundle{}
	for _, c := range b.certs {
		if gone[c.fingerprint] {
			continue
		}
		rest.put(c)
		if o := b.from[c.fingerprint]; o != nil {
			rest.note(c, o.lists...)
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
		return o.all()
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
		theirs[c.AnchorID()] = true
	}
	var shared []AnchorID
	for _, c := range b.Sorted() {
		if theirs[c.AnchorID()] {
			shared = append(shared, c.AnchorID())
			delete(theirs, c.AnchorID())
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
	offsets := make([]int, len(certs)+1)
	for i, c := range certs {
		n := base64.StdEncoding.EncodedLen(len(c.raw))
		offsets[i+1] = offsets[i] + len(beginLine) + n + (n+lineChars-1)/lineChars + len(endLine)
	}
	text := make([]byte, offsets[len(certs)])
	inParts(len(certs), func(from, to int) {
		out, body := text[offsets[from]:offsets[from]:offsets[to]], []byte(nil)
		for _, c := range certs[from:to] {
			out = append(out, beginLine...)
			body = base64.StdEncoding.AppendEncode(body[:0], c.raw)
			for rest := body; len(rest) > 0; {
				n := min(len(rest), lineChars)
				out = append(append(out, rest[:n]...), '\n')
				rest = rest[n:]
			}
			out = append(out, endLine...)
		}
	})
	return text
}

const (
	pemCertificate = "CERTIFICATE"
	beginLine      = beginMark + pemCertificate + tailMark + "\n"
	endLine        = endMark + pemCertificate + tailMark + "\n"

	lineChars = 64 // of a line, as encoding/pem and openssl write it
)
