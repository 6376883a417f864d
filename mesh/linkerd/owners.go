package linkerd

import (
	"strings"

	"github.com/windlass-mesh/windlass/mesh"
)

// ownersOf tells who wrote an object and may write it again. The path is the
// field that matters ("data", "ca-bundle.crt"), for telling its field managers
// from those of the rest.
func ownersOf(m mesh.ObjectMeta, path ...string) []mesh.Owner {
	var out []mesh.Owner
	add := func(tool mesh.Tool, active bool, name, why string) {
		for i, o := range out {
			if o.Tool == tool {
				if out[i].Name == "" {
					out[i].Name = name
				}
				out[i].Active = o.Active || active
				return
			}
		}
		out = append(out, mesh.Owner{Tool: tool, Active: active, Name: name, Why: why})
	}
	for _, marks := range []func(mesh.ObjectMeta, func(mesh.Tool, bool, string, string)){
		byReference, byTrustManager, byCertManager, byArgo, byFlux, byInstaller,
	} {
		marks(m, add)
	}
	byManager(m.ManagersOf(path...), add)
	return out
}

type addOwner = func(tool mesh.Tool, active bool, name, why string)

func byReference(m mesh.ObjectMeta, add addOwner) {
	for _, o := range m.OwnerReferences {
		group, _, _ := strings.Cut(o.APIVersion, "/")
		why := "owner reference to " + o.Kind + " " + o.Name
		switch {
		case group == "trust.cert-manager.io" || group == "trust-manager.io":
			add(mesh.ToolTrustManager, true, o.Name, why)
		case group == "cert-manager.io":
			add(mesh.ToolCertManager, true, o.Name, why)
		case o.Controller:
			add(mesh.ToolOther, true, o.Kind+" "+o.Name, why)
		}
	}
}

// trust-manager marks its targets (trust-manager v0.25 pkg/apis/trust).
func byTrustManager(m mesh.ObjectMeta, add addOwner) {
	if name, ok := m.Labels["trust.cert-manager.io/bundle"]; ok {
		add(mesh.ToolTrustManager, true, name, "label trust.cert-manager.io/bundle")
	}
	if _, ok := m.Annotations["trust.cert-manager.io/hash"]; ok {
		add(mesh.ToolTrustManager, true, "", "annotation trust.cert-manager.io/hash")
	}
}

// cert-manager marks the Secrets of its Certificates (pkg/apis/certmanager/v1).
// Copies made by hand carry these marks too, which is a known trap; they are
// taken for owned all the same.
func byCertManager(m mesh.ObjectMeta, add addOwner) {
	if name, ok := m.Annotations["cert-manager.io/certificate-name"]; ok {
		add(mesh.ToolCertManager, true, name, "annotation cert-manager.io/certificate-name")
	}
	if m.Labels["controller.cert-manager.io/fao"] == "true" {
		add(mesh.ToolCertManager, true, "", "label controller.cert-manager.io/fao")
	}
}

// Argo CD tracks by annotation, by a label of its own, or by the common instance
// label, which Helm charts set as well: that one alone proves nothing.
func byArgo(m mesh.ObjectMeta, add addOwner) {
	if id, ok := m.Annotations["argocd.argoproj.io/tracking-id"]; ok {
		app, _, _ := strings.Cut(id, ":")
		add(mesh.ToolArgoCD, true, app, "annotation argocd.argoproj.io/tracking-id")
	}
	if app, ok := m.Labels["argocd.argoproj.io/instance"]; ok {
		add(mesh.ToolArgoCD, true, app, "label argocd.argoproj.io/instance")
	}
}

func byFlux(m mesh.ObjectMeta, add addOwner) {
	for _, kind := range []string{"kustomize", "helm"} {
		label := kind + ".toolkit.fluxcd.io/name"
		name, ok := m.Labels[label]
		if !ok {
			continue
		}
		if ns := m.Labels[kind+".toolkit.fluxcd.io/namespace"]; ns != "" {
			name = ns + "/" + name
		}
		off := m.Annotations["kustomize.toolkit.fluxcd.io/reconcile"] == "disabled" || m.Annotations["kustomize.toolkit.fluxcd.io/ssa"] == "Ignore"
		add(mesh.ToolFlux, kind == "helm" || !off, name, "label "+label)
	}
}

func byInstaller(m mesh.ObjectMeta, add addOwner) {
	if name, ok := m.Annotations["meta.helm.sh/release-name"]; ok {
		if ns := m.Annotations["meta.helm.sh/release-namespace"]; ns != "" {
			name = ns + "/" + name
		}
		add(mesh.ToolHelm, false, name, "annotation meta.helm.sh/release-name")
	} else if m.Labels["app.kubernetes.io/managed-by"] == "Helm" {
		add(mesh.ToolHelm, false, "", "label app.kubernetes.io/managed-by")
	}
	switch by := m.Annotations[annotationCreatedBy]; {
	case strings.HasPrefix(by, "linkerd/helm"):
		add(mesh.ToolHelm, false, "", "annotation "+annotationCreatedBy)
	case strings.HasPrefix(by, "linkerd/cli"):
		add(mesh.ToolCLI, false, "", "annotation "+annotationCreatedBy)
	}
}

// managerTools are the names that the tools write under.
var managerTools = []struct {
	prefix string
	tool   mesh.Tool
	active bool
}{
	{"trust-manager", mesh.ToolTrustManager, true},
	{"cert-manager", mesh.ToolCertManager, true},
	{"argocd-controller", mesh.ToolArgoCD, true},
	{"argocd-application-controller", mesh.ToolArgoCD, true},
	{"kustomize-controller", mesh.ToolFlux, true},
	{"helm-controller", mesh.ToolFlux, true},
	{"helm", mesh.ToolHelm, false},
}

func byManager(entries []mesh.ManagedFields, add addOwner) {
	for _, e := range entries {
		for _, t := range managerTools {
			if strings.HasPrefix(e.Manager, t.prefix) {
				add(t.tool, t.active, "", "field manager "+e.Manager)
				break
			}
		}
	}
}

// installerOf says who installed a control plane, from the owners of its
// linkerd-config: an active one before a passive one.
func installerOf(owners []mesh.Owner, hasOverrides bool) mesh.Owner {
	if o := mesh.ActiveOwner(owners); o != nil {
		return *o
	}
	for _, tool := range []mesh.Tool{mesh.ToolHelm, mesh.ToolCLI} {
		for _, o := range owners {
			if o.Tool == tool {
				return o
			}
		}
	}
	if hasOverrides {
		return mesh.Owner{Tool: mesh.ToolCLI, Why: "Secret " + overridesName}
	}
	return mesh.Owner{}
}
