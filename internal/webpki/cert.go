package webpki

import "bytes"

// A cert is a certificate taken apart, as webpki keeps it (src/cert.rs). Fields
// hold the contents of their SEQUENCE without tag and length and share the
// memory of the certificate; extensions that are absent are nil.
type cert struct {
	tbs       []byte // what is signed, with its tag and length
	algorithm []byte // the outer AlgorithmIdentifier
	signature []byte

	issuer, validity, subject, spki []byte

	basicConstraints *[]byte
	keyUsage         *[]byte // the whole BIT STRING
	eku              *[]byte
	nameConstraints  *[]byte
	subjectAltName   *[]byte
	crlPoints        *[]byte
	sctList          *[]byte
}

// parseCert parses a leaf, an intermediate or (with ignoreCritical) an anchor.
//
// Only version 3 is known; the outer and the inner algorithm have to be equal
// byte for byte; any INTEGER is a serial number; dates are kept unread.
func parseCert(der []byte, r *rules, ignoreCritical bool) (*cert, *Error) {
	var c cert
	var body []byte
	err := readAll(der, trailingCertificate, func(in *reader) *Error {
		return in.nested(tagSequence, trailingSignedData, func(in *reader) (err *Error) {
			start := in.rest
			if body, err = in.expect(tagSequence); err != nil {
				return err
			}
			c.tbs = start[:len(start)-len(in.rest)]
			if c.algorithm, err = in.expect(tagSequence); err != nil {
				return err
			}
			c.signature, err = in.bitString()
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	err = readAll(body, trailingTBS, func(in *reader) *Error {
		return c.readBody(in, r, ignoreCritical)
	})
	if err != nil {
		return nil, err
	}
	return &c, nil
}

func (c *cert) readBody(in *reader, r *rules, ignoreCritical bool) *Error {
	err := in.nested(tagExplicit0, errVersion, func(in *reader) *Error {
		v, err := in.small()
		if err == nil && v != 2 {
			err = errVersion
		}
		return err
	})
	if err != nil {
		return err
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
	for _, field := range []*[]byte{&c.issuer, &c.validity, &c.subject, &c.spki} {
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
	return in.nested(tagExplicit3, trailingExtensions, func(in *reader) *Error {
		return in.nested(tagSequence, trailingExtension, func(list *reader) *Error {
			if list.empty() && r.emptyExtensions {
				return nil
			}
			for {
				err := list.nested(tagSequence, trailingExtension, func(ext *reader) *Error {
					return c.readExtension(ext, r, ignoreCritical)
				})
				if err != nil || list.empty() {
					return err
				}
			}
		})
	})
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

	var field **[]byte
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
		*field = &value
		return nil
	}
	return readAll(value, trailingExtension, func(in *reader) *Error {
		val, err := in.expect(tag)
		*field = &val
		return err
	})
}

// names calls f for each subjectAltName, until f or the list fails. A
// certificate without the extension has no names.
func (c *cert) names(f func(generalName) *Error) *Error {
	if c.subjectAltName == nil {
		return nil
	}
	in := reader{*c.subjectAltName}
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
