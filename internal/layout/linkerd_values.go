package layout

import "go.yaml.in/yaml/v3"

const (
	anchorsValue = "identityTrustAnchorsPEM"

	// valuesKind is the Kind of the Object that stands for a values document.
	valuesKind = "Values"
)

// nestedMarks are the settings that 2.9 kept below global. A chart's values may
// hold a global of somebody else's (a parent chart's); one of these makes it
// Linkerd's.
var nestedMarks = []string{anchorsValue, "identityTrustDomain", "linkerdVersion", "cliVersion", "proxy"}

// valuesConfig reads the values of Linkerd's charts. In 2.9 they stand below
// global, but for identity.issuer; readers since merge global into the top
// level, and what stood below it wins (pkg/config RemoveGlobalFieldIfPresent).
// The copies below grafana and prometheus are Helm's own, made for subcharts;
// nothing reads them.
func (r *reader) valuesConfig(n *yaml.Node, prefix string) configText {
	var cfg configText
	if n == nil || isNull(n) {
		r.failf(r.src.base, prefix[:max(len(prefix)-1, 0)], "no values")
	}
	if n.Kind != yaml.MappingNode {
		r.failf(r.src.line(n.Line), prefix[:max(len(prefix)-1, 0)], "not a mapping")
	}
	cfg.Layout = LayoutValuesFlat
	global := r.get(n, globalKey)
	nested := false
	for _, mark := range nestedMarks {
		if r.get(global, mark) != nil {
			cfg.Layout, nested = LayoutValuesNested, true
			break
		}
	}
	if !nested {
		global = nil
	}
	// setting returns what counts for a key, and whether it was nested.
	setting := func(name string) (*yaml.Node, bool) {
		if v := r.get(global, name); v != nil {
			return v, true
		}
		return r.get(n, name), false
	}
	value := func(name string) string {
		v, _ := setting(name)
		return r.str(v)
	}
	cfg.ClusterDomain = value("clusterDomain")
	if cfg.TrustDomain = value("identityTrustDomain"); cfg.TrustDomain == "" {
		cfg.TrustDomain = cfg.ClusterDomain
	}
	cfg.LinkerdVersion = value("linkerdVersion")
	proxy, _ := setting("proxy")
	cfg.IdentityDisabled = isTrue(r.str(r.get(proxy, "disableIdentity")))

	identity := r.get(n, "identity")
	cfg.ExternalCA = isTrue(r.str(r.get(identity, "externalCA")))
	issuer := r.get(identity, "issuer")
	cfg.IssuanceLifetime = r.str(r.get(issuer, "issuanceLifetime"))
	cfg.ClockSkewAllowance = r.str(r.get(issuer, "clockSkewAllowance"))
	if cfg.Scheme = r.str(r.get(issuer, "scheme")); cfg.Scheme == "" {
		cfg.Scheme = SchemeLinkerd
	}

	anchors, below := setting(anchorsValue)
	cfg.anchorsField = prefix + anchorsValue
	if below {
		cfg.anchorsField = prefix + globalKey + "." + anchorsValue
		if top := r.get(n, anchorsValue); !blank(r.str(top)) && r.str(top) != r.str(anchors) {
			r.note(NoteBothNesting, r.src.line(top.Line), prefix+anchorsValue, "other anchors stand below global, and count")
		}
	}
	cfg.anchors, cfg.hasAnchors = r.text(r.src, anchors, cfg.anchorsField)
	cfg.TrustAnchorsPEM, _ = redact(cfg.anchors.text)

	cfg.issuerField = prefix + "identity.issuer.tls.crtPEM"
	cfg.issuer, _ = r.text(r.src, r.at(issuer, "tls", "crtPEM"), cfg.issuerField)
	cfg.IssuerCrtPEM, _ = redact(cfg.issuer.text)
	return cfg
}

// chartNames are the keys under which a parent chart holds Linkerd's values.
var chartNames = []string{"linkerd-control-plane", "linkerd2", "linkerd"}

// valuesDocument reads a mapping without a kind: the values file of a chart, or
// anything else, which is passed over.
func (r *reader) valuesDocument(n *yaml.Node) {
	r.object, r.objectLine = Object{Kind: valuesKind}, r.src.line(n.Line)
	read := func(n *yaml.Node, prefix string) {
		if r.get(n, anchorsValue) != nil || r.at(n, globalKey, anchorsValue) != nil {
			r.recordConfig(r.valuesConfig(n, prefix), StoreValues)
		}
	}
	read(n, "")
	for _, chart := range chartNames {
		if below := r.get(n, chart); below != nil && below.Kind == yaml.MappingNode {
			read(below, chart+".")
		}
	}
}
