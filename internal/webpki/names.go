package webpki

// A generalName is a GeneralName, as far as webpki looks at it
// (src/subject_name/mod.rs).
type generalName struct {
	kind  byte   // the number of its tag
	value []byte // of a DNS name, a URI or an IP address
}

// The numbers of the names that webpki knows; of the others only the number counts.
const (
	nameDNS       = 2
	nameDirectory = 4
	nameURI       = 6
	nameIP        = 7
)

// generalName reads a name. A tag that RFC 5280 does not have, or has in the
// other form (primitive or constructed), is BadDer.
func (r *reader) generalName() (generalName, *Error) {
	tag, val, err := r.value()
	if err != nil {
		return generalName{}, err
	}
	switch tag {
	case 0xa0, 0x81, 0x82, 0xa3, 0xa4, 0xa5, 0x86, 0x87, 0x88:
		return generalName{tag & 0x1f, val}, nil
	}
	return generalName{}, errBadDer
}

// checkNameConstraints checks the names of below, from the one next to the
// anchor down to the leaf, against the nameConstraints of the one above.
//
// Names are those in subjectAltName; the common name plays no part. Every
// certificate counts as having a directory name.
func (s *search) checkNameConstraints(constraints []byte, below []*cert) *Error {
	return readAll(constraints, errBadDer, func(in *reader) *Error {
		permitted, err := in.subtrees(tagExplicit0)
		if err != nil {
			return err
		}
		excluded, err := in.subtrees(tagExplicit1)
		if err != nil {
			return err
		}
		conforms := func(name generalName) *Error {
			if err := s.conforms(name, permitted, false); err != nil {
				return err
			}
			return s.conforms(name, excluded, true)
		}
		for _, c := range below {
			if err := c.names(conforms); err != nil {
				return err
			}
			if err := conforms(generalName{kind: nameDirectory}); err != nil {
				return err
			}
		}
		return nil
	})
}

// subtrees reads permittedSubtrees or excludedSubtrees, which may be absent.
func (r *reader) subtrees(tag byte) ([]byte, *Error) {
	if !r.peek(tag) {
		return nil, nil
	}
	return r.expect(tag)
}

// conforms checks a name against a list of subtrees. Excluded: none may match.
// Permitted: if there are any for this form of name, one must match.
func (s *search) conforms(name generalName, subtrees []byte, excluded bool) *Error {
	match, mismatch := false, false
	in := reader{subtrees}
	for !in.empty() {
		if s.comparisons == 0 {
			return fail(MaximumNameConstraintComparisonsExceeded)
		}
		s.comparisons--

		// minimum and maximum, which RFC 5280 rules out, are TrailingData.
		subtree, err := in.expect(tagSequence)
		if err != nil {
			return err
		}
		var base generalName
		err = readAll(subtree, trailingGeneralName, func(in *reader) (err *Error) {
			base, err = in.generalName()
			return err
		})
		if err != nil {
			return err
		}
		if base.kind != name.kind {
			continue
		}

		var ok bool
		switch name.kind {
		case nameDNS:
			role := rolePermitted
			if excluded || !s.rules.strictWildcards {
				role = roleExcluded
			}
			ok, err = matchDNS(name.value, base.value, role)
		case nameIP:
			ok, err = matchNetwork(name.value, base.value)
		case nameDirectory:
			ok = excluded // not implemented by webpki: refused
		case nameURI:
			if !s.rules.uriConstraints {
				continue
			}
			ok = excluded // likewise
		default:
			err = fail(NameConstraintViolation)
		}
		switch {
		case err != nil:
			return err
		case ok && excluded:
			return fail(NameConstraintViolation)
		case ok:
			match = true
		default:
			mismatch = true
		}
	}
	if mismatch && !match && !excluded {
		return fail(NameConstraintViolation)
	}
	return nil
}

