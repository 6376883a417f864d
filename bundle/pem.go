package bundle

import (
	"bytes"
	"fmt"
	"slices"
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
// there is (of a text that is nothing but junk, the first thousand places), so
// that one reading shows everything to mend.
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
//
// No error quotes what may be a key: of foreign text only a label or the name
// of a header is ever shown.
func Parse(text []byte) (*Bundle, error) { return ParseKnown(text, nil) }

// ParseKnown is Parse for a reader that has seen most of the certificates
// before: those are taken from known instead of being parsed again.
func ParseKnown(text []byte, known *Bundle) (*Bundle, error) {
	found, issues := scan(text, known)
	if bad := errorsOf(issues); len(bad) > 0 {
		return nil, &ParseError{Issues: bad}
	}
	return bundleOf(found), nil
}

func bundleOf(found []located) *Bundle {
	b := &Bundle{certs: make([]*Certificate, 0, len(found)), index: make(map[Fingerprint]int, len(found))}
	for _, f := range found {
		b.put(f.cert)
	}
	return b
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

// maxIssues bounds how much is said, of each level, about one text.
const maxIssues = 1000

// scanner reads a PEM text line by line and reports all that it does not
// understand. It is stricter than encoding/pem, which drops what it cannot
// read: a bundle that silently lacks an anchor is an outage.
type scanner struct {
	known  *Bundle
	found  []located
	issues []Issue
	said   map[Level]int

	line  int    // of the line being read, from 1
	open  bool   // within a block
	label string // of the open block
	begin int    // its line
	start int    // offset of what follows its BEGIN line

	blocks []block // certificates, not decoded yet

	prose  int // first line of text outside the blocks
	base64 int // last line that was base64 outside a block
}

func scan(text []byte, known *Bundle) ([]located, []Issue) {
	s := &scanner{known: known, said: make(map[Level]int)}
	text, encoding := plainText(text)
	if encoding != nil {
		s.issues = append(s.issues, *encoding)
		if encoding.Level == LevelError {
			return nil, s.issues
		}
	}
	for in := newLineReader(text); in.more(); {
		line := in.next()
		s.line++
		if s.open {
			s.inside(trimEnd(line), in)
		} else {
			s.outside(trimEnd(line), in)
		}
	}
	if s.open {
		s.report(CodeBrokenBlock, LevelError, s.begin, "the block begun in line %d has no END line: the text is cut off", s.begin)
	}
	if s.prose > 0 {
		s.report(CodeTextOutsideBlocks, LevelWarning, s.prose, "text outside the certificate blocks is ignored here, but Linkerd's readers fail on it after the last block")
	}
	s.decode()
	slices.SortStableFunc(s.issues, func(x, y Issue) int { return x.Line - y.Line })
	return s.found, s.issues
}

func (s *scanner) report(code Code, level Level, line int, format string, args ...any) {
	if s.said[level]++; s.said[level] > maxIssues {
		return
	}
	s.issues = append(s.issues, Issue{Code: code, Level: level, Line: line, Message: fmt.Sprintf(format, args...)})
}

// outside reads a line that stands in no block.
func (s *scanner) outside(line []byte, in *lineReader) {
	switch {
	case len(line) == 0, line[0] == '#':
	case isMark(line, beginMark):
		s.openBlock(line, in)
		s.plainBlock(in)
	case looksLikeBase64(line):
		// One report for a whole run of such lines.
		if s.base64 == 0 || s.base64 != s.line-1 {
			s.report(CodeBrokenBlock, LevelError, s.line, "%s", base64Text(line))
		}
		s.base64 = s.line
	case looksLikeMark(line):
		s.report(CodeBrokenBlock, LevelError, s.line, "%s", markText(line))
	case s.prose == 0:
		s.prose = s.line
	}
}

// inside reads a line of a block.
func (s *scanner) inside(line []byte, in *lineReader) {
	certificate := s.label == pemCertificate
	switch {
	case certificate && bytes.IndexByte(line, '-') < 0 && bytes.IndexByte(line, ':') < 0:
		// Decoded with the rest of its block.
	case isMark(line, endMark):
		if got := markLabel(line, endMark); got != s.label {
			s.report(CodeBrokenBlock, LevelError, s.line, "a block begun as %s in line %d ends as %s", labelText(s.label), s.begin, labelText(got))
			s.open = false
			return
		}
		s.closeBlock(in)
	case certificate && bytes.HasPrefix(line, []byte(gluedMark)):
		// What `cat` makes of a file without a final newline. Both blocks are
		// whole, so nothing is lost by reading on; Linkerd's own reader fails here.
		s.report(CodeGluedBlocks, LevelWarning, s.line, "END and the next BEGIN share a line: Linkerd's readers fail on this or lose certificates")
		s.closeBlock(in)
		s.outside(line[len(endMark+pemCertificate+tailMark):], in)
	case isMark(line, beginMark):
		s.report(CodeBrokenBlock, LevelError, s.begin, "the block begun in line %d has no END line", s.begin)
		s.openBlock(line, in)
	case !certificate:
		// Of what is no certificate not even the length is of interest.
	case bytes.IndexByte(line, '-') >= 0 && bytes.Contains(line, []byte("END ")):
		s.report(CodeBrokenBlock, LevelError, s.line, "%s", markText(line))
		s.open = false
	case bytes.IndexByte(line, ':') >= 0:
		s.report(CodeBrokenBlock, LevelError, s.line, "a header%s inside a CERTIFICATE block: proxies refuse the whole bundle for it", headerText(line))
		s.skipBlock(in)
	default:
		s.report(CodeBrokenBlock, LevelError, s.line, "a line inside a CERTIFICATE block is not base64")
		s.skipBlock(in)
	}
}

// gluedMark ends one certificate and begins something else.
const gluedMark = endMark + pemCertificate + tailMark + beginMark

func (s *scanner) openBlock(line []byte, in *lineReader) {
	s.open, s.label, s.begin, s.start = true, markLabel(line, beginMark), s.line, in.at
}

func (s *scanner) closeBlock(in *lineReader) {
	s.open = false
	if s.label != pemCertificate {
		code, text := foreignText(s.label)
		s.report(code, LevelError, s.begin, "%s", text)
		return
	}
	s.blocks = append(s.blocks, block{body: in.text[min(s.start, in.last):in.last], begin: s.begin, end: s.line})
}

// plainEnd ends a certificate as everybody writes it.
const plainEnd = "\n" + endMark + pemCertificate + tailMark

// maxPlain bounds the search for it, so that a text of BEGIN lines alone is not
// searched to its end for each.
const maxPlain = 8 << 10

// plainBlock takes a certificate's block that was just opened in one step where
// nothing about it is odd, as in nearly every text: only lines that may be
// base64, then the END line alone. All else is left to be read line by line.
func (s *scanner) plainBlock(in *lineReader) {
	if in.cr || s.label != pemCertificate || !in.more() {
		return
	}
	rest := in.text[in.at:]
	end := bytes.Index(rest[:min(len(rest), maxPlain)], []byte(plainEnd))
	if end < 0 {
		return
	}
	body, after := rest[:end+1], rest[end+len(plainEnd):]
	if len(after) > 0 && after[0] != '\n' || bytes.IndexByte(body, '-') >= 0 || bytes.IndexByte(body, ':') >= 0 {
		return
	}
	in.last, in.at = in.at+end+1, in.at+end+len(plainEnd)+1
	s.line += bytes.Count(body, []byte("\n")) + 1
	s.closeBlock(in)
}

// skipBlock goes on behind the block's END line.
func (s *scanner) skipBlock(in *lineReader) {
	s.open = false
	for in.more() {
		s.line++
		if isMark(trimEnd(in.next()), endMark) {
			return
		}
	}
}

// lineReader cuts a text at LF, CRLF or a bare CR, as all of Linkerd's readers
// but Go's do. It looks at each byte once or twice, whatever the text.
type lineReader struct {
	text []byte
	cr   bool // there is a CR somewhere
	last int  // offset of the line read last
	at   int  // offset of the next one
	lf   int  // position of the next LF at or after at, once it is known
}

func newLineReader(text []byte) *lineReader {
	return &lineReader{text: text, cr: bytes.IndexByte(text, '\r') >= 0}
}

func (r *lineReader) more() bool { return r.at < len(r.text) }

func (r *lineReader) next() []byte {
	r.last = r.at
	if r.lf < r.at || r.at == 0 {
		if i := bytes.IndexByte(r.text[r.at:], '\n'); i >= 0 {
			r.lf = r.at + i
		} else {
			r.lf = len(r.text)
		}
	}
	line := r.text[r.at:r.lf]
	if !r.cr {
		r.at = r.lf + 1
		return line
	}
	if cr := bytes.IndexByte(line, '\r'); cr >= 0 {
		end := r.at + cr + 1
		if end == r.lf && r.lf < len(r.text) {
			end++
		}
		r.at = end
		return line[:cr]
	}
	r.at = r.lf + 1
	return line
}

// trimEnd drops white space, and NUL, from the end of a line.
func trimEnd(line []byte) []byte {
	n := len(line)
	for n > 0 {
		switch line[n-1] {
		case ' ', '\t', '\v', '\f', '\r', 0:
			n--
			continue
		}
		break
	}
	return line[:n]
}

// lineOf is the number of the line, from 1, that holds the byte at offset at.
func lineOf(text []byte, at int) int {
	n := 0
	for r := newLineReader(text); r.more() && r.at <= at; n++ {
		r.next()
	}
	return max(n, 1)
}
