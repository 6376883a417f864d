package layout

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// ProxyContainer is the name of an injected proxy's container, in containers
	// or, as a native sidecar, in initContainers.
	ProxyContainer = "linkerd-proxy"

	// ProxyAnchorsEnv is the variable that a proxy takes its anchors from, once,
	// at its start (charts/partials/templates/_proxy.tpl, all releases).
	ProxyAnchorsEnv = "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"

	// identityAnchorsEnv is base64, read by linkerd-identity 2.10
	// (stable-2.10.2, charts/linkerd2/templates/identity.yaml).
	identityAnchorsEnv = "LINKERD2_IDENTITY_TRUST_ANCHORS"

	// identityAnchorsFlag is base64, read by linkerd-identity 2.9
	// (stable-2.9.5, controller/cmd/identity/main.go).
	identityAnchorsFlag = "identity-trust-anchors-pem"
)

// EnvVar is one entry of a container's env.
type EnvVar struct {
	Name  string
	Value string
	Ref   *KeyRef // nil for a literal value
}

// KeyRef is where an EnvVar takes its value from.
type KeyRef struct {
	Kind     string // ConfigMap, Secret, or the name of another valueFrom source
	Name     string
	Key      string
	Optional bool
}

// String returns `ConfigMap linkerd-identity-trust-roots key ca-bundle.crt`.
func (k KeyRef) String() string {
	s := k.Kind
	if k.Name != "" {
		s += " " + k.Name
	}
	if k.Key != "" {
		s += " key " + k.Key
	}
	return s
}

// ProxyEnv returns the entry that gives a linkerd-proxy container its anchors,
// and how many entries there are. Of several the last wins: kubelet builds the
// environment in order.
func ProxyEnv(env []EnvVar) (anchors EnvVar, entries int) {
	return lastEnv(env, ProxyAnchorsEnv)
}

func lastEnv(env []EnvVar, name string) (last EnvVar, entries int) {
	for _, e := range env {
		if e.Name == name {
			last = e
			entries++
		}
	}
	return last, entries
}

// maxWalk bounds how deep in an object a pod spec may be.
const maxWalk = 32

// workload looks for pod specs in an object of any kind: what has a list of
// containers below spec or template is one. This covers Pod, PodTemplate, every
// workload of Kubernetes and those of strangers, an Argo Rollout for instance.
func (r *reader) workload(n *yaml.Node) {
	for _, name := range []string{"spec", "template"} {
		r.podSpecs(r.get(n, name), &path{name: name}, 0)
	}
}

// path is the way from an object's top to a node, last step first.
type path struct {
	up    *path
	name  string
	index int // of an element, where name is empty
}

func (p *path) String() string {
	switch {
	case p == nil:
		return ""
	case p.name == "":
		return fmt.Sprintf("%s[%d]", p.up, p.index)
	case p.up == nil:
		return p.name
	}
	return p.up.String() + "." + p.name
}

func (r *reader) podSpecs(n *yaml.Node, at *path, depth int) {
	n = r.deref(n)
	if n == nil || depth > maxWalk {
		return
	}
	r.spend(1)
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				r.podSpecs(item, &path{up: at, index: i}, depth+1)
			}
		}
	case yaml.MappingNode:
		if c := r.get(n, "containers"); c != nil && c.Kind == yaml.SequenceNode {
			r.podSpec(n, at)
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if v := n.Content[i+1]; v.Kind != yaml.ScalarNode {
				r.podSpecs(v, &path{up: at, name: n.Content[i].Value}, depth+1)
			}
		}
	}
}

func (r *reader) podSpec(n *yaml.Node, at *path) {
	for _, list := range []string{"containers", "initContainers"} {
		for i, c := range r.items(r.get(n, list)) {
			c = r.deref(c)
			name := r.str(r.get(c, "name"))
			field := fmt.Sprintf("%s.%s[%d]", at, list, i)
			if name != "" {
				field = key(at.String()+"."+list, name)
			}
			r.container(c, name, field)
		}
	}
}