// matchNetwork tells whether an address is in a network, an address followed by
// a mask (src/subject_name/ip_address.rs).
func matchNetwork(name, network []byte) (bool, *Error) {
	switch {
	case len(name) != 4 && len(name) != 16:
		return false, errBadDer
	case len(network) == 2*len(name):
	case len(network) == 8 || len(network) == 32:
		return false, nil // the other family
	default:
		return false, fail(InvalidNetworkMaskConstraint)
	}
	address, mask := network[:len(name)], network[len(name):]
	ended := false
	for i, m := range mask {
		// Ones, then zeros, within the byte and across all. The rest of the
		// mask after a byte that differs is not looked at.
		if ^m&(^m+1) != 0 || ended && m != 0 {
			return false, fail(InvalidNetworkMaskConstraint)
		}
		ended = ended || m != 0xff
		if (name[i]^address[i])&m != 0 {
			return false, nil
		}
	}
	return true, nil
}

// A dnsRole tells what the second name of a comparison is.
type dnsRole int

const (
	rolePresented dnsRole = iota
	roleReference         // a name that is asked for
	rolePermitted         // a constraint; a wildcard has to be inside as a whole
	roleExcluded          // a constraint; a wildcard matches if it reaches inside
)

func (r dnsRole) constraint() bool { return r == rolePermitted || r == roleExcluded }

// matchDNS tells whether a name in a certificate satisfies a constraint: whether
// it equals it or ends with it at a dot, in any case of letters. A constraint
// that begins with a dot wants at least one label more; the empty one matches
// all (src/subject_name/dns_name.rs).
func matchDNS(presented, constraint []byte, role dnsRole) (bool, *Error) {
	if !validDNS(presented, rolePresented) {
		return false, fail(MalformedDnsIdentifier)
	}
	if !validDNS(constraint, role) {
		return false, fail(MalformedNameConstraint)
	}
	if over := len(presented) - len(constraint); over > 0 {
		if len(constraint) == 0 {
			return true, nil
		}
		if constraint[0] != '.' {
			if presented[over-1] != '.' {
				return false, nil
			}
		}
		presented = presented[over:]
	}
	if len(presented) > 0 && presented[0] == '*' {
		if role == rolePermitted {
			return false, nil
		}
		// The wildcard stands for one label of the constraint, and at least one
		// byte of it.
		presented = presented[1:]
		for {
			if len(constraint) == 0 {
				return false, nil
			}
			constraint = constraint[1:]
			if len(constraint) > 0 && constraint[0] == '.' {
				break
			}
		}
	}
	if len(presented) != len(constraint) {
		return false, nil
	}
	for i := range presented {
		if lower(presented[i]) != lower(constraint[i]) {
			return false, nil
		}
	}
	return true, nil
}

func lower(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// validDNS tells whether name is a DNS name as webpki knows it: labels of 1 to 63
// letters, digits, underscores and inner hyphens, the last one not all digits,
// 253 bytes at most. A presented name may have a wildcard as its first label,
// with two labels after it; a constraint may be empty or begin with a dot; only
// a reference may end with a dot.
func validDNS(name []byte, role dnsRole) bool {
	if len(name) > 253 {
		return false
	}
	if role.constraint() {
		if len(name) == 0 {
			return true
		}
		if name[0] == '.' {
			name = name[1:]
		}
	}
	labels, wildcard := 0, false
	if role == rolePresented && len(name) > 0 && name[0] == '*' {
		if len(name) < 2 || name[1] != '.' {
			return false
		}
		name, wildcard, labels = name[2:], true, 1
	}
	if len(name) == 0 {
		return false
	}
	size, numeric, hyphen := 0, false, false
	for _, b := range name {
		switch {
		case b == '.':
			if size == 0 || hyphen {
				return false
			}
			size = 0
			labels++
			continue
		case b == '-':
			if size == 0 {
				return false
			}
			numeric, hyphen = false, true
		case '0' <= b && b <= '9':
			if size == 0 {
				numeric = true
			}
			hyphen = false
		case 'a' <= lower(b) && lower(b) <= 'z' || b == '_':
			numeric, hyphen = false, false
		default:
			return false
		}
		if size++; size > 63 {
			return false
		}
	}
	if size > 0 {
		labels++
	} else if role != roleReference {
		return false
	}
	return !hyphen && !numeric && (!wildcard || labels >= 3)
}
