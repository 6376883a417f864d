package layout

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// Keys of the two issuer schemes (pkg/k8s/labels.go, pkg/issuercerts; all
// releases). The keys of private keys are here to be counted, never read.
const (
	linkerdCertKey = "crt.pem"
	linkerdKeyKey  = "key.pem"
	tlsCertKey     = "tls.crt"
	tlsKeyKey      = "tls.key"
	tlsCAKey       = "ca.crt"
)

// Issuer is what an issuer Secret holds, but for its key.
type Issuer struct {
	Scheme  string // SchemeLinkerd or SchemeKubernetes
	CertKey string // the data key that the chain was taken from: crt.pem or tls.crt

	ChainPEM string // untrimmed
	CAPEM    string // ca.crt, "" where there is none

	HasKey      bool // the private key of this scheme is there
	BothSchemes bool // the other scheme's certificate is there as well
}

// IssuerSecret reads the data of an issuer Secret. scheme is the one that
// linkerd-identity is told (any value but SchemeLinkerd means tls.crt, as
// there); with "" the keys decide, and crt.pem comes first. It is an error if
// the certificate's key is not there.
func IssuerSecret(data map[string][]byte, scheme string) (Issuer, error) {
	has := func(name string) bool { _, ok := data[name]; return ok }
	certKey, keyKey, ok := issuerKeys(scheme, has)
	if !ok {
		return Issuer{}, &Error{
			Object: Object{Kind: "Secret"},
			Reason: "neither " + linkerdCertKey + " nor " + tlsCertKey + " is there",
		}
	}
	if !has(certKey) {
		return Issuer{}, &Error{
			Object: Object{Kind: "Secret"}, Field: key("data", certKey),
			Reason: "the scheme " + scheme + " needs this key",
		}
	}
	i := Issuer{Scheme: SchemeKubernetes, CertKey: certKey, HasKey: has(keyKey),
		BothSchemes: has(linkerdCertKey) && has(tlsCertKey)}
	if certKey == linkerdCertKey {
		i.Scheme = SchemeLinkerd
	}
	i.ChainPEM, _ = redact(string(data[certKey]))
	i.CAPEM, _ = redact(string(data[tlsCAKey]))
	return i, nil
}

// issuerKeys chooses between the two schemes.
func issuerKeys(scheme string, has func(string) bool) (cert, private string, ok bool) {
	switch {
	case scheme == SchemeLinkerd:
		return linkerdCertKey, linkerdKeyKey, true
	case scheme != "":
		return tlsCertKey, tlsKeyKey, true
	case has(linkerdCertKey):
		return linkerdCertKey, linkerdKeyKey, true
	case has(tlsCertKey):
		return tlsCertKey, tlsKeyKey, true
	}
	return "", "", false
}

// secretData reads fields of a Secret: stringData goes over data, as the API
// server merges them, and is not encoded.
type secretData struct {
	r                *reader
	data, stringData *yaml.Node
}

func (r *reader) secretData(n *yaml.Node) secretData {
	return secretData{r, r.get(n, "data"), r.get(n, "stringData")}
}

func (s secretData) has(name string) bool {
	return s.r.get(s.stringData, name) != nil || s.r.get(s.data, name) != nil
}

// get returns the text of a key and the field that holds it.
func (s secretData) get(name string) (l located, field string, ok bool) {
	field = key("stringData", name)
	if l, ok = s.r.text(s.r.src, s.r.get(s.stringData, name), field); ok {
		return l, field, true
	}
	field = key("data", name)
	l, ok = s.r.base64(s.r.src, s.r.get(s.data, name), field)
	return l, field, ok
}

func (r *reader) secret(n *yaml.Node) {
	s := r.secretData(n)
	switch name := r.object.Name; {
	case name == overridesName:
		r.overrides(s)
	case name == istioCACertsName && r.istioCACerts(s):
	case name == istioCASecretName && r.istioCASecret(s):
	case name == trustRootsName:
		r.note(NoteWrongKind, r.objectLine, "", "Linkerd reads a ConfigMap of this name; a Secret does not count")
	case isWebhookSecret(name):
		if s.has(linkerdCertKey) || s.has(tlsCertKey) {
			r.note(NoteWebhook, r.objectLine, "", "the credential of a webhook, not an issuer: passed over")
		}
	default:
		r.issuer(n, s)
	}
}

// issuer reads the issuer Secret, or any Secret that holds a certificate the
// way one does.
func (r *reader) issuer(n *yaml.Node, s secretData) {
	store, scheme := StoreTLSSecret, ""
	if r.object.Name == issuerName {
		store = StoreIssuer
	}
	if r.str(r.get(n, "type")) == "kubernetes.io/tls" {
		scheme = SchemeKubernetes
	}
	certKey, _, ok := issuerKeys(scheme, s.has)
	if !ok && store == StoreIssuer || ok && !s.has(certKey) {
		r.note(NoteNoCertificate, r.objectLine, "data", "neither "+linkerdCertKey+" nor "+tlsCertKey+" is there")
	}
	if certKey == linkerdCertKey && store == StoreTLSSecret && !s.has(linkerdKeyKey) {
		return // crt.pem alone says nothing about what it is
	}
	if s.has(linkerdCertKey) && s.has(tlsCertKey) {
		r.note(NoteBothSchemes, r.src.line(n.Line), "data", "both "+linkerdCertKey+" and "+tlsCertKey+" are there; "+
			certKey+" was read, the scheme given to linkerd-identity decides")
	}
	if certKey != "" {
		if l, field, ok := s.get(certKey); ok {
			r.add(Chain, store, l, field)
		}
	}
	if store == StoreIssuer || s.has(tlsCertKey) {
		if l, field, ok := s.get(tlsCAKey); ok && !blank(l.text) {
			r.add(FallbackAnchors, store, l, field)
		}
	}
}

// isWebhookSecret reports whether a Secret is a webhook's serving certificate,
// or the CA that issues those. Linkerd and its extensions name them
// NAME-k8s-tls since 2.9 (linkerd-proxy-injector-k8s-tls, tap-k8s-tls, ...) and
// linkerd-NAME-tls before; webhook-issuer-tls is the CA in Linkerd's guide to
// rotating webhook certificates; the others belong to cert-manager.
func isWebhookSecret(name string) bool {
	switch name {
	case "linkerd-proxy-injector-tls", "linkerd-sp-validator-tls", "linkerd-profile-validator-tls",
		"linkerd-policy-validator-tls", "linkerd-tap-tls", "linkerd-tap-injector-tls", "linkerd-jaeger-injector-tls",
		"webhook-issuer-tls", "cert-manager-webhook-ca", "trust-manager-tls":
		return true
	}
	return strings.HasSuffix(name, "-k8s-tls")
}

// overrides reads what the command line stored for its next upgrade: YAML of
// the values that differ from the chart's defaults, nested or flat, the keys of
// the issuer and the webhooks among them (cli/cmd/install.go renderOverrides).
func (r *reader) overrides(s secretData) {
	l, field, ok := s.get(overridesName)
	if !ok {
		r.note(NoteNoCertificate, r.objectLine, key("data", overridesName), "the Secret has no such key")
		return
	}
	if blank(l.text) {
		return // no overrides at all
	}
	outer := r.src
	src, values := r.nested(l, field)
	r.src = src
	defer func() { r.src = outer }()
	if values == nil || isNull(values) || values.Kind == yaml.MappingNode && len(values.Content) == 0 {
		return
	}
	r.recordConfig(r.valuesConfig(values, field+"."), StoreOverrides)
}
