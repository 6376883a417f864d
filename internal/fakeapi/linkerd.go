package fakeapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func schemaUID(s string) types.UID { return types.UID(s) }

// Linkerd is a control plane with its pods, in the layout of 2.11 and later.
type Linkerd struct {
	Namespace string // linkerd
	Release   string // stable-2.14.10
	// Roots are those in linkerd-identity-trust-roots, Config those in
	// linkerd-config; "" is Roots, "-" none.
	Roots, Config string
	Issuer        string // the chain as PEM; its key is of no concern
	// IssuerAge and RootsAge are how long ago they were written. Default: 30 days.
	IssuerAge, RootsAge time.Duration
	// IdentityAge is how old linkerd-identity's pod is. Default: 29 days.
	IdentityAge time.Duration
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func orAge(d time.Duration) time.Duration {
	if d == 0 {
		return 30 * 24 * time.Hour
	}
	return d
}

// Install adds a control plane.
func (a *API) Install(l Linkerd) {
	if l.IdentityAge == 0 {
		l.IdentityAge = 29 * 24 * time.Hour
	}
	ns, release := or(l.Namespace, "linkerd"), or(l.Release, "stable-2.14.10")
	config := or(l.Config, l.Roots)
	if config == "-" {
		config = ""
	}
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	values := fmt.Sprintf("clusterDomain: cluster.local\nidentity:\n  issuer:\n    clockSkewAllowance: 20s\n    issuanceLifetime: 24h0m0s\n    scheme: linkerd.io/tls\n    tls:\n      crtPEM: |\n%s\nidentityTrustAnchorsPEM: |\n%s\nidentityTrustDomain: cluster.local\nlinkerdVersion: %s\n",
		indent(l.Issuer, 8), indent(config, 2), release)
	a.addObject("v1", "ConfigMap", ns, "linkerd-config", orAge(0), map[string]any{"data": map[string]any{"values": values}})
	a.addObject("v1", "ConfigMap", ns, "linkerd-identity-trust-roots", orAge(l.RootsAge), map[string]any{"data": map[string]any{"ca-bundle.crt": l.Roots}})
	a.addObject("v1", "Secret", ns, "linkerd-identity-issuer", orAge(l.IssuerAge), map[string]any{"data": map[string]any{"crt.pem": b64(l.Issuer), "key.pem": b64("-")}})
	fromRoots := map[string]any{"valueFrom": map[string]any{"configMapKeyRef": map[string]any{"name": "linkerd-identity-trust-roots", "key": "ca-bundle.crt"}}}
	a.pod(ns, Pod{Namespace: ns, Workload: "linkerd-identity", Component: "identity", Release: release, Age: l.IdentityAge, Plane: ns}, fromRoots)
}

// Pod is a meshed workload of so many pods.
type Pod struct {
	Namespace, Workload string
	Count               int    // 1
	Anchors             string // as the injector gave them
	Release             string // stable-2.14.10
	Plane               string // linkerd
	Component           string
	Gateway             bool
	Phase               string        // Running
	Age                 time.Duration // 1 hour
}

// Deploy adds a Deployment with its pods.
func (a *API) Deploy(p Pod) {
	a.pod(or(p.Plane, "linkerd"), p, map[string]any{"value": p.Anchors})
}

func (a *API) pod(plane string, p Pod, anchors map[string]any) {
	if p.Age == 0 {
		p.Age = time.Hour
	}
	owner := func(version, kind, name string) []any {
		return []any{map[string]any{"apiVersion": version, "kind": kind, "name": name, "uid": p.Namespace + "-" + name, "controller": true}}
	}
	meta := func(name string, more map[string]any) map[string]any {
		more["uid"] = p.Namespace + "-" + name
		return map[string]any{"metadata": more}
	}
	set := p.Workload + "-1"
	a.addObject("apps/v1", "Deployment", p.Namespace, p.Workload, p.Age, meta(p.Workload, map[string]any{}),
		map[string]any{"spec": map[string]any{"replicas": max(1, p.Count), "template": map[string]any{}}})
	a.addObject("apps/v1", "ReplicaSet", p.Namespace, set, p.Age, meta(set, map[string]any{"ownerReferences": owner("apps/v1", "Deployment", p.Workload)}))
	env := map[string]any{"name": "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"}
	for k, v := range anchors {
		env[k] = v
	}
	labels := map[string]any{"linkerd.io/control-plane-ns": plane}
	annotations := map[string]any{"linkerd.io/proxy-version": or(p.Release, "stable-2.14.10")}
	containers := []any{map[string]any{"name": "linkerd-proxy", "image": "proxy", "env": []any{env,
		map[string]any{"name": "LINKERD2_PROXY_IDENTITY_LOCAL_NAME", "value": "$(_pod_sa).$(_pod_ns).serviceaccount.identity." + plane + ".cluster.local"}}}}
	names := []string{"linkerd-proxy"}
	if p.Component != "" {
		labels["linkerd.io/control-plane-component"] = p.Component
		containers = append(containers, map[string]any{"name": p.Component, "image": "controller", "args": []any{p.Component, "-identity-issuance-lifetime=24h0m0s"}})
		names = append(names, p.Component)
	}
	if p.Gateway {
		annotations["config.linkerd.io/enable-gateway"] = "true"
	}
	var statuses []any
	for _, n := range names {
		status := map[string]any{"name": n}
		if phase := or(p.Phase, "Running"); phase == "Running" {
			status["ready"] = true
			status["state"] = map[string]any{"running": map[string]any{"startedAt": a.now.Add(-p.Age + 5*time.Second).UTC().Format(time.RFC3339)}}
		}
		statuses = append(statuses, status)
	}
	for n := range max(1, p.Count) {
		name := fmt.Sprintf("%s-%d", set, n)
		a.addObject("v1", "Pod", p.Namespace, name, p.Age, meta(name, map[string]any{"labels": labels, "annotations": annotations, "ownerReferences": owner("apps/v1", "ReplicaSet", set)}),
			map[string]any{"spec": map[string]any{"serviceAccountName": p.Workload, "containers": containers},
				"status": map[string]any{"phase": or(p.Phase, "Running"), "containerStatuses": statuses}})
	}
}

// Link adds a Link to another cluster, through its gateway and pod to pod, with
// credentials as link-gen makes them.
func (a *API) Link(to *API) {
	name := to.Name
	a.Credentials(name, Kubeconfig(to))
	a.Add(fmt.Sprintf(`
apiVersion: multicluster.linkerd.io/v1alpha2
kind: Link
metadata: {name: %[1]s, namespace: linkerd-multicluster}
spec:
  targetClusterName: %[1]s
  targetClusterLinkerdNamespace: linkerd
  clusterCredentialsSecret: cluster-credentials-%[1]s
  gatewayAddress: 203.0.113.1
  gatewayPort: "4143"
  gatewayIdentity: linkerd-gateway.linkerd-multicluster.serviceaccount.identity.linkerd.cluster.local
  selector: {matchLabels: {mirror.linkerd.io/exported: "true"}}
  remoteDiscoverySelector: {matchLabels: {mirror.linkerd.io/exported: remote-discovery}}
`, name))
}

// Credentials adds the Secret of a Link.
func (a *API) Credentials(name, kubeconfig string) {
	a.addObject("v1", "Secret", "linkerd-multicluster", "cluster-credentials-"+name, orAge(0), map[string]any{
		"type": "mirror.linkerd.io/remote-kubeconfig", "data": map[string]any{"kubeconfig": base64.StdEncoding.EncodeToString([]byte(kubeconfig))}})
}

func (a *API) addObject(version, kind, namespace, name string, age time.Duration, parts ...map[string]any) {
	o := map[string]any{"apiVersion": version, "kind": kind}
	meta := map[string]any{}
	for _, p := range parts {
		for k, v := range p {
			if k != "metadata" {
				o[k] = v
				continue
			}
			for k, v := range v.(map[string]any) {
				meta[k] = v
			}
		}
	}
	meta["name"], meta["namespace"], meta["creationTimestamp"] = name, namespace, a.now.Add(-age).UTC().Format(time.RFC3339)
	o["metadata"] = meta
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	a.Add(string(text))
}

func indent(s string, n int) string {
	pad := strings.Repeat(" ", n)
	return pad + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n"+pad)
}
