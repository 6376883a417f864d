package layout

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Edit is what to put in the place of what a text holds; what is empty stays as
// it is. All are PEM.
type Edit struct {
	Anchors   string
	IssuerCrt string // the copy of the issuer certificate
	// IssuerKey stands only in the Secret linkerd-config-overrides.
	IssuerKey string
}

// ErrEdit means that a text cannot be edited without changing more than was
// asked for: what is to be replaced stands behind an alias, say. Nothing is
// returned then.
var ErrEdit = errors.New("cannot be edited in place")

// The rules of all edits:
//
// Only the bytes of the value change: order, comments, quoting and line ends of
// everything else stay as they are. The value keeps its style (a block stays a
// block, a quoted text a quoted text) and its end: a text that ended with a
// newline ends with one, a text that did not does not, for the hashes that
// Linkerd takes of it. Where the key is missing it is added. The result is
// parsed and held against the original before it is returned, so that an edit
// that went astray is an error and not an outage.

// EditConfig changes the data of a ConfigMap linkerd-config, in the key that
// counts, and returns the keys that changed. It is an error if there is none.
func EditConfig(data map[string]string, e Edit) (map[string]string, error) {
	if e.IssuerKey != "" {
		return nil, fmt.Errorf("%w: linkerd-config holds no private keys", ErrEdit)
	}
	name, edit := valuesKey, EditValues
	if blank(data[valuesKey]) {
		name, edit = globalKey, EditGlobal
	}
	if blank(data[name]) {
		return nil, &Error{Object: Object{Kind: "ConfigMap", Name: linkerdConfigName}, Reason: "neither of the keys values and global holds anything"}
	}
	text, err := edit(data[name], e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key("data", name), err)
	}
	if text == data[name] {
		return nil, nil
	}
	return map[string]string{name: text}, nil
}

// EditValues changes the text of Linkerd's values, nested or flat, in YAML or
// JSON: that of linkerd-config's key values, of the Secret
// linkerd-config-overrides, or of a values file.
func EditValues(text string, e Edit) (string, error) {
	nested := false
	if !blank(text) {
		c, err := Values(text)
		if err != nil {
			return "", err
		}
		nested = c.Layout == LayoutValuesNested
	}
	anchors := []string{anchorsValue}
	if nested && !onlyOnTop(text) {
		anchors = []string{globalKey, anchorsValue}
	}
	return editPaths(text, []pathEdit{
		{anchors, e.Anchors},
		{[]string{"identity", "issuer", "tls", "crtPEM"}, e.IssuerCrt},
		{[]string{"identity", "issuer", "tls", "keyPEM"}, e.IssuerKey},
	})
}

// onlyOnTop reports whether nested values hold their anchors at the top level
// and not below global, where that place counts.
func onlyOnTop(text string) bool {
	n, err := parseText([]byte(text))
	if err != nil {
		return false
	}
	_, global := child(n, globalKey)
	_, below := child(global, anchorsValue)
	_, top := child(n, anchorsValue)
	return below == nil && top != nil
}

// EditGlobal changes the JSON that 2.3 to 2.8 keep under the key global. It
// holds no copy of the issuer.
func EditGlobal(text string, e Edit) (string, error) {
	if e.Anchors == "" {
		return text, nil
	}
	c, err := LinkerdConfig(map[string]string{globalKey: text})
	switch {
	case err != nil:
		return "", err
	case c.IdentityDisabled:
		return "", fmt.Errorf("%w: identity is turned off", ErrEdit)
	}
	n, err := parseText([]byte(text))
	if err != nil {
		return "", err
	}
	context := either(n, "identityContext", "identity_context")
	_, below := child(n, context)
	return editPaths(text, []pathEdit{{[]string{context, either(below, "trustAnchorsPem", "trust_anchors_pem")}, e.Anchors}})
}

func either(n *yaml.Node, camel, proto string) string {
	if k, _ := child(n, camel); k == nil {
		if k, _ = child(n, proto); k != nil {
			return proto
		}
	}
	return camel
}

// pathEdit is one value to set; an empty one is none.
type pathEdit struct {
	path  []string
	value string
}

func editPaths(text string, edits []pathEdit) (string, error) {
	for _, e := range edits {
		if e.value == "" {
			continue
		}
		if err := plainText(e.value); err != nil {
			return "", err
		}
		var err error
		if text, err = editPath(text, e); err != nil {
			return "", fmt.Errorf("%s: %w", strings.Join(e.path, "."), err)
		}
	}
	return text, nil
}

// plainText lets through what needs no thought in any quoting: PEM.
func plainText(s string) error {
	for _, r := range s {
		if r != '\n' && (r < ' ' || r > '~') {
			return fmt.Errorf("%w: the new text is not plain PEM", ErrEdit)
		}
	}
	if strings.TrimSpace(s) == "" || s[0] == ' ' || s[0] == '\n' {
		return fmt.Errorf("%w: the new text is not plain PEM", ErrEdit)
	}
	return nil
}

