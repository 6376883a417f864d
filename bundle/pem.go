package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Issue is something in a text that a strict reader does not pass over.
type Issue struct {
	Code    Code   // kebab-case, see the list of codes
	Level   Level  // LevelError where a certificate may be lost, LevelWarning elsewhere
	Line    int    // line of the text, from 1
	Message string // what stands there and why that matters, without the line
}

// Error is the issue with its line.
func (i Issue) Error() string { return fmt.Sprintf("line %d: %s", i.Line, i.Message) }

// ParseError is returned by Parse for a text with junk in it. It lists all
// there is, so that one reading shows everything to mend.
type ParseError struct{ Issues []Issue }

// Error gives the first issue and how many more there are.
func (e *ParseError) Error() string {
	if len(e.Issues) == 1 {
		return e.Issues[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", e.Issues[0].Error(), len(e.Issues)-1)
}

// Parse reads a PEM bundle strictly: a block that is not a certificate, a
// damaged block, or text that may be one is an error that names the line
// (*ParseError); nothing is skipped in silence. A text without any certificate
// is an empty bundle. Findings about harmless text around the blocks are left
// to Lint.
func Parse(text []byte) (*Bundle, error) { return ParseKnown(text, nil) }

// ParseKnown is Parse for a reader that has seen most of the certificates
// before: those are taken from known instead of being parsed again.
func ParseKnown(text []byte, known *Bundle) (*Bundle, error) {
	found, issues := scan(text, known)
	if bad := errorsOf(issues); len(bad) > 0 {
		return nil, &ParseError{Issues: bad}
	}
	b := New()
	for _, f := range found {
		b.Add(f.cert)
	}
	return b, nil
}

func errorsOf(issues []Issue) (bad []Issue) {
	for _, i := range issues {
		if i.Level == LevelError {
			bad = append(bad, i)
		}
	}
	return bad
}

// located is a certificate and the line of the text at which its block begins.
type located struct {
	cert *Certificate
	line int
}

const (
	beginMark = "-----BEGIN "
	endMark   = "-----END "
	tailMark  = "-----"
)

// scan reads every block of a PEM text line by line and reports all that it
// does not understand. It is stricter than encoding/pem, which drops what it
// cannot read: a bundle that silently lacks an anchor is an outage.
func scan(text []byte, known *Bundle) (found []located, issues []Issue) {
	report := func(code Code, level Level, line int, format string, args ...any) {
		issues = append(issues, Issue{Code: code, Level: level, Line: line, Message: fmt.Sprintf(format, args...)})
	}
	text, encodingIssue := plainText(text)
	if encodingIssue != nil {
		issues = append(issues, *encodingIssue)
		if encodingIssue.Level == LevelError {
			return nil, issues
		}
	}
	var (
		label string // of the open block, "" outside
		begin int    // its line
		body  []byte
		prose int // first line of text outside the blocks
	)
	closeBlock := func(line int) {
		defer func() { label, body = "", nil }()
		if label != pemCertificate {
			reportForeignBlock(report, label, begin)
			return
		}
		cert, err := decodeBlock(body, known)
		if err != nil {
			report(CodeBrokenBlock, LevelError, begin, "the certificate in lines %d to %d is broken: %v", begin, line, err)
			return
		}
		if _, err := cert.X509(); err != nil {
			report(CodeUnreadableByIdentity, LevelError, begin, "%s: %v; linkerd-identity refuses the whole bundle for it", cert, err)
		}
		found = append(found, located{cert, begin})
	}
	line := 0
	for len(text) > 0 {
		line++
		var raw []byte
		raw, text = cutLine(text)
		for again := true; again; { // once, but for blocks glued together on one line
			again = false
			s := strings.TrimRight(string(raw), " \t\v\f\r\x00")
			switch {
			case label == "" && s == "":
			case label == "" && isMark(s, beginMark):
				label, begin = markLabel(s, beginMark), line
			case label == "" && strings.HasPrefix(s, "#"):
			case label == "" && looksLikeDamage(s):
				report(CodeBrokenBlock, LevelError, line, "%s", damageText(s))
			case label == "":
				if prose == 0 {
					prose = line
				}
			case isMark(s, endMark):
				if got := markLabel(s, endMark); got != label {
					report(CodeBrokenBlock, LevelError, line, "a block begun as %q in line %d ends as %q", label, begin, got)
					label, body = "", nil
					continue
				}
				closeBlock(line)
			case isGlued(s, label):
				// What `cat` makes of a file without a final newline. Both blocks
				// are whole, so nothing is lost by reading on; Linkerd's own
				// reader fails here.
				report(CodeGluedBlocks, LevelWarning, line, "END and the next BEGIN share a line: Linkerd's readers fail on this")
				closeBlock(line)
				raw, again = []byte(s[len(endMark+pemCertificate+tailMark):]), true
			case isMark(s, beginMark):
				report(CodeBrokenBlock, LevelError, begin, "the block begun in line %d has no END line", begin)
				label, begin, body = markLabel(s, beginMark), line, nil
			case label == pemCertificate && strings.Contains(s, ":"):
				report(CodeBrokenBlock, LevelError, line, "a header inside a CERTIFICATE block (%q): proxies refuse the whole bundle for it", clip(s))
				label, body = "", nil
				text = skipBlock(text, &line)
			default:
				body = append(body, s...)
			}
		}
	}
	if label != "" {
		report(CodeBrokenBlock, LevelError, begin, "the block begun in line %d has no END line: the text is cut off", begin)
	}
	if prose > 0 {
		report(CodeTextOutsideBlocks, LevelWarning, prose, "text outside the certificate blocks is ignored here, but Linkerd's readers fail on it after the last block")
	}
	return found, issues
}

// plainText strips a byte order mark and refuses what is no text at all.
func plainText(text []byte) ([]byte, *Issue) {
	if rest, ok := bytes.CutPrefix(text, []byte("\xef\xbb\xbf")); ok {
		return rest, &Issue{CodeTextOutsideBlocks, LevelWarning, 1, "a byte order mark: Linkerd's readers lose the first certificate to it"}
	}
	switch {
	case bytes.HasPrefix(text, []byte("\xfe\xff")), bytes.HasPrefix(text, []byte("\xff\xfe")):
		return nil, &Issue{CodeBrokenBlock, LevelError, 1, "the text is UTF-16; save it as UTF-8"}
	case len(text) > 1 && text[0] == 0x30 && text[1]&0x80 != 0:
		return nil, &Issue{CodeBrokenBlock, LevelError, 1, "the data looks like DER, not PEM; `openssl x509 -inform der` converts a certificate"}
	}
	return text, nil
}

// cutLine cuts at LF, CRLF or a bare CR.
func cutLine(text []byte) (line, rest []byte) {
	i := bytes.IndexAny(text, "\r\n")
	if i < 0 {
		return text, nil
	}
	n := i + 1
	if text[i] == '\r' && n < len(text) && text[n] == '\n' {
		n++
	}
	return text[:i], text[n:]
}

func isMark(s, mark string) bool {
	return strings.HasPrefix(s, mark) && strings.HasSuffix(s, tailMark) && len(s) > len(mark)+len(tailMark) &&
		!strings.Contains(s[len(mark):len(s)-len(tailMark)], tailMark)
}

func markLabel(s, mark string) string { return s[len(mark) : len(s)-len(tailMark)] }

func isGlued(s, label string) bool {
	return label == pemCertificate && strings.HasPrefix(s, endMark+pemCertificate+tailMark+beginMark)
}

// looksLikeDamage tells a line that may be what is left of a block from a
// harmless comment.
func looksLikeDamage(s string) bool {
	t := strings.TrimSpace(strings.TrimLeft(s, "\ufeff\u00a0"))
	if strings.Contains(t, "BEGIN ") || strings.Contains(t, "END ") {
		return strings.Contains(t, "--") || strings.ContainsAny(t, "\u2010\u2011\u2012\u2013\u2014\u2015")
	}
	if strings.HasPrefix(t, "MII") && len(t) >= 16 {
		return true
	}
	if len(t) < 48 {
		return false
	}
	return strings.Trim(t, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == ""
}

func damageText(s string) string {
	t := strings.TrimSpace(s)
	switch {
	case t != s && (isMark(t, beginMark) || isMark(t, endMark)):
		return "an indented BEGIN or END line is no marker: remove the indentation"
	case strings.Contains(t, `\n`):
		return `the text holds \n as two characters where a line should end: it was copied out of JSON or a quoted string`
	case strings.Contains(t, "BEGIN ") || strings.Contains(t, "END "):
		return fmt.Sprintf("damaged or misplaced marker %q", clip(t))
	default:
		return "base64 outside a block: its BEGIN line is missing or damaged"
	}
}

// reportForeignBlock words what a block of another label means. Its content is
// never shown: it may be a key.
func reportForeignBlock(report func(Code, Level, int, string, ...any), label string, line int) {
	switch {
	case strings.HasSuffix(label, "PRIVATE KEY"):
		report(CodePrivateKeyPresent, LevelError, line, "a block %q: a private key does not belong among certificates", clip(label))
	case strings.Contains(strings.ToUpper(label), pemCertificate) && label != "CERTIFICATE REQUEST":
		report(CodeForeignBlock, LevelError, line, "a block labelled %q: only CERTIFICATE is read by meshes", clip(label))
	default:
		report(CodeForeignBlock, LevelError, line, "a block labelled %q is not a certificate: linkerd-identity drops it and all that follows", clip(label))
	}
}

func skipBlock(text []byte, line *int) []byte {
	for len(text) > 0 {
		var raw []byte
		raw, text = cutLine(text)
		*line++
		if isMark(strings.TrimRight(string(raw), " \t\r"), endMark) {
			break
		}
	}
	return text
}

func decodeBlock(body []byte, known *Bundle) (*Certificate, error) {
	// The body is bounded by the text, and a certificate is bounded by its own
	// length field, so there is nothing to limit here.
	der := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	n, err := base64.StdEncoding.Strict().Decode(der, dropSpace(body))
	if err != nil {
		return nil, fmt.Errorf("its base64 does not decode: %w", err)
	}
	der = der[:n]
	fp := Fingerprint(sha256.Sum256(der))
	if known != nil {
		if c := known.Get(fp); c != nil {
			return c, nil
		}
	}
	return newCertificate(der, fp)
}

func dropSpace(b []byte) []byte {
	if bytes.IndexAny(b, " \t") < 0 {
		return b
	}
	return bytes.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, b)
}

// clip shortens foreign text for a message and keeps it from steering a
// terminal.
func clip(s string) string {
	const most = 60
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
