package linkerdtest

// The variables of a proxy's environment that the double heeds
// (linkerd2 charts/partials/templates/_proxy.tpl).
const (
	EnvTrustAnchors = "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"
	EnvLocalName    = "LINKERD2_PROXY_IDENTITY_LOCAL_NAME"
	EnvIdentityAddr = "LINKERD2_PROXY_IDENTITY_SVC_ADDR"
	EnvIdentityName = "LINKERD2_PROXY_IDENTITY_SVC_NAME"
	EnvTokenFile    = "LINKERD2_PROXY_IDENTITY_TOKEN_FILE"
	EnvMinRefresh   = "LINKERD2_PROXY_IDENTITY_MIN_REFRESH"
	EnvMaxRefresh   = "LINKERD2_PROXY_IDENTITY_MAX_REFRESH"
)

// Dir is a mounted directory, as far as a container reads it. Files change
// together, and later than the object that they show.
type Dir interface {
	ReadFile(name string) ([]byte, error)
}

// serviceIdentity is the name by which a ServiceAccount goes in the mesh.
func serviceIdentity(account, namespace, controlPlane, trustDomain string) string {
	return account + "." + namespace + ".serviceaccount.identity." + controlPlane + "." + trustDomain
}
