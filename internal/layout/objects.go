package layout

import (
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// reader holds the state of one Read.
type reader struct {
	m        Manifest
	work     int // steps left, see spend
	room     int // texts and notes left
	document int
	topLine  int // line of the value of the stream being read

	object     Object  // the object being read
	objectLine int     // and its line
	src        *source // the text that its nodes come from
	interned   map[string]string
	duplicates map[*yaml.Node]bool

	configMaps map[objectKey]*configMap
	references []reference
}

type objectKey struct{ namespace, name string }

func newReader(size int) *reader {
	return &reader{
		work:       workPerByte*size + workAtLeast,
		room:       size/16 + 1_000,
		interned:   map[string]string{},
		configMaps: map[objectKey]*configMap{},
	}
}

// top reads one value of a stream: an object, or a list of them.
func (r *reader) top(src *source, n *yaml.Node) error {
	r.src, r.topLine = src, src.line(n.Line)
	return r.guard(func() { r.value(n, "", 0) })
}

// guard runs f, and returns the *Error it panics with (see spend and failf).
func (r *reader) guard(f func()) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case *Error:
			err = v
		default:
			panic(v)
		}
	}()
	f()
	return nil
}

// maxLists bounds how deep Lists hold Lists.
const maxLists = 8

func (r *reader) value(n *yaml.Node, kind string, depth int) {
	n = r.deref(n)
	r.spend(1)
	r.object = Object{}
	switch {
	case depth > maxLists:
		r.failf(r.src.line(n.Line), "", "lists nested too deep")
	case isNull(n):
	case n.Kind == yaml.SequenceNode:
		for _, item := range r.items(n) {
			r.value(item, kind, depth+1)
		}
	case n.Kind == yaml.MappingNode:
		r.mapping(n, kind, depth)
	default:
		r.failf(r.src.line(n.Line), "", "neither an object nor a list")
	}
}

// mapping reads an object, a List, or a values document. Items of a typed list
// (PodList) may leave their kind out; kind is the one to assume.
func (r *reader) mapping(n *yaml.Node, kind string, depth int) {
	o := Object{APIVersion: r.str(r.get(n, "apiVersion")), Kind: r.str(r.get(n, "kind"))}
	if o.Kind == "" {
		o.Kind = kind
	}
	if o.Kind == "" {
		r.valuesDocument(n)
		return
	}
	if items := r.get(n, "items"); items != nil && items.Kind == yaml.SequenceNode && strings.HasSuffix(o.Kind, "List") {
		for _, item := range r.items(items) {
			r.value(item, strings.TrimSuffix(o.Kind, "List"), depth+1)
		}
		return
	}
	meta := r.get(n, "metadata")
	o.Name, o.Namespace = r.str(r.get(meta, "name")), r.str(r.get(meta, "namespace"))
	r.object, r.objectLine = o, r.src.line(n.Line)
	r.m.Objects++
	switch {
	case o.Kind == "ConfigMap" && isCore(o.APIVersion):
		r.configMap(n)
	case o.Kind == "Secret" && isCore(o.APIVersion):
		r.secret(n)
	default:
		r.workload(n)
	}
}

// isCore reports whether an API version can be that of the core group; items of
// typed lists leave it out.
func isCore(apiVersion string) bool { return apiVersion == "" || apiVersion == "v1" }

// configMap keeps the data of a ConfigMap for references to it.
type configMap struct {
	object Object
	src    *source
	data   *yaml.Node
	values map[string]located
}

func (r *reader) configMap(n *yaml.Node) {
	cm := &configMap{object: r.object, src: r.src, data: r.get(n, "data")}
	r.remember(cm)
	switch r.object.Name {
	case linkerdConfigName:
		r.linkerdConfig(cm.data)
	case trustRootsName:
		r.plainAnchors(n, trustRootsKey, StoreTrustRoots)
	case istioRootCertName:
		r.plainAnchors(n, istioRootCertKey, StoreIstioRootCert)
	case issuerName, overridesName:
		r.note(NoteWrongKind, r.objectLine, "", "Linkerd reads a Secret of this name; a ConfigMap does not count")
	}
}

// remember keeps a ConfigMap under every name that a reference may use for it:
// either side may leave its namespace out.
func (r *reader) remember(cm *configMap) {
	r.configMaps[objectKey{cm.object.Namespace, cm.object.Name}] = cm
	r.configMaps[objectKey{"*", cm.object.Name}] = cm
}

// plainAnchors reads a ConfigMap that holds anchors under one key.
func (r *reader) plainAnchors(n *yaml.Node, name string, store Store) {
	field := key("data", name)
	l, ok := r.text(r.src, r.at(n, "data", name), field)
	if !ok {
		field = key("binaryData", name)
		l, ok = r.base64(r.src, r.at(n, "binaryData", name), field)
	}
	if !ok {
		r.note(NoteNoCertificate, r.objectLine, key("data", name), "the ConfigMap has no such key")
		return
	}
	r.add(Anchors, store, l, field)
}

// add records a text; a blank one becomes a note.
func (r *reader) add(role Role, store Store, l located, field string) {
	if r.checked(role, l, field) {
		r.keep(Text{Role: role, Store: store, Object: r.object, Field: field}, l)
	}
}

// checked notes a blank text, and reports false for it.
func (r *reader) checked(role Role, l located, field string) bool {
	switch {
	case !blank(l.text):
		return true
	case role == Anchors:
		r.note(NoteEmpty, l.line, field, "no trust anchors: the text is empty")
	case role != IssuerCopy:
		r.note(NoteEmpty, l.line, field, "no certificate: the text is empty")
	}
	return false
}

// keep records a text that is not blank.
func (r *reader) keep(t Text, l located) {
	r.take()
	r.spend(1 + len(l.text)/8)
	pem, redacted := redact(l.text)
	if shared, ok := r.interned[pem]; ok {
		pem = shared
	} else {
		r.interned[pem] = pem
	}
	t.PEM, t.Redacted, t.Line, t.Exact = pem, redacted, l.line, l.exact
	r.m.Texts = append(r.m.Texts, t)
	if redacted {
		r.noteOn(t.Object, NotePrivateKey, l.line, t.Field, "a private key stands in a certificate field; it was not read")
	}
	if !strings.Contains(pem, "-----BEGIN ") {
		r.noteOn(t.Object, NoteNotPEM, l.line, t.Field, "the text is not PEM: a placeholder?")
	}
}

func (r *reader) note(code Code, line int, field, message string) {
	r.noteOn(r.object, code, line, field, message)
}

func (r *reader) noteOn(o Object, code Code, line int, field, message string) {
	r.take()
	r.m.Notes = append(r.m.Notes, Note{Code: code, Object: o, Field: field, Line: line, Message: message})
}

// take pays for one text or note: aliases could otherwise ask for any number.
func (r *reader) take() {
	if r.room--; r.room < 0 {
		panic(&Error{Document: r.document, Line: r.topLine, Reason: "too many aliases: the result would be too large"})
	}
}

// finish resolves what may stand later in the stream than its reference, and
// puts notes in the order of the input.
func (r *reader) finish() {
	r.resolve()
	sort.SliceStable(r.m.Notes, func(i, j int) bool { return r.m.Notes[i].Line < r.m.Notes[j].Line })
}
