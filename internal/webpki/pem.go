package webpki

import (
	"bytes"
	"fmt"
	"strings"
)

// A Section is a CERTIFICATE section of a PEM text.
type Section struct {
	DER    []byte // the decoded bytes, which need not be a certificate
	Offset int    // where its BEGIN line starts in the text, in bytes
	Line   int    // the number of that line, from 1; CRLF ends one line
}

// A PEMError is a fault in a PEM text. A proxy refuses the whole text then.
type PEMError struct {
	Offset int    // where the faulty section or line starts in the text, in bytes
	Line   int    // the number of that line, from 1
	Reason string // the message of rustls-pki-types
}

// Error returns the message of rustls-pki-types.
func (e *PEMError) Error() string { return e.Reason }

// ReadPEM reads the CERTIFICATE sections of a text as a proxy does
// (CertificateDer::pem_slice_iter, rustls/pki-types src/pem.rs at 1.14.0).
//
// Lines end at LF or CR. A section begins at a line that starts with
// "-----BEGIN " and ends at the next line that starts with "-----END ", the same
// label and five dashes; text outside sections, and sections with labels that are
// not known, are passed over. A line that starts like a BEGIN line and does not
// end in exactly five dashes, a section without an end, and base64 that does not
// decode, in a known section of any kind, are errors. A second BEGIN line inside
// a section takes its place, but the base64 read so far stays.
//
// The error is a [*PEMError]; the sections before the fault are returned beside
// it for those who want to tell about them. A proxy drops them.
func ReadPEM(text []byte) ([]Section, error) {
	var out []Section
	var body, label []byte
	begin := -1
	fault := func(at int, format string, args ...any) error {
		return &PEMError{Offset: at, Line: lineAt(text, at), Reason: fmt.Sprintf(format, args...)}
	}
	for pos := 0; pos < len(text); {
		start := pos
		line := text[pos:]
		if end := bytes.IndexAny(line, "\r\n"); end >= 0 {
			line, pos = line[:end], pos+end+1
		} else {
			pos = len(text)
		}

		if bytes.HasPrefix(line, []byte(beginPrefix)) {
			l, ok := beginLabel(line)
			if !ok {
				return number(text, out), fault(start, "illegal section start: %s", byteList(line))
			}
			label, begin = l, start
			continue
		}
		if begin < 0 {
			continue
		}
		if !isEnd(line, label) {
			body = append(body, line...)
			continue
		}
		if knownLabel(label) {
			der, err := decodeBase64(body)
			if err != "" {
				return number(text, out), fault(begin, "base64 decode error: %s", err)
			}
			if string(label) == "CERTIFICATE" {
				out = append(out, Section{DER: der, Offset: begin})
			}
		}
		body, begin = body[:0], -1
	}
	if begin >= 0 {
		return number(text, out), fault(begin, "missing section end marker: %s", byteList(label))
	}
	return number(text, out), nil
}

const beginPrefix = "-----BEGIN "

// beginLabel returns the label of a line that starts with "-----BEGIN ", which
// has to end in five dashes, with spaces allowed after and between them.
func beginLabel(line []byte) ([]byte, bool) {
	dashes, at := 0, len(line)
	for i := len(line) - 1; i >= 0; i-- {
		if line[i] == '-' {
			dashes++
			at = i
		} else if line[i] != ' ' {
			break
		}
	}
	if dashes != 5 || at < len(beginPrefix) {
		return nil, false
	}
	return line[len(beginPrefix):at], true
}

func isEnd(line, label []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("-----END "))
	if ok {
		rest, ok = bytes.CutPrefix(rest, label)
	}
	return ok && bytes.HasPrefix(rest, []byte("-----"))
}

// knownLabel tells whether a section of this label is decoded (SectionKind).
func knownLabel(label []byte) bool {
	switch string(label) {
	case "CERTIFICATE", "PUBLIC KEY", "RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY",
		"X509 CRL", "CERTIFICATE REQUEST", "ECHCONFIG":
		return true
	}
	return false
}

// byteList formats bytes as Rust's Debug does, "[45, 45]".
func byteList(b []byte) string {
	s := make([]string, len(b))
	for i, c := range b {
		s[i] = fmt.Sprint(c)
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// lineAt is the number of the line that begins at or before offset at, from 1.
func lineAt(text []byte, at int) int {
	n := 1
	for i, c := range text[:at] {
		if c == '\n' || c == '\r' && text[i+1] != '\n' {
			n++
		}
	}
	return n
}

// number fills in the lines of sections, which are in the order of the text.
func number(text []byte, sections []Section) []Section {
	line, from := 1, 0
	for i := range sections {
		line += lineAt(text[from:], sections[i].Offset-from) - 1
		from = sections[i].Offset
		sections[i].Line = line
	}
	return sections
}

// decodeBase64 decodes what stands inside a section, and returns the bytes or
// the name of the fault (src/base64.rs). White space anywhere is skipped; the
// last group may lack its padding; bits that are left over are not looked at.
func decodeBase64(in []byte) (out []byte, fault string) {
	// The real one collects 8 characters before it looks at padding; where a
	// fault is found, and thus which one, hangs on that.
	var group [8]byte
	used, padding := 0, 0 // padding has bit i set if character i is a '='
	out = make([]byte, 0, (len(in)+3)/4*3)
	for _, b := range in {
		v, pad := byte(0), 0
		switch {
		case 'A' <= b && b <= 'Z':
			v = b - 'A'
		case 'a' <= b && b <= 'z':
			v = b - 'a' + 26
		case '0' <= b && b <= '9':
			v = b - '0' + 52
		case b == '+':
			v = 62
		case b == '/':
			v = 63
		case b == '=':
			pad = 1
		case b == ' ' || '\t' <= b && b <= '\r':
			continue
		default:
			return nil, fmt.Sprintf("InvalidCharacter(%d)", b)
		}
		if used == 8 {
			if padding != 0 {
				return nil, "PrematurePadding"
			}
			out = appendGroup(appendGroup(out, group[:4], 3), group[4:], 3)
			group, used = [8]byte{}, 0
		}
		group[used] = v
		padding |= pad << used
		used++
	}
	last := group[:4]
	if used > 4 {
		if padding&0xf != 0 {
			return nil, "PrematurePadding"
		}
		out = appendGroup(out, last, 3)
		last, padding, used = group[4:], padding>>4, used-4
	}
	switch [2]int{used, padding} {
	case [2]int{0, 0}:
	case [2]int{4, 0}:
		out = appendGroup(out, last, 3)
	case [2]int{4, 0b1000}, [2]int{3, 0}:
		out = appendGroup(out, last, 2)
	case [2]int{4, 0b1100}, [2]int{2, 0}:
		out = appendGroup(out, last, 1)
	default:
		return nil, "InvalidTrailingPadding"
	}
	return out, ""
}

// appendGroup appends the first n of the 3 bytes that 4 characters encode.
func appendGroup(out, group []byte, n int) []byte {
	v := uint32(group[0])<<18 | uint32(group[1])<<12 | uint32(group[2])<<6 | uint32(group[3])
	return append(out, []byte{byte(v >> 16), byte(v >> 8), byte(v)}[:n]...)
}