func editPath(text string, e pathEdit) (string, error) {
	before, err := parseText([]byte(text))
	if err != nil {
		return "", err
	}
	var out string
	value := e.value
	if old := valueAt(before, e.path); old != nil {
		was := old.Value
		if isNull(old) {
			was = ""
		}
		if value = endLike(was, value); old.Kind == yaml.ScalarNode && was == value {
			return text, nil
		}
	}
	if isJSON(text) {
		out, err = editJSON(text, e.path, value)
	} else {
		out, err = editYAML(text, before, e.path, value)
	}
	if err != nil {
		return "", err
	}
	return out, onlyChanged(before, out, e.path, value)
}

// endLike gives a text the end of the one that it replaces: none or one
// newline. A blank one had no end to speak of.
func endLike(old, text string) string {
	text = strings.TrimRight(text, "\n")
	if blank(old) || strings.HasSuffix(old, "\n") {
		return text + "\n"
	}
	return text
}

// child returns the last entry of a key among a mapping's own.
func child(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if k := n.Content[i]; k.Kind == yaml.ScalarNode && k.Value == name {
			key, value = k, n.Content[i+1]
		}
	}
	return key, value
}

func valueAt(n *yaml.Node, path []string) *yaml.Node {
	for _, name := range path {
		_, n = child(n, name)
	}
	return n
}

// onlyChanged parses the result and proves that it differs from the original in
// the one value, which is what was meant.
func onlyChanged(before *yaml.Node, text string, path []string, value string) error {
	after, err := parseText([]byte(text))
	if err != nil {
		return fmt.Errorf("%w: the result would not parse", ErrEdit)
	}
	if !sameBut(before, after, path, value) {
		return fmt.Errorf("%w: more than the value would change", ErrEdit)
	}
	return nil
}

// sameBut compares two trees. At the path, if it is not nil, the second must
// hold the value.
func sameBut(a, b *yaml.Node, path []string, value string) bool {
	switch {
	case path != nil && len(path) == 0:
		return b != nil && b.Kind == yaml.ScalarNode && b.Tag == "!!str" && b.Value == value
	case path != nil && (a == nil || isNull(a) || a.Kind == yaml.MappingNode && len(a.Content) == 0):
		// What was not there holds the rest of the path and nothing else.
		if b == nil || b.Kind != yaml.MappingNode || len(b.Content) != 2 || b.Content[0].Value != path[0] {
			return false
		}
		return sameBut(nil, b.Content[1], path[1:], value)
	case a == nil || b == nil:
		return a == b
	case a.Kind != b.Kind || a.Tag != b.Tag || a.Value != b.Value || a.Anchor != b.Anchor:
		return false
	case a.Kind == yaml.AliasNode:
		return path == nil // its target is compared where it stands
	}
	x, y := a.Content, b.Content
	at := -1
	if path != nil {
		if a.Kind != yaml.MappingNode {
			return false
		}
		for i := 0; i+1 < len(x); i += 2 {
			if x[i].Kind == yaml.ScalarNode && x[i].Value == path[0] {
				at = i + 1
			}
		}
		if at < 0 { // a new key, put first
			if len(y) < 2 || y[0].Value != path[0] || !sameBut(nil, y[1], path[1:], value) {
				return false
			}
			y = y[2:]
		}
	}
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		var rest []string
		if i == at {
			rest = path[1:]
			if rest == nil {
				rest = []string{}
			}
		}
		if !sameBut(x[i], y[i], rest, value) {
			return false
		}
	}
	return true
}

// EditIssuer returns the data keys that put a new issuer into the Secret that
// holds one, in the scheme given ("" for the one its keys show): chain and key
// together, and ca.crt where ca is given and the scheme has it. It takes no
// half: both must be given.
func EditIssuer(data map[string][]byte, scheme, chain, privateKey, ca string) (map[string][]byte, error) {
	has := func(name string) bool { _, ok := data[name]; return ok }
	certKey, keyKey, ok := issuerKeys(scheme, has)
	if !ok {
		certKey, keyKey = linkerdCertKey, linkerdKeyKey
	}
	if blank(chain) || blank(privateKey) {
		return nil, fmt.Errorf("%w: an issuer is a chain and its key", ErrEdit)
	}
	if text, found := redact(chain); found || text != chain {
		return nil, fmt.Errorf("%w: the chain holds a private key", ErrEdit)
	}
	out := map[string][]byte{
		certKey: []byte(endLike(string(data[certKey]), chain)),
		keyKey:  []byte(endLike(string(data[keyKey]), privateKey)),
	}
	if ca != "" && certKey == tlsCertKey {
		out[tlsCAKey] = []byte(endLike(string(data[tlsCAKey]), ca))
	}
	return out, nil
}

func encodeBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TrustRoots returns the text for ca-bundle.crt of the ConfigMap
// linkerd-identity-trust-roots: the new anchors with the end that the old text
// had, and with no more than one newline.
func TrustRoots(old, anchors string) string { return endLike(old, anchors) }
