package bundle

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// decodeName decodes a distinguished name and writes it as RFC 4514 does.
func decodeName(raw []byte) (rdns pkix.RDNSequence, dn string) {
	if rest, err := asn1.Unmarshal(raw, &rdns); err != nil || len(rest) != 0 {
		var ok bool
		if rdns, ok = oddName(raw); !ok {
			return nil, "#" + hex.EncodeToString(raw) // RFC 4514 section 2.4
		}
	}
	return rdns, printable(rdns.String())
}

// nameText words a distinguished name for people: the common name, and in
// brackets what else there is.
func nameText(raw []byte) string {
	rdns, dn := decodeName(raw)
	if dn == "" {
		return "(empty subject)"
	}
	var cn, serial string
	var others pkix.RDNSequence
	for _, rdn := range rdns {
		if len(rdn) == 1 {
			value, isText := rdn[0].Value.(string)
			if isText && cn == "" && rdn[0].Type.Equal(oidCommonName) {
				cn = printable(value)
				continue
			}
			if isText && rdn[0].Type.Equal(oidSerialNumber) {
				serial = printable(value)
			}
		}
		others = append(others, rdn)
	}
	switch {
	case cn == "":
		return dn
	case len(others) == 0:
		return cn
	case len(others) == 1 && serial != "":
		return cn + " [" + serial + "]" // the key id, in issuers made here
	}
	return cn + " [" + printable(others.String()) + "]"
}

var (
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSerialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}
)

// oddName reads a name whose strings Go refuses, such as a PrintableString with
// an underscore in it: people who have to find the certificate need its name.
func oddName(raw []byte) (rdns pkix.RDNSequence, ok bool) {
	in := cryptobyte.String(raw)
	var name cryptobyte.String
	if !in.ReadASN1(&name, cbasn1.SEQUENCE) || !in.Empty() {
		return nil, false
	}
	for !name.Empty() {
		var set cryptobyte.String
		if !name.ReadASN1(&set, cbasn1.SET) {
			return nil, false
		}
		var rdn pkix.RelativeDistinguishedNameSET
		for !set.Empty() {
			var attribute, value cryptobyte.String
			var id asn1.ObjectIdentifier
			var tag cbasn1.Tag
			if !set.ReadASN1(&attribute, cbasn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&id) ||
				!attribute.ReadAnyASN1(&value, &tag) {
				return nil, false
			}
			rdn = append(rdn, pkix.AttributeTypeAndValue{Type: id, Value: string(value)})
		}
		rdns = append(rdns, rdn)
	}
	return rdns, true
}

// printable keeps foreign text from steering the terminal it is shown on:
// controls, and the invisible characters that reorder or hide text, are
// replaced.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// clip shortens foreign text for a message and keeps it from steering a
// terminal.
func clip(s string, most int) string {
	if len(s) > 8*most {
		s = s[:8*most] // do not clean megabytes to show a line
	}
	s = printable(s)
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// mostNames is how many certificates a message names before it counts them.
const mostNames = 4

// subjectsOf names certificates for a message: each name once, the first few,
// and how many more there are.
func subjectsOf(certs []*Certificate) string {
	seen := make(map[Fingerprint]bool, len(certs))
	var names []string
	for _, c := range certs {
		if seen[c.fingerprint] {
			continue
		}
		seen[c.fingerprint] = true
		if len(seen) <= mostNames {
			names = append(names, c.String())
		}
	}
	if more := len(seen) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
