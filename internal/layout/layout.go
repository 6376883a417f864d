package layout

import (
	"fmt"
	"strings"
)

// Role says what a text is to the mesh.
type Role int

const (
	// Anchors is a text that stores trust anchors for proxies: the source of
	// truth of some release, a copy of it that an upgrade would apply, or what
	// a proxy was started with.
	Anchors Role = iota + 1

	// Chain is the certificate chain of an issuer, or of a TLS Secret that may
	// be one, as stored: leaf first.
	Chain

	// FallbackAnchors is the ca.crt of a TLS Secret. cert-manager writes it: it
	// is the current issuing root at best, and is not updated when the issuer
	// returns none. It counts only where nothing else stores anchors.
	FallbackAnchors

	// IdentityAnchors is a copy of the anchors that linkerd-identity alone
	// reads: an argument of its container in 2.9, an env variable in 2.10. It
	// decides which issuers are accepted, and no proxy ever sees it, so it is
	// not among the anchors of a source unless the source has no others.
	IdentityAnchors

	// IssuerCopy is the copy of the issuer certificate that linkerd-config, an
	// overrides Secret or a values file holds. It was made when the manifest
	// was rendered, goes stale when the issuer Secret is renewed, and is never
	// a chain source: informational.
	IssuerCopy
)

var roleNames = map[Role]string{
	Anchors:         "anchors",
	Chain:           "chain",
	FallbackAnchors: "fallback-anchors",
	IdentityAnchors: "identity-anchors",
	IssuerCopy:      "issuer-copy",
}

// String returns a short lower-case name, such as "fallback-anchors".
func (r Role) String() string {
	if s, ok := roleNames[r]; ok {
		return s
	}
	return fmt.Sprintf("role(%d)", int(r))
}

// Store is the kind of place a text was found in.
type Store string

// The places this package knows.
const (
	StoreLinkerdConfig Store = "linkerd-config"     // ConfigMap linkerd-config
	StoreTrustRoots    Store = "trust-roots"        // ConfigMap linkerd-identity-trust-roots
	StoreOverrides     Store = "overrides"          // Secret linkerd-config-overrides
	StoreValues        Store = "values"             // a Helm or upgrade values document, no Kubernetes object
	StoreIssuer        Store = "issuer"             // Secret linkerd-identity-issuer
	StoreTLSSecret     Store = "tls-secret"         // any other Secret with a certificate and key, cert-manager's for one
	StoreProxyEnv      Store = "proxy-env"          // env of a linkerd-proxy container
	StoreIdentityFlag  Store = "identity-flag"      // argument of linkerd-identity, 2.9
	StoreIdentityEnv   Store = "identity-env"       // env of linkerd-identity, 2.10
	StoreIstioCACerts  Store = "istio-cacerts"      // Secret cacerts
	StoreIstioCASecret Store = "istio-ca-secret"    // Secret istio-ca-secret
	StoreIstioRootCert Store = "istio-ca-root-cert" // ConfigMap istio-ca-root-cert
)

// Object names the Kubernetes object that something was found in. A values
// document, which is no object, has the kind "Values" and nothing else.
type Object struct {
	APIVersion string
	Kind       string
	Namespace  string // empty where the manifest leaves it out
	Name       string
}

// String returns "ConfigMap linkerd/linkerd-config", without the namespace
// where the manifest has none.
func (o Object) String() string {
	name := o.Name
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	switch {
	case o.Kind == "" && name == "":
		return ""
	case name == "":
		return o.Kind
	case o.Kind == "":
		return name
	}
	return o.Kind + " " + name
}

// Text is one PEM text and where it stood.
type Text struct {
	Role  Role
	Store Store

	// PEM is the text that the consumer gets after YAML, JSON and base64
	// decoding, untrimmed and never blank. It need not be PEM at all: a chart
	// rendered with a placeholder says "test-trust-anchor" here. Identical texts
	// of one manifest share their memory.
	//
	// Where the text holds a private key, each letter and digit of the key's
	// body is replaced by "A": the length, the lines and the armour stay as
	// they were, so every reader's verdict stays the same, and the key is gone.
	PEM string

	// Redacted is true where a private key was blanked out of PEM.
	Redacted bool

	Object Object

	// Field is a path for people, such as
	// data["values"].identityTrustAnchorsPEM.
	Field string

	// Line is the line of the manifest, counted from 1. Where Exact is true,
	// line n of PEM is line Line+n-1 of the manifest; elsewhere (base64, JSON,
	// quoted or folded YAML) Line is where the value that holds the text begins.
	Line  int
	Exact bool

	// Via names where a value taken by reference stands: Object and Field are
	// those of the container that refers to it, Line that of the text. Nil for
	// a literal.
	Via *Origin
}

