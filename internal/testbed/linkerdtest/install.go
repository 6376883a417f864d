package linkerdtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"text/template"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

//go:embed manifests/control-plane.yaml
var controlPlaneManifests string

// Mesh is Linkerd in a cluster of a test bed.
type Mesh struct {
	Fleet   *Fleet
	Cluster *testbed.Cluster
	Options Options

	webhook *webhookService
}

// Install puts a control plane into a cluster, in the layout of a recent release,
// and waits until it is rolled out. Options.Lag is not heeded: the nodes of the
// bed have lags of their own. The mesh ends with the context of the bed's pods;
// Close ends what is beside them.
func Install(ctx context.Context, fleet *Fleet, c *testbed.Cluster, o Options) (*Mesh, error) {
	o = o.withDefaults()
	m := &Mesh{Fleet: fleet, Cluster: c, Options: o}
	var err error
	if m.webhook, err = fleet.runtime(c).serveWebhook(); err != nil {
		return nil, err
	}
	manifests, err := m.manifests()
	if err != nil {
		return nil, err
	}
	if _, err := c.Apply(ctx, o.Namespace, manifests); err != nil {
		return nil, err
	}
	for _, name := range []string{Identities, Destinations, Injectors} {
		if err := c.RolledOut(ctx, "Deployment", o.Namespace, name); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Close ends what stands in for the injector's Service.
func (m *Mesh) Close() { m.webhook.close() }

func (m *Mesh) manifests() ([]byte, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"base64": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"sha256": func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) },
		"indent": func(n int, s string) string {
			pad := strings.Repeat(" ", n)
			return pad + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+pad)
		},
	}).Parse(controlPlaneManifests)
	if err != nil {
		return nil, err
	}
	policy := "Ignore"
	if m.Options.FailClosed {
		policy = "Fail"
	}
	issuerText := m.Options.Issuer
	if m.Options.Scheme != SchemeLinkerd {
		issuerText = "" // the chart knows no issuer of others
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{
		"Release": m.Options.Release, "Namespace": m.Options.Namespace, "TrustDomain": m.Options.TrustDomain,
		"Roots": m.Options.Roots, "Issuer": m.Options.Issuer, "IssuerKey": m.Options.IssuerKey, "IssuerText": issuerText,
		"Scheme": m.Options.Scheme, "Lifetime": m.Options.Lifetime, "Skew": m.Options.Skew, "Replicas": m.Options.Replicas,
		"NativeSidecar": m.Options.Release.minor >= 20, "FailurePolicy": policy,
		"Components":  []string{"identity", "destination", "proxy-injector"},
		"ServingCert": string(m.webhook.cert), "ServingKey": string(m.webhook.key),
		"WebhookCA": string(m.webhook.ca), "WebhookURL": m.webhook.url,
	})
	return out.Bytes(), err
}

// WriteRoots replaces the anchors in ConfigMap linkerd-identity-trust-roots.
func (m *Mesh) WriteRoots(ctx context.Context, pem string) error {
	return m.patch(ctx, "ConfigMap", "linkerd-identity-trust-roots", map[string]any{"data": map[string]string{TrustRootsKey: pem}})
}

// WriteIssuer replaces the issuer in Secret linkerd-identity-issuer.
func (m *Mesh) WriteIssuer(ctx context.Context, crt, key string) error {
	crtName, keyName := IdentityConfig{Scheme: m.Options.Scheme}.issuerNames()
	return m.patch(ctx, "Secret", "linkerd-identity-issuer", map[string]any{"data": map[string][]byte{crtName: []byte(crt), keyName: []byte(key)}})
}

func (m *Mesh) patch(ctx context.Context, kind, name string, change any) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	core, opts := m.Cluster.Client.CoreV1(), metav1.PatchOptions{}
	if kind == "Secret" {
		_, err = core.Secrets(m.Options.Namespace).Patch(ctx, name, types.MergePatchType, body, opts)
	} else {
		_, err = core.ConfigMaps(m.Options.Namespace).Patch(ctx, name, types.MergePatchType, body, opts)
	}
	return err
}

// Restart restarts a Deployment and waits until it is rolled out. The word has to
// differ from the last.
func (m *Mesh) Restart(ctx context.Context, namespace, name, word string) error {
	if err := m.Cluster.Restart(ctx, "Deployment", namespace, name, word); err != nil {
		return err
	}
	return m.Cluster.RolledOut(ctx, "Deployment", namespace, name)
}

// Deploy makes a Deployment with a ServiceAccount of its name in a namespace whose
// pods are injected, and waits until it is rolled out.
func (m *Mesh) Deploy(ctx context.Context, namespace, name string, replicas int) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Annotations: map[string]string{AnnotationInject: "enabled"}}}
	if _, err := m.Cluster.Client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	_, err := m.Cluster.Apply(ctx, namespace, fmt.Appendf(nil, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      serviceAccountName: %[1]s
      containers:
      - {name: app, image: example.com/app}
`, name, replicas))
	if err != nil {
		return err
	}
	return m.Cluster.RolledOut(ctx, "Deployment", namespace, name)
}

// SwapWebhookCertificate does what `linkerd upgrade` does each time: a new serving
// certificate for the injectors and, at once, a webhook configuration that trusts
// that one alone. Until a replica has seen the Secret, the API server cannot call
// it, and what failurePolicy says happens.
func (m *Mesh) SwapWebhookCertificate(ctx context.Context) error {
	if err := m.webhook.renew(m.Fleet); err != nil {
		return err
	}
	err := m.patch(ctx, "Secret", "linkerd-proxy-injector-k8s-tls", map[string]any{
		"data": map[string][]byte{"tls.crt": m.webhook.cert, "tls.key": m.webhook.key},
	})
	if err != nil {
		return err
	}
	body, err := json.Marshal([]operation{{"replace", "/webhooks/0/clientConfig/caBundle", m.webhook.ca}})
	if err != nil {
		return err
	}
	_, err = m.Cluster.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Patch(ctx, "linkerd-proxy-injector-webhook-config", types.JSONPatchType, body, metav1.PatchOptions{})
	return err
}

// WebhookWorks waits until all injectors serve with the certificate that the
// webhook configuration trusts.
func (m *Mesh) WebhookWorks(ctx context.Context) error {
	block, _ := pem.Decode(m.webhook.cert)
	return testbed.Until(ctx, func(context.Context) (bool, error) {
		some := false
		for _, p := range m.Fleet.runtime(m.Cluster).sorted() {
			if p.injector == nil {
				continue
			}
			if !bytes.Equal(p.injector.Serving().Raw, block.Bytes) {
				return false, nil
			}
			some = true
		}
		return some, nil
	})
}
