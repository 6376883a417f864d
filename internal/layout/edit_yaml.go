package layout

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// editYAML sets the text at a path of a YAML mapping.
func editYAML(text string, root *yaml.Node, path []string, value string) (string, error) {
	y := yamlText{text: text, eol: "\n"}
	if strings.Contains(text, "\r\n") {
		y.eol = "\r\n"
	}
	if root == nil || isNull(root) {
		if !blank(text) && strings.Trim(text, " \t\r\n~") != "" && !onlyComments(text) {
			return "", fmt.Errorf("%w: there is no mapping", ErrEdit)
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += y.eol
		}
		return text + y.block(path, value, 0), nil
	}
	n := root
	for i, name := range path {
		if n.Kind != yaml.MappingNode {
			return "", fmt.Errorf("%w: %s stands in no mapping", ErrEdit, name)
		}
		k, v := child(n, name)
		switch {
		case k == nil && merged(n):
			return "", fmt.Errorf("%w: it may come from a merge key", ErrEdit)
		case k == nil:
			return y.insert(n, path[i:], value)
		case v.Kind == yaml.AliasNode || v.Anchor != "":
			return "", fmt.Errorf("%w: it is shared by an alias", ErrEdit)
		case i == len(path)-1:
			return y.replace(n, k, v, value)
		case isNull(v) || v.Kind == yaml.MappingNode && len(v.Content) == 0:
			return y.fill(k, v, path[i+1:], value)
		}
		n = v
	}
	return "", fmt.Errorf("%w: no path", ErrEdit)
}

func onlyComments(text string) bool {
	for line := range strings.Lines(text) {
		if t := strings.TrimSpace(line); t != "" && t[0] != '#' && t != "---" && t != "null" && t != "~" {
			return false
		}
	}
	return true
}

func merged(n *yaml.Node) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			return true
		}
	}
	return false
}

// yamlText is a text that is edited, and its line ends.
type yamlText struct{ text, eol string }

// at returns the offset of a node.
func (y yamlText) at(n *yaml.Node) (int, error) {
	off := 0
	for range n.Line - 1 {
		nl := strings.IndexByte(y.text[off:], '\n')
		if nl < 0 {
			return 0, fmt.Errorf("%w: it is not where the parser says", ErrEdit)
		}
		off += nl + 1
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRuneInString(y.text[off:])
		if size == 0 {
			return 0, fmt.Errorf("%w: it is not where the parser says", ErrEdit)
		}
		off += size
	}
	return off, nil
}

// lineEnd returns the offset at which the line around an offset ends, without
// its line break.
func (y yamlText) lineEnd(off int) int {
	nl := strings.IndexByte(y.text[off:], '\n')
	if nl < 0 {
		return len(y.text)
	}
	end := off + nl
	if end > off && y.text[end-1] == '\r' {
		end--
	}
	return end
}

// replace sets the value v of the key k in the mapping n.
func (y yamlText) replace(n, k, v *yaml.Node, value string) (string, error) {
	if v.Kind != yaml.ScalarNode {
		return "", fmt.Errorf("%w: it holds no text", ErrEdit)
	}
	if isNull(v) && v.Value == "" {
		return y.fill(k, v, nil, value)
	}
	start, err := y.at(v)
	if err != nil {
		return "", err
	}
	if start >= len(y.text) || v.Style&yaml.TaggedStyle != 0 {
		return "", fmt.Errorf("%w: it carries a tag", ErrEdit)
	}
	switch {
	case v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return y.replaceBlock(start, k.Column-1, value)
	case v.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		end, err := y.quoteEnd(start)
		if err != nil {
			return "", err
		}
		return y.text[:start] + quoteYAML(value) + y.text[end:], nil
	case !strings.HasPrefix(y.text[start:], v.Value):
		return "", fmt.Errorf("%w: an unquoted text over several lines", ErrEdit)
	}
	end := start + len(v.Value)
	if n.Style&yaml.FlowStyle != 0 {
		return y.text[:start] + quoteYAML(value) + y.text[end:], nil
	}
	return y.startBlock(start, end, k.Column-1, value), nil
}

// replaceBlock replaces a block scalar whose header begins at an offset.
func (y yamlText) replaceBlock(start, parent int, value string) (string, error) {
	if c := y.text[start]; c != '|' && c != '>' {
		return "", fmt.Errorf("%w: it carries a tag", ErrEdit)
	}
	header := start + 1
	explicit, keep := 0, false
	for header < len(y.text) && strings.IndexByte("+-123456789", y.text[header]) >= 0 {
		keep = keep || y.text[header] == '+'
		if d := y.text[header]; d >= '1' {
			explicit = int(d - '0')
		}
		header++
	}
	afterHeader := y.lineEnd(header)
	indent, end := y.blockExtent(afterHeader, parent, keep)
	if indent < 0 {
		indent = parent + 2
	}
	marks := ""
	if explicit > 0 {
		marks, indent = fmt.Sprint(explicit), parent+explicit
	}
	if !strings.HasSuffix(value, "\n") {
		marks += "-"
	}
	tail := y.text[end:]
	if tail == "" && strings.HasSuffix(value, "\n") {
		tail = y.eol
	}
	return y.text[:start] + "|" + marks + y.text[header:afterHeader] + y.lines(value, indent) + tail, nil
}

