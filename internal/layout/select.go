package layout

// Anchors returns the texts that answer "which anchors does this source store?":
// every text of role [Anchors]; where there is none, those of role
// [IdentityAnchors]; where there is none either, those of role
// [FallbackAnchors], of the issuer Secret before those of other Secrets. All
// copies are returned: whether they agree is a finding.
func (m *Manifest) Anchors() []Text {
	return m.first(
		choice{Anchors, ""},
		choice{IdentityAnchors, ""},
		choice{FallbackAnchors, StoreIssuer},
		choice{FallbackAnchors, ""},
	)
}

// Chains returns the texts that answer "which chain does this source store?":
// that of Linkerd's issuer Secret; without one, those of Istio's Secrets;
// without those, those of other TLS Secrets. More than one text is a choice
// this package cannot make: the caller compares them, or asks.
func (m *Manifest) Chains() []Text {
	return m.first(
		choice{Chain, StoreIssuer},
		choice{Chain, StoreIstioCACerts},
		choice{Chain, StoreIstioCASecret},
		choice{Chain, ""},
	)
}

// choice is a role and the store it must be in, or "" for any.
type choice struct {
	role  Role
	store Store
}

// first returns the texts of the first choice that has any.
func (m *Manifest) first(choices ...choice) []Text {
	for _, c := range choices {
		var found []Text
		for _, t := range m.Texts {
			if t.Role == c.role && (c.store == "" || t.Store == c.store) {
				found = append(found, t)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// Wanted returns the names of the things that Read looks for, for the message
// about a source that has none of them.
func Wanted() []string {
	return []string{
		"ConfigMap linkerd-config",
		"ConfigMap linkerd-identity-trust-roots",
		"Secret linkerd-config-overrides",
		"Secret linkerd-identity-issuer",
		"a kubernetes.io/tls Secret",
		"a pod or workload with a linkerd-proxy container",
		"Linkerd values with identityTrustAnchorsPEM",
		"Secret cacerts or istio-ca-secret",
		"ConfigMap istio-ca-root-cert",
	}
}
