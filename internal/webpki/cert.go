package webpki

import "bytes"

// A cert is a certificate taken apart, as webpki keeps it (src/cert.rs). Fields
// hold the contents of their SEQUENCE without tag and length and share the
// memory of the certificate; extensions that are absent are nil, empty ones are not.
type cert struct {
	tbs       []byte // what is signed, with its tag and length
	algorithm []byte // the outer AlgorithmIdentifier
	signature []byte

	issuer, validity, subject, spki []byte

	basicConstraints []byte
	keyUsage         []byte // the whole BIT STRING
	eku              []byte
	nameConstraints  []byte
	subjectAltName   []byte
	crlPoints        []byte
	sctList          []byte
}

// parseCert parses a leaf, an intermediate or (with ignoreCritical) an anchor.
//
// Only version 3 is known; the outer and the inner algorithm have to be equal
// byte for byte; any INTEGER is a serial number; dates are kept unread.
func parseCert(der []byte, r *rules, ignoreCritical bool) (*cert, *Error) {
	c := new(cert)
	if err := c.parse(der, r, ignoreCritical); err != nil {
		return nil, err
	}
	return c, nil
}

// parse is parseCert into a cert that need not be on the heap.
func (c *cert) parse(der []byte, r *rules, ignoreCritical bool) *Error {
	in := reader{der}
	signed, err := in.enter(tagSequence, trailingSignedData)
	if err != nil {
		return err
	}
	start := signed.rest
	body, err := signed.expect(tagSequence)
	if err != nil {
		return err
	}
	c.tbs = start[:len(start)-len(signed.rest)]
	if c.algorithm, err = signed.expect(tagSequence); err != nil {
		return err
	}
	if c.signature, err = signed.bitString(); err != nil {
		return err
	}
	if !signed.empty() {
		return trailingSignedData
	}
	if !in.empty() {
		return trailingCertificate
	}
	tbs := reader{body}
	if err := c.readBody(&tbs, r, ignoreCritical); err != nil {
		return err
	}
	if !tbs.empty() {
		return trailingTBS
	}
	return nil
}

func (c *cert) readBody(in *reader, r *rules, ignoreCritical bool) *Error {
	version, err := in.enter(tagExplicit0, errVersion)
	if err != nil {
		return err
	}
	switch v, err := version.small(); {
	case err != nil:
		return err
	case v != 2 || !version.empty():
		return errVersion
	}
	if _, err = in.expect(tagInteger); err != nil { // serial number
		return err
	}
	algorithm, err := in.expect(tagSequence)
	if err != nil {
		return err
	}
	if !bytes.Equal(algorithm, c.algorithm) {
		return fail(SignatureAlgorithmMismatch)
	}
	for _, field := range [...]*[]byte{&c.issuer, &c.validity, &c.subject, &c.spki} {
		if *field, err = in.expect(tagSequence); err != nil {
			return err
		}
	}
	if r.uniqueIDs {
		for _, id := range []struct {
			tag  byte
			name string
		}{{tagPrimitive1, "IssuerUniqueId"}, {tagPrimitive2, "SubjectUniqueId"}} {
			if !in.peek(id.tag) {
				continue
			}
			if _, err := in.expect(id.tag); err != nil {
				return trailing(id.name)
			}
		}
	}
	if in.empty() {
		return nil
	}
	wrapper, err := in.enter(tagExplicit3, trailingExtensions)
	if err != nil {
		return err
	}
	list, err := wrapper.enter(tagSequence, trailingExtension)
	if err != nil {
		return err
	}
	for !list.empty() || !r.emptyExtensions {
		ext, err := list.enter(tagSequence, trailingExtension)
		if err != nil {
			return err
		}
		if err := c.readExtension(&ext, r, ignoreCritical); err != nil {
			return err
		}
		if !ext.empty() {
			return trailingExtension
		}
		if list.empty() {
			break
		}
	}
	if !wrapper.empty() {
		return trailingExtensions
	}
	return nil
}

// idCE is the arc 2.5.29, and sctListOID is 1.3.6.1.4.1.11129.2.4.2 (src/x509.rs).
var (
	idCE       = []byte{0x55, 0x1d}
	sctListOID = []byte{0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2}
)

// readExtension keeps an extension that is known. One that is not known is
// refused if it is critical; a known one is refused if it comes twice.
func (c *cert) readExtension(in *reader, r *rules, ignoreCritical bool) *Error {
	id, err := in.expect(tagOID)
	if err != nil {
		return err
	}
	critical, err := in.boolean()
	if err != nil {
		return err
	}
	value, err := in.expect(tagOctetString)
	if err != nil {
		return err
	}

	var field *[]byte
	tag := byte(tagSequence)
	if len(id) == 3 && bytes.HasPrefix(id, idCE) {
		switch id[2] {
		case 15:
			field = &c.keyUsage
		case 17:
			field = &c.subjectAltName
		case 19:
			field = &c.basicConstraints
		case 30:
			field = &c.nameConstraints
		case 31:
			field = &c.crlPoints
		case 37:
			field = &c.eku
		}
	} else if r.sctList && bytes.Equal(id, sctListOID) {
		field, tag = &c.sctList, tagOctetString
	}
	if field == nil {
		if critical && !ignoreCritical {
			return fail(UnsupportedCriticalExtension)
		}
		return nil
	}
	if *field != nil {
		return fail(ExtensionValueInvalid)
	}
	if field == &c.keyUsage { // kept as it is, looked into where it is used
		*field = value
		return nil
	}
	inner := reader{value}
	val, err := inner.expect(tag)
	*field = val
	if err == nil && !inner.empty() {
		err = trailingExtension
	}
	return err
}

// names calls f for each subjectAltName, until f or the list fails. A
// certificate without the extension has no names.
func (c *cert) names(f func(generalName) *Error) *Error {
	if c.subjectAltName == nil {
		return nil
	}
	in := reader{c.subjectAltName}
	for !in.empty() {
		name, err := in.generalName()
		if err != nil {
			return err
		}
		if err := f(name); err != nil {
			return err
		}
	}
	return nil
}
