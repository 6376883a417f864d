package webpki

import "bytes"

// An Anchor is what a proxy keeps of a trust anchor, and all that it keeps
// (TrustAnchor in rustls/pki-types, src/lib.rs). Two certificates with the same
// Anchor are one and the same to a proxy. Its fields are to be read only.
type Anchor struct {
	// Subject is the contents of the subject, without the tag and the length of
	// its SEQUENCE.
	Subject []byte

	// SPKI is the contents of the subjectPublicKeyInfo, in the same form.
	SPKI []byte

	// NameConstraints is the contents of the nameConstraints, in the same form.
	// Nil means that there are none; an empty value constrains nothing, but
	// makes a search read the names of the certificates below.
	NameConstraints []byte
}

// Equal tells whether a proxy could not tell the two anchors apart.
func (a *Anchor) Equal(b *Anchor) bool {
	return bytes.Equal(a.Subject, b.Subject) && bytes.Equal(a.SPKI, b.SPKI) &&
		bytes.Equal(a.NameConstraints, b.NameConstraints) &&
		(a.NameConstraints == nil) == (b.NameConstraints == nil)
}

// ParseAnchor does with a certificate what a proxy does with one of its trust
// anchors: it takes subject, key and name constraints, and looks at nothing
// else. Dates, CA flag and signature do not matter; the whole still has to
// parse. A version 1 certificate is taken, a version 2 certificate is BadDer.
// The error is an [*Error]; a proxy skips such an anchor with a warning.
//
// The Anchor does not share memory with der.
// (anchor_from_trusted_cert, src/trust_anchor.rs.)
func ParseAnchor(der []byte, rel Release) (*Anchor, error) {
	a, err := parseAnchor(der, rel.rules())
	if err != nil {
		return nil, err.in(StageAnchors)
	}
	return a, nil
}

// Loads says why ParseAnchor would refuse the certificate, nil if it would not,
// for those who do not need the anchor.
func Loads(der []byte, rel Release) error {
	var c cert
	if c.parse(der, rel.rules(), rel.rules().anchorsIgnoreCritical) == nil {
		return nil
	}
	_, cause := ParseAnchor(der, rel)
	return cause
}

func parseAnchor(der []byte, r *rules) (*Anchor, *Error) {
	c, err := parseCert(der, r, r.anchorsIgnoreCritical)
	if err == nil {
		a := &Anchor{Subject: bytes.Clone(c.subject), SPKI: bytes.Clone(c.spki)}
		if c.nameConstraints != nil {
			a.NameConstraints = bytes.Clone(c.nameConstraints)
		}
		return a, nil
	}
	if err.Kind != UnsupportedCertVersion {
		return nil, err
	}
	return parseAnchorV1(der)
}

// parseAnchorV1 reads a version 1 certificate, which has neither a version field
// nor extensions. Any fault is BadDer.
func parseAnchorV1(der []byte) (*Anchor, *Error) {
	var a Anchor
	err := readAll(der, errBadDer, func(in *reader) *Error {
		return in.nested(tagSequence, errBadDer, func(in *reader) *Error {
			err := in.nested(tagSequence, errBadDer, func(in *reader) *Error {
				var fields [6][]byte // serial, algorithm, issuer, validity, subject, key
				for i := range fields {
					tag := byte(tagSequence)
					if i == 0 {
						tag = tagInteger
					}
					val, err := in.expect(tag)
					if err != nil {
						return err
					}
					fields[i] = val
				}
				a.Subject, a.SPKI = bytes.Clone(fields[4]), bytes.Clone(fields[5])
				return nil
			})
			if err != nil {
				return err
			}
			if _, err := in.expect(tagSequence); err != nil {
				return err
			}
			_, err = in.expect(tagBitString)
			return err
		})
	})
	if err != nil {
		return nil, errBadDer
	}
	return &a, nil
}

// A Skipped anchor is one that a proxy leaves out with a warning.
type Skipped struct {
	Index int    // which of the certificates, from 0
	Err   *Error // why
}

// A TrustSet is what a proxy trusts.
type TrustSet struct {
	Anchors []*Anchor // in the order of the text
	Index   []int     // which certificate of the text Anchors[i] is, from 0
	Skipped []Skipped
}

// LoadAnchors does with certificates what a proxy does at its start: it skips
// those that [ParseAnchor] refuses. The error is an [*Error]: [NoRootsInPEM] if
// there are no certificates, [NoRootsLoaded] if none could be loaded; the
// TrustSet is there even then, and tells what was skipped.
// (linkerd/meshtls/src/creds.rs, and add_parsable_certificates of rustls.)
func LoadAnchors(ders [][]byte, rel Release) (*TrustSet, error) {
	var set TrustSet
	if len(ders) == 0 {
		return &set, &Error{Kind: NoRootsInPEM, Stage: StageEmpty, Cert: -1}
	}
	for i, der := range ders {
		a, err := parseAnchor(der, rel.rules())
		if err != nil {
			set.Skipped = append(set.Skipped, Skipped{i, err.in(StageAnchors)})
			continue
		}
		set.Anchors = append(set.Anchors, a)
		set.Index = append(set.Index, i)
	}
	if len(set.Anchors) == 0 {
		return &set, &Error{Kind: NoRootsLoaded, Stage: StageAnchors, Cert: -1}
	}
	return &set, nil
}

// ReadTrustSet reads the text of a trust bundle as a proxy does at its start:
// [ReadPEM], then [LoadAnchors]. A fault in the PEM is a [*PEMError] and refuses
// the whole text; other errors are those of LoadAnchors.
func ReadTrustSet(text []byte, rel Release) (*TrustSet, error) {
	sections, err := ReadPEM(text)
	if err != nil {
		return &TrustSet{}, err
	}
	ders := make([][]byte, len(sections))
	for i, s := range sections {
		ders[i] = s.DER
	}
	return LoadAnchors(ders, rel)
}