// blockExtent returns the indentation of the block that follows the line ending
// at off, -1 for an empty one, and where its last line ends. Blank lines behind
// it belong to it only where the header says so.
func (y yamlText) blockExtent(off, parent int, keep bool) (indent, end int) {
	indent, end = -1, off
	for off < len(y.text) {
		nl := strings.IndexByte(y.text[off:], '\n')
		if nl < 0 {
			break
		}
		off += nl + 1
		stop := y.lineEnd(off)
		line := y.text[off:stop]
		trimmed := strings.TrimLeft(line, " ")
		depth := len(line) - len(trimmed)
		if trimmed == "" && (indent < 0 || depth <= indent) {
			if keep && off < len(y.text) {
				end = stop
			}
			off = stop
			continue
		}
		if indent < 0 {
			if depth <= parent {
				break
			}
			indent = depth
		}
		if depth < indent {
			break
		}
		end, off = stop, stop
	}
	return indent, end
}

// lines writes a text as the lines of a block, each after a line break.
func (y yamlText) lines(value string, indent int) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(value, "\n"), "\n") {
		b.WriteString(y.eol)
		if line != "" {
			b.WriteString(strings.Repeat(" ", indent) + line)
		}
	}
	return b.String()
}

// startBlock puts a block in the place of what stands between two offsets of one
// line, below a key that is indented by parent.
func (y yamlText) startBlock(start, end, parent int, value string) string {
	header := "|"
	if !strings.HasSuffix(value, "\n") {
		header = "|-"
	}
	stop := y.lineEnd(end)
	tail := y.text[stop:]
	if tail == "" && strings.HasSuffix(value, "\n") {
		tail = y.eol
	}
	return y.text[:start] + header + y.text[end:stop] + y.lines(value, parent+2) + tail
}

// quoteEnd returns where a quoted scalar that begins at an offset ends.
func (y yamlText) quoteEnd(start int) (int, error) {
	quote := y.text[start]
	if quote != '"' && quote != '\'' {
		return 0, fmt.Errorf("%w: it is not where the parser says", ErrEdit)
	}
	for i := start + 1; i < len(y.text); i++ {
		switch c := y.text[i]; {
		case c == '\\' && quote == '"':
			i++
		case c == quote && quote == '\'' && i+1 < len(y.text) && y.text[i+1] == quote:
			i++
		case c == quote:
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("%w: its quotes do not end", ErrEdit)
}

// quoteYAML quotes plain text for YAML; JSON's way is one of YAML's.
func quoteYAML(s string) string { return quoteJSON(s) }

// fill gives a value to a key that has none: nothing, null or {}.
func (y yamlText) fill(k, v *yaml.Node, path []string, value string) (string, error) {
	colon, err := y.at(k)
	if err != nil {
		return "", err
	}
	at := strings.IndexByte(y.text[colon:], ':')
	if at < 0 || y.text[colon:colon+at] != k.Value {
		return "", fmt.Errorf("%w: its key is quoted", ErrEdit)
	}
	colon += at + 1
	end := colon
	if v.Value != "" || v.Kind == yaml.MappingNode {
		start, err := y.at(v)
		if err != nil {
			return "", err
		}
		end = start + len(v.Value)
		if v.Kind == yaml.MappingNode {
			brace := strings.IndexByte(y.text[start:], '}')
			if brace < 0 || strings.TrimSpace(y.text[start+1:start+brace]) != "" {
				return "", fmt.Errorf("%w: an empty mapping with something in it", ErrEdit)
			}
			end = start + brace + 1
		}
	}
	stop := y.lineEnd(end)
	if rest := strings.TrimSpace(y.text[end:stop]); rest != "" && rest[0] != '#' {
		return "", fmt.Errorf("%w: something follows on its line", ErrEdit)
	}
	if len(path) == 0 {
		y.text = y.text[:colon] + " " + y.text[end:]
		return y.startBlock(colon+1, colon+1, k.Column-1, value), nil
	}
	tail := strings.TrimPrefix(strings.TrimPrefix(y.text[stop:], "\r"), "\n")
	return y.text[:colon] + y.text[end:stop] + y.eol + y.block(path, value, k.Column+1) + tail, nil
}

// block writes keys below each other and the text of the last.
func (y yamlText) block(path []string, value string, indent int) string {
	pad := strings.Repeat(" ", indent)
	if len(path) > 1 {
		return pad + path[0] + ":" + y.eol + y.block(path[1:], value, indent+2)
	}
	header := "|"
	if !strings.HasSuffix(value, "\n") {
		header = "|-"
	}
	return pad + path[0] + ": " + header + y.lines(value, indent+2) + y.eol
}

// insert puts a new key first into a mapping.
func (y yamlText) insert(n *yaml.Node, path []string, value string) (string, error) {
	start, err := y.at(n)
	if err != nil {
		return "", err
	}
	if n.Style&yaml.FlowStyle != 0 || len(n.Content) == 0 {
		if len(n.Content) == 0 && strings.HasPrefix(y.text[start:], "{}") && n.Column == 1 {
			tail := strings.TrimPrefix(strings.TrimPrefix(y.text[start+2:], "\r"), "\n")
			return y.text[:start] + y.block(path, value, 0) + tail, nil
		}
		if start >= len(y.text) || y.text[start] != '{' {
			return "", fmt.Errorf("%w: it is not where the parser says", ErrEdit)
		}
		return insertJSON(y.text, start, path[0], " "+wrapJSON(path[1:], value)), nil
	}
	first := n.Content[0]
	off, err := y.at(first)
	if err != nil {
		return "", err
	}
	line := strings.LastIndexByte(y.text[:off], '\n') + 1
	if strings.Trim(y.text[line:off], " ") != "" {
		return "", fmt.Errorf("%w: its first key does not begin a line", ErrEdit)
	}
	return y.text[:line] + y.block(path, value, first.Column-1) + y.text[line:], nil
}
