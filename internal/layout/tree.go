package layout

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// YAML and JSON both become yaml.Node trees: one reader for both, and every
// value knows its line. JSON has a parser of its own because YAML is not quite
// its superset: go-yaml rejects surrogate pairs and keys of over 1,024 bytes.

const (
	// maxValues bounds the values of one document, and with it the memory that
	// its tree takes: about 200 bytes each. A pod with its proxy has some 600.
	maxValues = 5_000_000

	// maxDepth bounds the nesting of JSON; go-yaml has its own bound of 10,000.
	maxDepth = 1_000
)

// parseError is a syntax error at a line of the text given to the parser.
type parseError struct {
	line   int
	reason string
}

func (e *parseError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.reason) }

// parseText parses a text that is YAML or JSON, one document of it.
func parseText(text []byte) (*yaml.Node, error) {
	nodes, err := parseDocument(text)
	if err != nil || len(nodes) == 0 {
		return nil, err
	}
	if len(nodes) > 1 {
		return nil, &parseError{nodes[1].Line, "more than one JSON value"}
	}
	return nodes[0], nil
}

// parseDocument parses one document: a YAML document, or JSON values one after
// the other. A blank one gives no node.
func parseDocument(text []byte) ([]*yaml.Node, error) {
	body := text
	if isMarker(text, "---") {
		body = text[3:] // the rest of that line stays, and so do line numbers
	}
	head := bytes.TrimLeft(body, " \t\r\n")
	if len(head) == 0 || head[0] != '{' && head[0] != '[' {
		return parseYAML(text)
	}
	nodes, jsonErr := parseJSON(body)
	if jsonErr == nil {
		return nodes, nil
	}
	// {a: b} is YAML in its flow style, and so is JSON with comments.
	nodes, yamlErr := parseYAML(text)
	if yamlErr == nil {
		return nodes, nil
	}
	if rest := bytes.TrimLeft(head[1:], " \t\r\n"); len(rest) == 0 || strings.IndexByte(`"{}[]`, rest[0]) >= 0 {
		return nil, jsonErr
	}
	return nil, yamlErr
}

