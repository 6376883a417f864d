package bundle

import (
	"bytes"
	"fmt"
	"strings"
)

// plainText strips a byte order mark and refuses what is no text at all.
func plainText(text []byte) ([]byte, *Issue) {
	refuse := func(message string) ([]byte, *Issue) {
		return nil, &Issue{CodeBrokenBlock, LevelError, 1, message}
	}
	if rest, ok := bytes.CutPrefix(text, []byte(byteOrderMark)); ok {
		return rest, &Issue{CodeTextOutsideBlocks, LevelWarning, 1, "a byte order mark: Linkerd's readers lose the first certificate to it"}
	}
	switch {
	case bytes.HasPrefix(text, []byte("\xfe\xff")), bytes.HasPrefix(text, []byte("\xff\xfe")),
		bytes.IndexByte(text, 0) >= 0 && bytes.Contains(text, []byte("B\x00E\x00G\x00I\x00N")):
		return refuse("the text is UTF-16; save it as UTF-8")
	case len(text) > 1 && text[0] == 0x30 && text[1]&0x80 != 0:
		return refuse("the data looks like DER, not PEM; `openssl x509 -inform der` converts a certificate")
	}
	return text, nil
}

const byteOrderMark = "\ufeff"

// isMark tells a BEGIN or END line that has nothing else on it.
func isMark(line []byte, mark string) bool {
	return len(line) > len(mark)+len(tailMark) && bytes.HasPrefix(line, []byte(mark)) && bytes.HasSuffix(line, []byte(tailMark)) &&
		!bytes.Contains(line[len(mark):len(line)-len(tailMark)], []byte(tailMark))
}

func markLabel(line []byte, mark string) string {
	label := line[len(mark) : len(line)-len(tailMark)]
	if string(label) == pemCertificate {
		return pemCertificate // without a copy: most are
	}
	return string(label)
}

// looksLikeMark tells what may be left of a BEGIN or END line from a harmless
// comment: the word, and dashes of any kind.
func looksLikeMark(line []byte) bool {
	upper := bytes.Contains(line, []byte("BEGIN ")) || bytes.Contains(line, []byte("END "))
	if upper && (bytes.Contains(line, []byte("--")) || bytes.ContainsAny(line, typographicDashes)) {
		return true
	}
	// In small letters only where hardly anything else can be meant.
	if !bytes.Contains(line, []byte("---")) {
		return false
	}
	low := bytes.ToLower(line)
	return bytes.Contains(low, []byte("begin certificate")) || bytes.Contains(low, []byte("end certificate"))
}

const typographicDashes = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\uff0d"

// doubleBase64 is how "-----BEGIN" looks when PEM is encoded once more, as in
// the data of a Secret.
const doubleBase64 = "LS0tLS1CRUdJT"

// looksLikeBase64 tells what may be left of a block's body from a harmless
// comment: DER in base64 begins with MI, and a body has long lines.
func looksLikeBase64(line []byte) bool {
	t := trimSpace(line)
	if bytes.Contains(t, []byte(doubleBase64)) {
		return true
	}
	if bytes.HasPrefix(t, []byte("MII")) {
		return len(t) >= 16
	}
	return len(t) >= 48 && onlyBase64(t)
}

func onlyBase64(b []byte) bool {
	for _, c := range b {
		if !isBase64(c) {
			return false
		}
	}
	return true
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '='
}

func trimSpace(line []byte) []byte {
	return bytes.TrimSpace(bytes.TrimLeft(line, byteOrderMark+"\u00a0"))
}

func base64Text(line []byte) string {
	switch {
	case bytes.Contains(line, []byte(doubleBase64)):
		return "PEM that is in base64 once more, as in the data of a Secret: decode it first"
	case bytes.Contains(line, []byte(`\n`)):
		return escapedText
	}
	return "base64 outside a block: its BEGIN line is missing or damaged"
}

const escapedText = `the text holds \n as two characters where a line should end: it was copied out of JSON or a quoted string`

// markText words a line that looks like a BEGIN or END line and is none. Only
// the marker itself is ever shown: what stands beside it may be a key.
func markText(line []byte) string {
	t := trimSpace(line)
	mark := isMark(t, beginMark) || isMark(t, endMark)
	switch {
	case isMark(line, endMark):
		return "a misplaced END line: no BEGIN line stands before it"
	case mark && bytes.HasPrefix(line, []byte(byteOrderMark)):
		return "a byte order mark stands before the marker: remove it (files with one were joined)"
	case mark:
		return "an indented BEGIN or END line is no marker: remove the indentation"
	case bytes.Contains(t, []byte(`\n`)):
		return escapedText
	case bytes.ContainsAny(t, typographicDashes):
		return "a marker with dashes that a text editor has replaced: type five plain hyphens on each side"
	case bytes.HasPrefix(t, []byte(beginMark)) && bytes.Contains(t, []byte(endMark)):
		return "a whole block on one line: its lines were joined"
	}
	if body, _, ok := bytes.Cut(t, []byte(endMark)); ok && len(body) > 0 && onlyBase64(body) {
		return "an END line has to stand on a line of its own"
	}
	return "a damaged or misplaced BEGIN or END line"
}

// labelText quotes a label that reads like one; a key may stand in its place.
func labelText(label string) string {
	const longestWord = 16 // CERTIFICATE, PARAMETERS
	if len(label) > 40 {
		return "something else"
	}
	for _, word := range strings.Fields(label) {
		if len(word) > longestWord {
			return "something else"
		}
	}
	return fmt.Sprintf("%q", printable(label))
}

// headerText quotes the name of a PEM header, never its value.
func headerText(line []byte) string {
	name, _, _ := bytes.Cut(line, []byte(":"))
	const longest = 20
	if len(name) == 0 || len(name) > longest {
		return ""
	}
	for _, c := range name {
		if !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-') {
			return ""
		}
	}
	return fmt.Sprintf(" (%s)", name)
}

// foreignText words what a block of another label means. Its content is never
// shown: it may be a key.
func foreignText(label string) (Code, string) {
	upper := strings.ToUpper(label)
	switch {
	case strings.Contains(upper, "PRIVATE KEY"):
		return CodePrivateKeyPresent, fmt.Sprintf("a block labelled %s: a private key does not belong among certificates", labelText(label))
	case strings.Contains(upper, pemCertificate) && !strings.Contains(upper, "REQUEST"):
		return CodeForeignBlock, fmt.Sprintf("a block labelled %s: only CERTIFICATE is read by meshes", labelText(label))
	}
	return CodeForeignBlock, fmt.Sprintf("a block labelled %s is not a certificate: linkerd-identity drops it and all that follows", labelText(label))
}
