package layout

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Aliases make a tree into a graph, possibly an endless one, so every step
// through nodes is paid for from a budget that grows with the input. What has
// no aliases takes 3 steps a byte at most, and real manifests take 1.
const (
	workPerByte = 8
	workAtLeast = 1 << 20

	// maxMerges bounds how far << is followed.
	maxMerges = 16
)

// spend pays for n steps. It panics with *Error when the budget is gone, which
// guard recovers: the alternative is an error return on each lookup.
func (r *reader) spend(n int) {
	if r.work -= n; r.work < 0 {
		panic(&Error{Document: r.document, Line: r.topLine, Reason: "too many aliases: reading this would take too long"})
	}
}

// deref follows aliases to the node they stand for.
func (r *reader) deref(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		r.spend(1)
		n = n.Alias
	}
	return n
}

// get returns the value of a key, nil where the mapping has none or n is no
// mapping. Of a repeated key the last value counts, as for kubectl; a key of
// the mapping's own beats a merged one.
func (r *reader) get(n *yaml.Node, key string) *yaml.Node { return r.lookup(n, key, 0) }

func (r *reader) lookup(n *yaml.Node, key string, merges int) *yaml.Node {
	n = r.deref(n)
	if n == nil || n.Kind != yaml.MappingNode || merges > maxMerges {
		return nil
	}
	r.spend(1 + len(n.Content)/8)
	var found *yaml.Node
	var merge bool
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = r.deref(k)
		}
		if k.Kind != yaml.ScalarNode {
			continue
		}
		if k.Value == key {
			if found != nil && watchedKeys[key] {
				r.duplicate(k, key)
			}
			found = n.Content[i+1]
		}
		merge = merge || k.Tag == "!!merge"
	}
	if found != nil || !merge {
		return r.deref(found)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		from := r.deref(n.Content[i+1])
		if from.Kind != yaml.SequenceNode {
			return r.lookup(from, key, merges+1)
		}
		for _, item := range from.Content {
			if v := r.lookup(item, key, merges+1); v != nil {
				return v
			}
		}
	}
	return nil
}

// at returns the value at a path of keys.
func (r *reader) at(n *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		n = r.get(n, key)
	}
	return n
}

// str returns a scalar's text, "" for anything else.
func (r *reader) str(n *yaml.Node) string {
	if n = r.deref(n); n == nil || n.Kind != yaml.ScalarNode || isNull(n) {
		return ""
	}
	return n.Value
}

// items returns the elements of a sequence, nil for anything else.
func (r *reader) items(n *yaml.Node) []*yaml.Node {
	if n = r.deref(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	r.spend(1 + len(n.Content))
	return n.Content
}

// text returns the text of a field that must be one. ok is false where the
// field is absent or null; anything but a scalar is an error of the manifest.
func (r *reader) text(src *source, n *yaml.Node, field string) (l located, ok bool) {
	n = r.deref(n)
	switch {
	case n == nil || isNull(n):
		return located{}, false
	case n.Kind != yaml.ScalarNode:
		r.failf(src.line(n.Line), field, "not a text")
	}
	r.spend(1 + len(n.Value)/8)
	return src.locate(n), true
}

// base64 returns the decoded text of a field.
func (r *reader) base64(src *source, n *yaml.Node, field string) (located, bool) {
	l, ok := r.text(src, n, field)
	if !ok {
		return l, false
	}
	text, valid := decodeBase64(l.text)
	if !valid {
		r.failf(l.line, field, "not valid base64")
	}
	return located{text: text, line: l.line}, true
}

// nested parses a text that is itself YAML or JSON.
func (r *reader) nested(l located, field string) (*source, *yaml.Node) {
	r.spend(len(l.text))
	src := sourceOf(l)
	n, err := parseText(src.text)
	if pe, ok := err.(*parseError); ok {
		reason := pe.reason
		if src.opaque {
			reason = pe.Error() + " (of the decoded text)"
		}
		r.failf(src.line(pe.line), field, reason)
	}
	return src, n
}

func (r *reader) failf(line int, field, reason string) {
	panic(&Error{Document: r.document, Line: line, Object: r.object, Field: field, Reason: reason})
}

// watchedKeys are the keys whose repetition in one mapping is worth a note.
var watchedKeys = map[string]bool{
	"identityTrustAnchorsPEM": true, "ca-bundle.crt": true, "values": true, "global": true,
	"crt.pem": true, "tls.crt": true, "ca.crt": true, "linkerd-config-overrides": true,
	"root-cert.pem": true, "ca-cert.pem": true, "cert-chain.pem": true,
	"trustAnchorsPem": true, "trust_anchors_pem": true, "data": true, "stringData": true,
}

func (r *reader) duplicate(k *yaml.Node, key string) {
	if r.duplicates == nil {
		r.duplicates = map[*yaml.Node]bool{}
	}
	if r.duplicates[k] {
		return
	}
	r.duplicates[k] = true
	line := k.Line
	if r.src != nil {
		line = r.src.line(k.Line)
	}
	r.note(NoteDuplicateKey, line, key, "the key "+key+" stands more than once in one mapping; the last one counts")
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

func key(field, name string) string { return field + `["` + name + `"]` }