func (r *reader) container(c *yaml.Node, name, field string) {
	nodes := r.items(r.get(c, "env"))
	env := make([]EnvVar, 0, 8)
	at := map[string]*yaml.Node{} // the last entry of each name that matters
	for _, n := range nodes {
		e := EnvVar{Name: r.str(r.get(n, "name"))}
		if e.Name == ProxyAnchorsEnv && name == ProxyContainer || e.Name == identityAnchorsEnv {
			e.Value = r.str(r.get(n, "value"))
			e.Ref = r.keyRef(r.get(n, "valueFrom"))
			env = append(env, e)
			at[e.Name] = n
		}
	}
	if name == ProxyContainer {
		if e, entries := ProxyEnv(env); entries > 0 {
			r.proxyAnchors(e, entries, at[ProxyAnchorsEnv], key(field+".env", ProxyAnchorsEnv))
		} else if c != nil {
			r.note(NoteProxyWithout, r.src.line(c.Line), key(field+".env", ProxyAnchorsEnv), "the proxy is given no trust anchors here")
		}
	}
	if e, entries := lastEnv(env, identityAnchorsEnv); entries > 0 && e.Ref == nil {
		field := key(field+".env", identityAnchorsEnv)
		r.duplicateEnv(entries, at[identityAnchorsEnv], field)
		if l, ok := r.base64(r.src, r.get(at[identityAnchorsEnv], "value"), field); ok {
			r.add(IdentityAnchors, StoreIdentityEnv, l, field)
		}
	}
	for _, list := range []string{"command", "args"} {
		r.identityFlag(r.items(r.get(c, list)), field+"."+list)
	}
}

func (r *reader) keyRef(from *yaml.Node) *KeyRef {
	from = r.deref(from)
	if from == nil || from.Kind != yaml.MappingNode || len(from.Content) == 0 {
		return nil
	}
	for _, kind := range []struct{ key, kind string }{{"configMapKeyRef", "ConfigMap"}, {"secretKeyRef", "Secret"}} {
		if n := r.get(from, kind.key); n != nil {
			return &KeyRef{
				Kind: kind.kind, Name: r.str(r.get(n, "name")), Key: r.str(r.get(n, "key")),
				Optional: isTrue(r.str(r.get(n, "optional"))),
			}
		}
	}
	return &KeyRef{Kind: from.Content[0].Value}
}

func (r *reader) duplicateEnv(entries int, n *yaml.Node, field string) {
	if entries > 1 {
		r.note(NoteDuplicateEnv, r.src.line(n.Line), field,
			fmt.Sprintf("the variable is set %d times; the last one, on this line, counts", entries))
	}
}

func (r *reader) proxyAnchors(e EnvVar, entries int, n *yaml.Node, field string) {
	r.duplicateEnv(entries, n, field)
	if e.Ref != nil {
		r.refer(*e.Ref, field, r.src.line(n.Line))
		return
	}
	l, ok := r.text(r.src, r.get(n, "value"), field)
	if !ok {
		l = located{line: r.src.line(n.Line)} // a variable without a value is empty
	}
	if strings.Contains(l.text, "$(") {
		r.note(NoteEnvExpansion, l.line, field, "the value holds $( ), which Kubernetes may replace")
	}
	r.add(Anchors, StoreProxyEnv, l, field)
}

// identityFlag reads the flag of linkerd-identity 2.9, in each of the forms
// that Go's flag package takes.
func (r *reader) identityFlag(args []*yaml.Node, field string) {
	for i, n := range args {
		n = r.deref(n)
		arg := r.str(n)
		flag := strings.TrimLeft(arg, "-")
		if flag == arg || !strings.HasPrefix(flag, identityAnchorsFlag) {
			continue
		}
		switch value := flag[len(identityAnchorsFlag):]; {
		case value == "" && i+1 < len(args):
			n = r.deref(args[i+1])
			r.identityText(n, r.str(n), fmt.Sprintf("%s[%d]", field, i+1))
		case strings.HasPrefix(value, "="):
			r.identityText(n, value[1:], key(field, arg[:len(arg)-len(value)]))
		}
	}
}

func (r *reader) identityText(n *yaml.Node, encoded, field string) {
	line := r.src.line(n.Line)
	r.spend(1 + len(encoded)/8)
	text, ok := decodeBase64(encoded)
	if !ok {
		r.failf(line, field, "not valid base64")
	}
	r.add(IdentityAnchors, StoreIdentityFlag, located{text: text, line: line}, field)
}

// reference is an env value to be taken from an object that may come later.
type reference struct {
	text     int // index into Manifest.Texts of the text to fill in
	ref      KeyRef
	line     int
	document int
}

// refer keeps a place in the order of texts for a value taken by reference.
func (r *reader) refer(ref KeyRef, field string, line int) {
	r.take()
	r.references = append(r.references, reference{len(r.m.Texts), ref, line, r.document})
	r.m.Texts = append(r.m.Texts, Text{Role: Anchors, Store: StoreProxyEnv, Object: r.object, Field: field, Line: line})
}
