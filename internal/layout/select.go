package layout

import "strings"

// Anchors returns the texts that answer "which anchors does this source store?":
// every text of role [Anchors]; where there is none, those of role
// [IdentityAnchors]; where there is none either, those of role
// [FallbackAnchors]. All copies are returned: whether they agree is a finding.
func (m *Manifest) Anchors() []Text {
	for _, role := range []Role{Anchors, IdentityAnchors, FallbackAnchors} {
		if found := m.withRole(role, ""); len(found) > 0 {
			return found
		}
	}
	return nil
}

// Chains returns the texts that answer "which chain does this source store?":
// that of Linkerd's issuer Secret; without one, those of Istio's Secrets;
// without those, those of other TLS Secrets. More than one text is a choice
// this package cannot make: the caller compares them, or asks.
func (m *Manifest) Chains() []Text {
	for _, stores := range [][]Store{
		{StoreIssuer},
		{StoreIstioCACerts},
		{StoreIstioCASecret},
		{StoreTLSSecret},
	} {
		var found []Text
		for _, s := range stores {
			found = append(found, m.withRole(Chain, s)...)
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

func (m *Manifest) withRole(role Role, store Store) []Text {
	var out []Text
	for _, t := range m.Texts {
		if t.Role == role && (store == "" || t.Store == store) {
			out = append(out, t)
		}
	}
	return out
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

// redact blanks the body of every private key in a PEM text: letters and digits
// become "A", all else stays. It reports whether there was one.
func redact(text string) (string, bool) {
	const begin, end, label = "-----BEGIN ", "-----END ", "PRIVATE KEY"
	if !strings.Contains(text, label) {
		return text, false
	}
	var out []byte
	for at := 0; ; {
		i := strings.Index(text[at:], begin)
		if i < 0 {
			break
		}
		i += at + len(begin)
		line := text[i:]
		if nl := strings.IndexAny(line, "\r\n"); nl >= 0 {
			line = line[:nl]
		}
		at = i
		l := strings.Index(line, label)
		if l < 0 {
			continue
		}
		body := i + l + len(label)
		stop := len(text)
		if j := strings.Index(text[body:], end); j >= 0 {
			stop = body + j
		}
		if out == nil {
			out = []byte(text)
		}
		// The rest of the label's own line goes too: a PEM squeezed into one
		// line has the key there. The label of "PGP PRIVATE KEY BLOCK" is lost
		// with it, to no harm.
		for k := body; k < stop; k++ {
			if c := out[k]; c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '/' {
				out[k] = 'A'
			}
		}
		at = stop
	}
	if out == nil {
		return text, false
	}
	return string(out), true
}
