package layout

import "go.yaml.in/yaml/v3"

// nestedJSON parses a text that must be one JSON object.
func (r *reader) nestedJSON(l located, field string) (*source, *yaml.Node) {
	r.spend(len(l.text))
	src := sourceOf(l)
	nodes, err := parseJSON(src.text)
	if pe, ok := err.(*parseError); ok {
		r.failf(src.line(pe.line), field, "not valid JSON: "+pe.reason)
	}
	if len(nodes) != 1 || nodes[0].Kind != yaml.MappingNode {
		r.failf(src.base, field, "not one JSON object")
	}
	return src, nodes[0]
}

// globalConfig reads the JSON that Linkerd 2.3 to 2.8 keep under the key
// global (stable-2.8.1, proto/config/config.proto). Its reader was jsonpb,
// which takes the lowerCamel and the proto name of each field, mixed as they
// come. Up to 2.6 there is no scheme.
func (r *reader) globalConfig(n *yaml.Node, prefix string) configText {
	var cfg configText
	cfg.Layout = LayoutGlobal
	cfg.LinkerdVersion = r.str(r.get(n, "version"))
	_, domain := r.either(n, "clusterDomain", "cluster_domain")
	cfg.ClusterDomain = r.str(domain)

	name, ctx := r.either(n, "identityContext", "identity_context")
	if ctx == nil || isNull(ctx) {
		cfg.IdentityDisabled = true
		return cfg
	}
	if ctx.Kind != yaml.MappingNode {
		r.failf(r.src.line(ctx.Line), prefix+name, "not an object")
	}
	prefix += name + "."
	field := func(camel, proto string) string {
		_, v := r.either(ctx, camel, proto)
		return r.str(v)
	}
	cfg.TrustDomain = field("trustDomain", "trust_domain")
	if cfg.TrustDomain == "" {
		cfg.TrustDomain = cfg.ClusterDomain
	}
	cfg.IssuanceLifetime = field("issuanceLifetime", "issuance_lifetime")
	cfg.ClockSkewAllowance = field("clockSkewAllowance", "clock_skew_allowance")
	if cfg.Scheme = field("scheme", "scheme"); cfg.Scheme == "" {
		cfg.Scheme = SchemeLinkerd
	}
	name, anchors := r.either(ctx, "trustAnchorsPem", "trust_anchors_pem")
	cfg.anchorsField = prefix + name
	cfg.anchors, cfg.hasAnchors = r.text(r.src, anchors, cfg.anchorsField)
	if !cfg.hasAnchors {
		// An absent field is an empty one in proto JSON.
		cfg.anchors, cfg.hasAnchors = located{line: r.src.line(ctx.Line)}, true
	}
	cfg.TrustAnchorsPEM, _ = redact(cfg.anchors.text)
	return cfg
}

// either returns the value under one of two names, and the name found.
func (r *reader) either(n *yaml.Node, camel, proto string) (string, *yaml.Node) {
	if v := r.get(n, camel); v != nil {
		return camel, v
	}
	if v := r.get(n, proto); v != nil {
		return proto, v
	}
	return camel, nil
}