// From returns "ConfigMap linkerd/linkerd-config data["values"].x", followed by
// the origin of a value taken by reference.
func (t Text) From() string {
	s := strings.TrimSpace(t.Object.String() + " " + t.Field)
	if t.Via != nil {
		s += " (from " + t.Via.String() + ")"
	}
	return s
}

// Origin is the object and field that a reference was resolved to.
type Origin struct {
	Object Object
	Field  string
}

// String returns the object, then the field.
func (o Origin) String() string { return o.Object.String() + " " + o.Field }

// Code is the stable, machine-readable kind of a [Note].
type Code string

// What a note can be about.
const (
	NoteDuplicateEnv  Code = "duplicate-env"         // one container sets the variable more than once; the last wins
	NoteEnvExpansion  Code = "env-expansion"         // the value holds $(NAME), which kubelet may expand
	NoteUnresolved    Code = "unresolved-reference"  // the value comes from an object that the manifest lacks
	NoteProxyWithout  Code = "proxy-without-anchors" // a linkerd-proxy container without the variable
	NoteIdentityOff   Code = "identity-disabled"     // linkerd-config turns identity off
	NoteExternalCA    Code = "external-ca"           // the trust roots are managed from outside of the chart
	NoteEmpty         Code = "empty"                 // a place that stores anchors or a chain holds nothing
	NoteNotPEM        Code = "not-pem"               // the text has no PEM block: a placeholder
	NoteBothNesting   Code = "nested-and-flat"       // anchors under global and at top level; the nested ones win
	NoteLegacyIgnored Code = "legacy-key-ignored"    // linkerd-config has values and global; values wins
	NoteBothSchemes   Code = "both-schemes"          // an issuer Secret with crt.pem and tls.crt
	NoteNoCertificate Code = "no-certificate"        // an object known to hold certificates lacks the key
	NoteDuplicateKey  Code = "duplicate-key"         // a mapping repeats a key that was read; the last wins
	NoteWebhook       Code = "webhook-credential"    // passed over: a webhook's serving certificate or its CA
	NotePrivateKey    Code = "private-key-present"   // a certificate field holds a private key, blanked out
	NoteWrongKind     Code = "wrong-kind"            // a Secret named like a ConfigMap that counts, or the reverse
)

// Note is an observation that is not an error.
type Note struct {
	Code    Code
	Object  Object
	Field   string
	Line    int // line of the manifest, from 1
	Message string
}

// String returns object, field and message, for people.
func (n Note) String() string {
	return strings.TrimSpace(n.Object.String()+" "+n.Field) + ": " + n.Message
}

// Manifest is what [Read] found, in the order of the input.
type Manifest struct {
	Texts   []Text
	Notes   []Note
	Configs []ConfigObject // each linkerd-config that was read

	Documents int // documents of the stream that were not empty
	Objects   int // objects seen, items of Lists counted one by one
}

// ConfigObject is a linkerd-config and the object that held it.
type ConfigObject struct {
	Object Object
	Config Config
}

// Error is a manifest that cannot be read. It never quotes the text it is about.
type Error struct {
	Document int // number of the document in the stream, from 1
	Line     int // line of the input, from 1
	Object   Object
	Field    string
	Reason   string
}

// Error says where, then why: `document 2, line 14: Secret linkerd/x
// data["crt.pem"]: not valid base64`.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Document > 0 {
		fmt.Fprintf(&b, "document %d, ", e.Document)
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	if where := strings.TrimSpace(e.Object.String() + " " + e.Field); where != "" {
		b.WriteString(where + ": ")
	}
	b.WriteString(e.Reason)
	return b.String()
}
