package layout

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Names that Linkerd's charts fix (charts/linkerd2 up to 2.11,
// charts/linkerd-control-plane from 2.12; templates/config*.yaml, identity.yaml).
const (
	linkerdConfigName = "linkerd-config"
	trustRootsName    = "linkerd-identity-trust-roots"
	trustRootsKey     = "ca-bundle.crt"
	overridesName     = "linkerd-config-overrides"
	issuerName        = "linkerd-identity-issuer"

	valuesKey = "values"
	globalKey = "global"

	// SchemeLinkerd is the issuer scheme of crt.pem and key.pem, and the one
	// meant where none is given (controller/cmd/identity/main.go, all releases).
	SchemeLinkerd = "linkerd.io/tls"
	// SchemeKubernetes is the issuer scheme of tls.crt, tls.key and ca.crt.
	SchemeKubernetes = "kubernetes.io/tls"
)

// Layout is the shape of a linkerd-config.
type Layout int

const (
	// LayoutGlobal is JSON under the key global: 2.3 to 2.8.
	LayoutGlobal Layout = iota + 1
	// LayoutValuesNested is YAML under the key values, with most of Linkerd's
	// settings below global: 2.9.
	LayoutValuesNested
	// LayoutValuesFlat is YAML under the key values: 2.10 and later.
	LayoutValuesFlat
)

// String returns "global", "values-nested" or "values-flat".
func (l Layout) String() string {
	switch l {
	case LayoutGlobal:
		return "global"
	case LayoutValuesNested:
		return "values-nested"
	case LayoutValuesFlat:
		return "values-flat"
	}
	return fmt.Sprintf("layout(%d)", int(l))
}

// Config is what linkerd-config says about identity, whatever its layout.
type Config struct {
	Layout Layout

	// TrustAnchorsPEM is untrimmed, and empty where the anchors are managed from
	// outside (ExternalCA) or identity is off.
	TrustAnchorsPEM string

	TrustDomain        string // falls back on ClusterDomain, as Linkerd does
	ClusterDomain      string
	IssuanceLifetime   string // as written: 86400s (JSON), 24h0m0s (YAML)
	ClockSkewAllowance string // as written
	Scheme             string // SchemeLinkerd where none is given
	ExternalCA         bool   // identity.externalCA, 2.11 and later
	LinkerdVersion     string

	// IssuerCrtPEM is the copy of the issuer certificate made at rendering; it
	// is empty with SchemeKubernetes, and in the JSON layout.
	IssuerCrtPEM string

	// IdentityDisabled is true where identityContext is null or absent (up to
	// 2.8), or proxy.disableIdentity is set (2.9, 2.10).
	IdentityDisabled bool
}

// configText is a Config with the places of its texts.
type configText struct {
	Config
	anchors, issuer           located
	anchorsField, issuerField string
	hasAnchors                bool
}

// LinkerdConfig reads the data of a ConfigMap linkerd-config. With both a
// values and a global key, values counts. It is an error if neither is there,
// or the one that counts does not parse.
func LinkerdConfig(data map[string]string) (Config, error) {
	size := 0
	for k, v := range data {
		size += len(k) + len(v)
	}
	r := newReader(size)
	r.object = Object{Kind: "ConfigMap", Name: linkerdConfigName}
	var cfg configText
	var ok bool
	if err := r.guard(func() {
		cfg, ok = r.parseConfig(func(name string) (located, bool) {
			v, ok := data[name]
			return located{text: v, line: 1, exact: true}, ok
		})
	}); err != nil {
		return Config{}, err
	}
	if !ok {
		return Config{}, &Error{Object: r.object, Reason: "neither of the keys values and global holds anything"}
	}
	return cfg.Config, nil
}

// Values reads the text of Linkerd's values, nested or flat: that of the Secret
// linkerd-config-overrides, of a values file, or of linkerd-config's key values.
// An empty text says nothing, and is no error.
func Values(text string) (Config, error) {
	r := newReader(len(text))
	var cfg configText
	err := r.guard(func() {
		src, n := r.nested(located{text: text, line: 1, exact: true}, "values")
		if n == nil || isNull(n) {
			return
		}
		r.src = src
		cfg = r.valuesConfig(n, "")
	})
	if err != nil {
		return Config{}, err
	}
	return cfg.Config, nil
}

// linkerdConfig reads a ConfigMap linkerd-config of a manifest.
func (r *reader) linkerdConfig(data *yaml.Node) {
	outer := r.src
	cfg, ok := r.parseConfig(func(name string) (located, bool) {
		return r.text(outer, r.get(data, name), key("data", name))
	})
	r.src = outer
	if !ok {
		r.note(NoteNoCertificate, r.objectLine, "data", "neither of the keys values and global holds anything")
		return
	}
	r.recordConfig(cfg, StoreLinkerdConfig)
	r.take()
	r.m.Configs = append(r.m.Configs, ConfigObject{r.object, cfg.Config})
}

// parseConfig reads the key that counts. get returns the text of a data key.
// ok is false where there is none.
func (r *reader) parseConfig(get func(name string) (located, bool)) (cfg configText, ok bool) {
	values, hasValues := get(valuesKey)
	global, hasGlobal := get(globalKey)
	hasValues = hasValues && !blank(values.text)
	hasGlobal = hasGlobal && !blank(global.text)
	switch {
	case hasValues:
		if hasGlobal {
			// 2.9 upgrades leave such an object for a while; its readers take
			// values (stable-2.9.5, pkg/healthcheck FetchCurrentConfiguration).
			r.note(NoteLegacyIgnored, global.line, key("data", globalKey), "the key values is there as well, and counts")
		}
		field := key("data", valuesKey)
		src, n := r.nested(values, field)
		r.src = src
		return r.valuesConfig(n, field+"."), true
	case hasGlobal:
		field := key("data", globalKey)
		src, n := r.nestedJSON(global, field)
		r.src = src
		return r.globalConfig(n, field+"."), true
	}
	return cfg, false
}

// recordConfig turns a parsed configuration into texts and notes.
func (r *reader) recordConfig(cfg configText, store Store) {
	if cfg.ExternalCA {
		r.note(NoteExternalCA, r.objectLine, "", "identity.externalCA: the ConfigMap "+trustRootsName+" is managed from outside, and anchors here may be stale")
	}
	if cfg.IdentityDisabled {
		r.note(NoteIdentityOff, r.objectLine, "", "identity is turned off")
	}
	// No anchors is as it should be where they are managed elsewhere.
	if cfg.hasAnchors && !(blank(cfg.anchors.text) && (cfg.ExternalCA || cfg.IdentityDisabled)) {
		r.add(Anchors, store, cfg.anchors, cfg.anchorsField)
	}
	if !blank(cfg.issuer.text) {
		r.add(IssuerCopy, store, cfg.issuer, cfg.issuerField)
	}
}

func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "true", "yes", "on":
		return true
	}
	return false
}
