package linkerd

import (
	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh/internal/wire"
)

// Names that Linkerd gives (linkerd2 pkg/k8s/labels.go, all releases unless
// said otherwise).
const (
	labelControlPlane = "linkerd.io/control-plane-ns"
	labelComponent    = "linkerd.io/control-plane-component"
	labelExtension    = "linkerd.io/extension"

	annotationCreatedBy    = "linkerd.io/created-by"
	annotationProxyVersion = "linkerd.io/proxy-version"
	annotationGateway      = "config.linkerd.io/enable-gateway" // pods of a gateway, 2.8 and later

	configName    = "linkerd-config"
	rootsName     = "linkerd-identity-trust-roots"
	rootsKey      = "ca-bundle.crt"
	overridesName = "linkerd-config-overrides"
	issuerName    = "linkerd-identity-issuer"

	identityContainer = "identity"
	envLocalName      = "LINKERD2_PROXY_IDENTITY_LOCAL_NAME"
	envAdminAddress   = "LINKERD2_PROXY_ADMIN_LISTEN_ADDR"
	envNamespace      = "_l5d_ns"          // up to 2.10 the names above refer to these two
	envTrustDomain    = "_l5d_trustdomain" //
	envIdentityRoots  = "LINKERD2_IDENTITY_TRUST_ANCHORS"
	flagIdentityRoots = "identity-trust-anchors-pem"
	flagScheme        = "identity-scheme"
	flagLifetime      = "identity-issuance-lifetime"
	flagSkew          = "identity-clock-skew-allowance"
	annotationMirror  = "kubernetes.io/config.mirror" // a static pod
)

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// newDecoder returns a decoder that keeps what a survey needs.
func newDecoder() *wire.Decoder {
	return &wire.Decoder{
		Labels:      set(labelControlPlane, labelComponent),
		Annotations: set(annotationProxyVersion, annotationGateway, annotationMirror),
		Containers:  set(layout.ProxyContainer, identityContainer),
		Env:         set(layout.ProxyAnchorsEnv, envLocalName, envAdminAddress, envNamespace, envTrustDomain, envIdentityRoots),
	}
}
