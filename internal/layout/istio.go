package layout

import "strings"

// Names that Istio fixes (security/pkg/pki/ca/ca.go; the ConfigMap's can be
// changed by PILOT_CA_CERT_CONFIGMAP, which is not looked for).
const (
	istioCACertsName  = "cacerts"
	istioCASecretName = "istio-ca-secret"
	istioRootCertName = "istio-ca-root-cert"

	istioCACertKey    = "ca-cert.pem"
	istioCertChainKey = "cert-chain.pem"
	istioRootCertKey  = "root-cert.pem"
)

// istioCACerts reads the plug-in CA. Where tls.crt is there it wins over the
// four files, and ca.crt is the root (pilot/pkg/bootstrap, security/pkg/pki).
// It returns false where the Secret has neither form.
func (r *reader) istioCACerts(s secretData) bool {
	if s.has(tlsCertKey) {
		r.secretText(s, Chain, StoreIstioCACerts, tlsCertKey)
		r.secretText(s, Anchors, StoreIstioCACerts, tlsCAKey)
		return true
	}
	if !s.has(istioCACertKey) && !s.has(istioRootCertKey) {
		return false
	}
	if ca, field, ok := s.get(istioCACertKey); ok {
		if more, moreField, ok := s.get(istioCertChainKey); ok {
			if joined := joinChain(ca.text, more.text); joined != ca.text {
				ca.text, ca.exact = joined, false
				field += " + " + moreField
			}
		}
		r.add(Chain, StoreIstioCACerts, ca, field)
	}
	if s.has(istioRootCertKey) {
		r.secretText(s, Anchors, StoreIstioCACerts, istioRootCertKey)
	} else {
		// The self-signed CA stored under this name (USE_CACERTS_FOR_SELF_SIGNED_CA).
		r.secretText(s, Anchors, StoreIstioCACerts, istioCACertKey)
	}
	return true
}

// istioCASecret reads Istio's self-signed CA: one certificate that is issuer
// and root.
func (r *reader) istioCASecret(s secretData) bool {
	if !s.has(istioCACertKey) {
		return false
	}
	r.secretText(s, Chain, StoreIstioCASecret, istioCACertKey)
	r.secretText(s, Anchors, StoreIstioCASecret, istioCACertKey)
	return true
}

func (r *reader) secretText(s secretData, role Role, store Store, name string) {
	if l, field, ok := s.get(name); ok {
		r.add(role, store, l, field)
	}
}

// joinChain appends the PEM blocks of more that ca does not have. cert-chain.pem
// repeats the signing certificate by convention.
func joinChain(ca, more string) string {
	seen := map[string]bool{}
	for _, b := range pemBlocks(ca) {
		seen[squeeze(b)] = true
	}
	out := ca
	for _, b := range pemBlocks(more) {
		if k := squeeze(b); !seen[k] {
			seen[k] = true
			if out != "" && !strings.HasSuffix(out, "\n") {
				out += "\n"
			}
			out += b + "\n"
		}
	}
	return out
}

// pemBlocks cuts a text into its blocks, armour included. What stands outside
// of a block is dropped.
func pemBlocks(text string) []string {
	const begin, end, dashes = "-----BEGIN ", "-----END ", "-----"
	var out []string
	for {
		i := strings.Index(text, begin)
		if i < 0 {
			return out
		}
		text = text[i:]
		j := strings.Index(text, end)
		if j < 0 {
			return out
		}
		stop := j + len(end)
		k := strings.Index(text[stop:], dashes)
		if k < 0 {
			return out
		}
		stop += k + len(dashes)
		out = append(out, text[:stop])
		text = text[stop:]
	}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), "") }
