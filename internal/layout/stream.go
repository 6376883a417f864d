package layout

import (
	"bytes"
	"fmt"
	"regexp"
	"unicode/utf16"

	"go.yaml.in/yaml/v3"
)

// Read reads a manifest: YAML or JSON, one object or many, Lists, and values
// documents of Linkerd's charts. What holds no certificates is passed over; an
// empty manifest is no error. The error is an [*Error].
func Read(data []byte) (*Manifest, error) {
	data = toUTF8(data)
	r := newReader(len(data))
	chunks := split(data)
	if len(chunks) > maxDocuments {
		return nil, &Error{Document: maxDocuments + 1, Line: chunks[maxDocuments].line, Reason: fmt.Sprintf("more than %d documents in one stream: split it", maxDocuments)}
	}
	for i, chunk := range chunks {
		r.document = i + 1
		nodes, err := parseDocument(chunk.text)
		if err != nil {
			if pe, ok := err.(*parseError); ok {
				return nil, &Error{Document: r.document, Line: chunk.line + pe.line - 1, Reason: pe.reason}
			}
			return nil, &Error{Document: r.document, Line: chunk.line, Reason: err.Error()}
		}
		src := &source{text: chunk.text, base: chunk.line}
		counted := false
		for _, n := range nodes {
			if isNull(n) {
				continue
			}
			if !counted {
				r.m.Documents++
				counted = true
			}
			if err := r.top(src, n); err != nil {
				return nil, err
			}
		}
	}
	if err := r.guard(r.finish); err != nil {
		return nil, err
	}
	return &r.m, nil
}

// maxDocuments bounds a stream: far more objects than a cluster has, and few
// enough that 64 MiB of document markers are refused at once.
const maxDocuments = 1_000_000

// chunk is one document of a stream, its --- line included.
type chunk struct {
	text []byte
	line int // line of the input where it begins
}

// split cuts a stream at its --- and ... lines. YAML allows neither inside of a
// document, whatever the style of a scalar, so no parsing is needed, and a
// broken document can be told by its number. It stops where there are too many.
func split(data []byte) []chunk {
	var out []chunk
	start, startLine := 0, 1
	blank, marked := true, false // nothing but comments and directives so far; has its --- line
	line := 1
	cut := func(end, next, nextLine int) {
		if !blank || marked {
			out = append(out, chunk{data[start:end], startLine})
		}
		start, startLine, blank, marked = next, nextLine, true, false
	}
	for at := 0; at < len(data) && len(out) <= maxDocuments; line++ {
		end := len(data)
		if nl := bytes.IndexByte(data[at:], '\n'); nl >= 0 {
			end = at + nl + 1
		}
		switch text := data[at:end]; {
		case isMarker(text, "---"):
			if !blank || marked {
				cut(at, at, line)
			}
			marked = true
			if rest := bytes.TrimSpace(text[3:]); len(rest) > 0 && rest[0] != '#' {
				blank = false
			}
		case isMarker(text, "..."):
			cut(end, end, line+1)
		case blank:
			trimmed := bytes.TrimLeft(text, " \t\r\n")
			blank = len(trimmed) == 0 || trimmed[0] == '#' || text[0] == '%'
		}
		at = end
	}
	cut(len(data), len(data), line)
	return out
}

func isMarker(line []byte, marker string) bool {
	if !bytes.HasPrefix(line, []byte(marker)) {
		return false
	}
	return len(line) == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r' || line[3] == '\n'
}

var (
	objectLine = regexp.MustCompile(`(?m)^["']?(?:apiVersion|kind)["']?[ \t]*:(?:[ \t\r\n]|\z)`)
	pemLine    = regexp.MustCompile(`(?m)^-----BEGIN `)
	keyLine    = regexp.MustCompile(`^(?:- |["']?[A-Za-z0-9_./-]+["']?[ \t]*:(?:[ \t\r\n]|\z))`)
)

// IsManifest reports whether data is a manifest rather than PEM: JSON, or YAML
// that begins with a key, a list or a document marker. In a manifest PEM is
// indented or escaped, so text with a -----BEGIN line at the margin is PEM, with
// whatever headings stand above it, unless it has the apiVersion or kind of an
// object at the margin too. It is a guess from the first lines, and says
// nothing about whether Read will succeed.
func IsManifest(data []byte) bool {
	data = toUTF8(data)
	if objectLine.Match(data) {
		return true
	}
	if pemLine.Match(data) {
		return false
	}
	for len(data) > 0 {
		line := data
		if nl := bytes.IndexByte(data, '\n'); nl >= 0 {
			line = data[:nl+1]
		}
		data = data[len(line):]
		trimmed := bytes.TrimLeft(line, " \t\r\n")
		if len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		return trimmed[0] == '{' || trimmed[0] == '[' || isMarker(line, "---") ||
			bytes.HasPrefix(line, []byte("%YAML")) || keyLine.Match(line)
	}
	return false
}

// toUTF8 removes byte order marks, also those that concatenation left in front
// of later documents, and decodes the UTF-16 that PowerShell writes for ">".
func toUTF8(data []byte) []byte {
	if len(data) >= 2 && (data[0] == 0xFF && data[1] == 0xFE || data[0] == 0xFE && data[1] == 0xFF) {
		lo, hi := 0, 1
		if data[0] == 0xFE {
			lo, hi = 1, 0
		}
		units := make([]uint16, 0, len(data)/2)
		for i := 2; i+1 < len(data); i += 2 {
			units = append(units, uint16(data[i+lo])|uint16(data[i+hi])<<8)
		}
		return []byte(string(utf16.Decode(units)))
	}
	bom := []byte("\xEF\xBB\xBF")
	data = bytes.TrimPrefix(data, bom)
	if bytes.Contains(data, bom) {
		data = bytes.ReplaceAll(data, append([]byte("\n"), bom...), []byte("\n"))
	}
	return data
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
