package layout

import (
	"bytes"
	"encoding/base64"
	"strings"

	"go.yaml.in/yaml/v3"
)

// located is a text with the place it came from.
type located struct {
	text  string
	line  int
	exact bool
}

// source is a text that was parsed, and where its first line stands in the
// input: the whole of a document, or YAML and JSON held inside of a value.
type source struct {
	text []byte
	base int // line of the input where the text begins

	// opaque is true where lines of the text are no lines of the input: what
	// was decoded from base64 or from escapes. All of it is then at base.
	opaque bool

	starts []int // offset of each line, made on first use
}

// sourceOf returns the source that a decoded text is.
func sourceOf(l located) *source {
	return &source{text: []byte(l.text), base: l.line, opaque: !l.exact}
}

// line returns the line of the input for a line of this text, both from 1.
func (s *source) line(n int) int {
	if s.opaque {
		return s.base
	}
	return s.base + max(n, 1) - 1
}

// locate returns a scalar's text and place.
func (s *source) locate(n *yaml.Node) located {
	l := located{text: n.Value, line: s.line(n.Line)}
	if s.opaque || n.Style&yaml.LiteralStyle == 0 {
		return l
	}
	// The text of a block scalar begins on the line after its header. The
	// header is not always where the node is said to be (an anchor or tag may
	// stand on a line of its own), so look, and claim only what is seen.
	for at := n.Line + 1; at <= n.Line+2; at++ {
		if s.holds(at, n.Value) {
			return located{text: n.Value, line: s.line(at), exact: true}
		}
	}
	return l
}

// holds reports whether the lines of text, indented, stand from line at on.
func (s *source) holds(at int, text string) bool {
	for want := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		have, ok := s.lineText(at)
		if !ok || !strings.HasSuffix(have, want) || strings.TrimLeft(have[:len(have)-len(want)], " ") != "" {
			return false
		}
		at++
	}
	return true
}

// lineText returns a line, counted from 1, without its line break.
func (s *source) lineText(n int) (string, bool) {
	if s.starts == nil {
		s.starts = []int{0}
		for i, c := range s.text {
			if c == '\n' {
				s.starts = append(s.starts, i+1)
			}
		}
	}
	if n < 1 || n > len(s.starts) {
		return "", false
	}
	end := len(s.text)
	if n < len(s.starts) {
		end = s.starts[n] - 1
	}
	return string(bytes.TrimSuffix(s.text[s.starts[n-1]:end], []byte("\r"))), true
}

// decodeBase64 decodes as encoding/json does for a []byte field, which is how
// the API server reads a Secret: line breaks are ignored, blanks are not.
func decodeBase64(s string) (string, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err == nil
}

// DecodeBase64 decodes as Kubernetes and Linkerd do where they hold anchors in
// base64: standard, with line breaks ignored.
func DecodeBase64(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err
}