func parseYAML(text []byte) (nodes []*yaml.Node, err error) {
	if n := estimateValues(text); n > maxValues {
		return nil, &parseError{1, fmt.Sprintf("too many values in one document (more than %d): split it", maxValues)}
	}
	// The parser is fed what a stranger wrote; a defect in it must not take the
	// process down.
	defer func() {
		if r := recover(); r != nil {
			nodes, err = nil, &parseError{1, "the YAML parser gave up on this document"}
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, yamlError(err, text)
	}
	// Decode stops after one document; anything behind it must not go unread.
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		return nil, &parseError{more.Line, "a second document without a --- line before it"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(err, text)
	}
	return doc.Content, nil
}

// estimateValues returns a number that the nodes of a YAML text stay below,
// give or take a few.
func estimateValues(text []byte) int {
	n := 2
	for i, c := range text {
		switch c {
		case ':', ',', '[', '{':
			n += 2
		case '-', '?':
			if i+1 == len(text) || strings.IndexByte(" \t\r\n", text[i+1]) >= 0 {
				n += 2
			}
		}
	}
	return n
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// yamlError turns an error of go-yaml into one with a line counted from 1 and
// without anything quoted from the text.
func yamlError(err error, text []byte) *parseError {
	e := &parseError{line: 1, reason: strings.TrimPrefix(err.Error(), "yaml: ")}
	m := yamlLine.FindStringSubmatch(strings.SplitN(err.Error(), "\n", 2)[0])
	if m == nil {
		e.reason = "not valid YAML"
		return e
	}
	e.reason = m[2]
	if strings.HasPrefix(e.reason, "unknown anchor") {
		e.reason = "an alias of an unknown anchor"
		e.line = linesUntilError(text)
		return e
	}
	switch n, _ := strconv.Atoi(m[1]); {
	case isParserProblem(e.reason):
		// For these go-yaml names the line where the enclosing block begins,
		// counted from 0.
		e.line = linesUntilError(text)
	case n > 0:
		e.line = n
	default:
		e.line = firstOddLine(text)
	}
	return e
}

// isParserProblem tells errors of go-yaml's parser from those of its scanner
// (go.yaml.in/yaml v3.0.6, parserc.go).
func isParserProblem(reason string) bool {
	for _, p := range []string{
		"did not find expected key", "did not find expected '-' indicator", "did not find expected ','",
		"did not find expected node content", "did not find expected <", "found undefined tag handle",
		"found duplicate", "found incompatible YAML document",
	} {
		if strings.HasPrefix(reason, p) {
			return true
		}
	}
	return false
}

// linesUntilError returns how many lines the parser wanted before it failed.
func linesUntilError(text []byte) (line int) {
	r := &lineReader{r: bufio.NewReaderSize(bytes.NewReader(text), 4096)}
	defer func() {
		_ = recover()
		line = max(r.lines, 1)
	}()
	dec := yaml.NewDecoder(r)
	for {
		var doc yaml.Node
		if err := dec.Decode(&doc); err != nil {
			return
		}
	}
}

// lineReader hands out no more than one line at a time, and counts them.
type lineReader struct {
	r     *bufio.Reader
	begun bool
	lines int
}

func (l *lineReader) Read(p []byte) (int, error) {
	for i := range p {
		c, err := l.r.ReadByte()
		if err != nil {
			return i, err
		}
		if !l.begun {
			l.begun = true
			l.lines++
		}
		p[i] = c
		if c == '\n' {
			l.begun = false
			return i + 1, nil
		}
	}
	return len(p), nil
}

// firstOddLine returns the first line with a byte that YAML allows nowhere.
func firstOddLine(text []byte) int {
	line := 1
	for _, r := range string(text) {
		switch {
		case r == '\n':
			line++
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f, r == '\uFFFD':
			return line
		}
	}
	return 1
}

// parseJSON parses JSON values that follow each other, with or without space.
func parseJSON(text []byte) ([]*yaml.Node, error) {
	p := &jsonParser{text: text, dec: json.NewDecoder(bytes.NewReader(text)), line: 1}
	p.dec.UseNumber()
	var nodes []*yaml.Node
	for {
		n, err := p.value(0)
		if errors.Is(err, io.EOF) && p.depth == 0 {
			return nodes, nil
		}
		if err != nil {
			return nil, p.fail(err)
		}
		nodes = append(nodes, n)
	}
}

type jsonParser struct {
	text  []byte
	dec   *json.Decoder
	at    int // offset up to which lines are counted
	line  int
	depth int
	count int
}

var errTooDeep = errors.New("nested too deep")

func (p *jsonParser) fail(err error) error {
	at := int(p.dec.InputOffset())
	var syntax *json.SyntaxError
	reason := err.Error()
	switch {
	case errors.As(err, &syntax):
		at = max(at, int(syntax.Offset)-1)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		reason, at = "unexpected end of JSON", len(bytes.TrimRight(p.text, " \t\r\n"))
	}
	at = min(at, len(p.text))
	return &parseError{1 + bytes.Count(p.text[:at], []byte("\n")), reason}
}

func (p *jsonParser) token() (json.Token, error) {
	t, err := p.dec.Token()
	if err == nil {
		if p.count++; p.count > maxValues {
			return nil, fmt.Errorf("too many values in one document (more than %d): split it", maxValues)
		}
		end := int(p.dec.InputOffset())
		p.line += bytes.Count(p.text[p.at:end], []byte("\n"))
		p.at = end
	}
	return t, err
}

// value reads one value; its node's line is that of its last byte for a scalar,
// which JSON keeps on one line, and that of the bracket for the others.
func (p *jsonParser) value(depth int) (*yaml.Node, error) {
	p.depth = depth
	t, err := p.token()
	if err != nil {
		return nil, err
	}
	return p.node(t, depth)
}

func (p *jsonParser) node(t json.Token, depth int) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: p.line, Style: yaml.DoubleQuotedStyle}
	switch v := t.(type) {
	case string:
		n.Tag, n.Value = "!!str", v
	case json.Number:
		n.Tag, n.Value, n.Style = "!!float", v.String(), 0
	case bool:
		n.Tag, n.Value, n.Style = "!!bool", strconv.FormatBool(v), 0
	case nil:
		n.Tag, n.Value, n.Style = "!!null", "null", 0
	case json.Delim:
		if depth >= maxDepth {
			return nil, errTooDeep
		}
		n.Kind, n.Tag, n.Style = yaml.SequenceNode, "!!seq", yaml.FlowStyle
		if v == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for {
			p.depth = depth + 1
			t, err := p.token()
			if err != nil {
				return nil, err
			}
			if d, ok := t.(json.Delim); ok && (d == '}' || d == ']') {
				p.depth = depth
				return n, nil
			}
			child, err := p.node(t, depth+1)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
	}
	return n, nil
}
