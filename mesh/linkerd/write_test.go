package linkerd

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/mesh"
)

const base = "/api/v1/namespaces/linkerd/"

func parseBundle(t *testing.T, names ...string) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Parse([]byte(certs(t, names...)))
	require.NoError(t, err)
	return b
}

func (f *fakeAPI) installation() *mesh.Installation {
	f.t.Helper()
	s := f.survey(Options{})
	require.Len(f.t, s.Installations, 1, "%v", s.Unknowns)
	return s.Installations[0]
}

// snapshot returns everything the server holds but what a write may change.
func (f *fakeAPI) snapshot() map[string]any {
	out := map[string]any{}
	for path, o := range f.objects {
		u := unstructured.Unstructured{Object: o}
		c := u.DeepCopy()
		c.SetResourceVersion("")
		out[path] = c.Object
	}
	return out
}

var releases = []string{"linkerd-2.6.1", "linkerd-2.8.1-helm", "linkerd-2.9.5", "linkerd-2.9.5-helm", "linkerd-2.9.5-both-keys", "linkerd-2.10.2", "linkerd-2.11.5", "linkerd-2.14.10", "linkerd-2.18"}

func TestABundleIsWrittenIntoEveryCopyOfEveryRelease(t *testing.T) {
	want := parseBundle(t, "root2", "root")
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			f := newFake(t)
			f.release(release)
			before := f.snapshot()
			inst := f.installation()
			require.NotEmpty(t, inst.Copies)
			plan, err := PlanBundle(inst, want)
			require.NoError(t, err)
			if release == "linkerd-2.10.2" || release == "linkerd-2.9.5-helm" || release == "linkerd-2.9.5-both-keys" {
				plan.Refusals = nil // fixtures without an issuer, or without all that a control plane has
			}
			done, err := Apply(t.Context(), f.client(), plan, ApplyOptions{})
			require.NoError(t, err)
			assert.NotEmpty(t, done)
			touched := map[string]bool{}
			for _, d := range done {
				assert.True(t, d.Changed)
				touched[d.Object.Kind+"/"+d.Object.Name] = true
			}
			again := f.installation()
			require.Len(t, again.Copies, len(inst.Copies))
			for i, c := range again.Copies {
				got, err := bundle.Parse([]byte(c.Trust.PEM))
				require.NoError(t, err, c.Field)
				assert.True(t, got.Equal(want), "%s %s", c.Object, c.Field)
				assert.NoError(t, c.Trust.Err, c.Field)
				assert.Equal(t, strings.HasSuffix(inst.Copies[i].Trust.PEM, "\n"), strings.HasSuffix(c.Trust.PEM, "\n"), "its end stays")
			}
			assert.NotContains(t, strings.Join(unknowns(again.Unknowns), " "), "disagreement")
			// Nothing but the objects planned for changed.
			after := f.snapshot()
			for path, o := range before {
				u := unstructured.Unstructured{Object: o.(map[string]any)}
				if !touched[u.GetKind()+"/"+u.GetName()] {
					assert.Equal(t, o, after[path], path)
				}
			}
			// And a second time there is nothing to do.
			plan, err = PlanBundle(again, want)
			require.NoError(t, err)
			assert.Empty(t, plan.Writes)
			assert.Empty(t, plan.Commit)
		})
	}
}

func TestWritesComeInAnOrderThatNoUpgradeTurnsBack(t *testing.T) {
	f := newFake(t)
	f.release("linkerd-2.18")
	plan, err := PlanBundle(f.installation(), parseBundle(t, "root", "root2"))
	require.NoError(t, err)
	var order []string
	for _, w := range plan.Writes {
		order = append(order, w.Object.Name)
		assert.False(t, w.Restarts)
	}
	assert.Equal(t, []string{overridesName, configName, rootsName}, order)
	assert.Empty(t, plan.Commit, "the command line's values are in the cluster")
}

func TestWhatIsWrittenWhileSomebodyElseWritesIsAConflict(t *testing.T) {
	for name, meddle := range map[string]func(*fakeAPI){
		"changed": func(f *fakeAPI) {
			u := unstructured.Unstructured{Object: f.objects[base+"configmaps/linkerd-config"]}
			u.SetResourceVersion("9999")
		},
		"made again": func(f *fakeAPI) {
			u := unstructured.Unstructured{Object: f.objects[base+"configmaps/linkerd-config"]}
			u.SetUID("another")
		},
		"gone": func(f *fakeAPI) { delete(f.objects, base+"configmaps/linkerd-config") },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.release("linkerd-2.18")
			plan, err := PlanBundle(f.installation(), parseBundle(t, "root", "root2"))
			require.NoError(t, err)
			meddle(f)
			before := f.snapshot()
			done, err := Apply(t.Context(), f.client(), plan, ApplyOptions{})
			if name == "gone" {
				require.ErrorIs(t, err, mesh.ErrNotFound)
			} else {
				require.ErrorIs(t, err, mesh.ErrConflict)
			}
			assert.Empty(t, done)
			assert.Equal(t, before, f.snapshot(), "nothing is written, not even what could be")
		})
	}
	t.Run("between reading and writing", func(t *testing.T) {
		f := newFake(t)
		f.release("linkerd-2.18")
		plan, err := PlanBundle(f.installation(), parseBundle(t, "root", "root2"))
		require.NoError(t, err)
		f.fault = func(r *http.Request) (int, string) {
			if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, rootsName) {
				return http.StatusConflict, "the object has been modified"
			}
			return 0, ""
		}
		done, err := Apply(t.Context(), f.client(), plan, ApplyOptions{})
		require.ErrorIs(t, err, mesh.ErrConflict)
		assert.Len(t, done, 2, "what was written is told")
		f.fault = nil
		plan, err = PlanBundle(f.installation(), parseBundle(t, "root", "root2"))
		require.NoError(t, err)
		require.Len(t, plan.Writes, 1, "the next run finishes it")
	})
	t.Run("in a workload", func(t *testing.T) {
		f := newFake(t)
		f.release("linkerd-2.6.1")
		plan, err := PlanBundle(f.installation(), parseBundle(t, "root", "root2"))
		require.NoError(t, err)
		o := f.objects["/apis/apps/v1/namespaces/linkerd/deployments/linkerd-identity"]
		u := unstructured.Unstructured{Object: o}
		u.SetResourceVersion("777") // its status changed: that alone is no conflict
		_, err = Apply(t.Context(), f.client(), plan, ApplyOptions{DryRun: true})
		require.NoError(t, err)
		containers, _, _ := unstructured.NestedSlice(o, "spec", "template", "spec", "containers")
		env := containers[1].(map[string]any)["env"].([]any)
		env[1].(map[string]any)["value"] = certs(t, "istio-root")
		require.NoError(t, unstructured.SetNestedSlice(o, containers, "spec", "template", "spec", "containers"))
		_, err = Apply(t.Context(), f.client(), plan, ApplyOptions{DryRun: true})
		require.ErrorIs(t, err, mesh.ErrConflict)
	})
}

func TestADryRunWritesNothing(t *testing.T) {
	f := newFake(t)
	f.release("linkerd-2.18")
	plan, err := PlanBundle(f.installation(), parseBundle(t, "root", "root2"))
	require.NoError(t, err)
	before := f.snapshot()
	done, err := Apply(t.Context(), f.client(), plan, ApplyOptions{DryRun: true})
	require.NoError(t, err)
	assert.Len(t, done, 3)
	assert.Equal(t, before, f.snapshot())
}

func TestOwnersAreKnownByTheirMarks(t *testing.T) {
	manager := func(name string) map[string]any {
		return map[string]any{"managedFields": []any{map[string]any{"manager": name, "time": now.Format(time.RFC3339),
			"fieldsV1": map[string]any{"f:data": map[string]any{"f:ca-bundle.crt": map[string]any{}}}}}}
	}
	labels := func(kv ...string) map[string]any {
		return map[string]any{"labels": pairs(kv...)}
	}
	annotations := func(kv ...string) map[string]any { return map[string]any{"annotations": pairs(kv...)} }
	owner := func(version, kind string, controller bool) map[string]any {
		return map[string]any{"ownerReferences": []any{map[string]any{"apiVersion": version, "kind": kind, "name": "n", "uid": "u", "controller": controller}}}
	}
	for name, c := range map[string]struct {
		meta   map[string]any
		tool   mesh.Tool
		active bool
	}{
		"trust-manager, by reference":    {owner("trust.cert-manager.io/v1alpha1", "Bundle", true), mesh.ToolTrustManager, true},
		"trust-manager, by label":        {labels("trust.cert-manager.io/bundle", "n"), mesh.ToolTrustManager, true},
		"trust-manager, by manager":      {manager("trust-manager"), mesh.ToolTrustManager, true},
		"cert-manager":                   {annotations("cert-manager.io/certificate-name", "n"), mesh.ToolCertManager, true},
		"cert-manager, by manager":       {manager("cert-manager-certificates-issuing"), mesh.ToolCertManager, true},
		"Argo CD, by annotation":         {annotations("argocd.argoproj.io/tracking-id", "n:v1/ConfigMap:linkerd/x"), mesh.ToolArgoCD, true},
		"Argo CD, by label":              {labels("argocd.argoproj.io/instance", "n"), mesh.ToolArgoCD, true},
		"Argo CD, by manager":            {manager("argocd-controller"), mesh.ToolArgoCD, true},
		"Flux":                           {labels("kustomize.toolkit.fluxcd.io/name", "n"), mesh.ToolFlux, true},
		"Flux, switched off":             {map[string]any{"labels": pairs("kustomize.toolkit.fluxcd.io/name", "n"), "annotations": pairs("kustomize.toolkit.fluxcd.io/reconcile", "disabled")}, mesh.ToolFlux, false},
		"Flux's Helm controller":         {labels("helm.toolkit.fluxcd.io/name", "n"), mesh.ToolFlux, true},
		"Helm":                           {annotations("meta.helm.sh/release-name", "n"), mesh.ToolHelm, false},
		"Helm, by Linkerd's mark":        {annotations("linkerd.io/created-by", "linkerd/helm edge-25.4.4"), mesh.ToolHelm, false},
		"the command line":               {annotations("linkerd.io/created-by", "linkerd/cli edge-25.4.4"), mesh.ToolCLI, false},
		"some controller":                {owner("example.com/v1", "Thing", true), mesh.ToolOther, true},
		"an owner that controls nothing": {owner("example.com/v1", "Thing", false), "", false},
		"a label that Helm sets as well": {labels("app.kubernetes.io/instance", "n"), "", false},
		"a manager of something else":    {map[string]any{"managedFields": []any{map[string]any{"manager": "argocd-controller", "fieldsV1": map[string]any{"f:metadata": map[string]any{}}}}}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.release("linkerd-2.18")
			meta := f.objects[base+"configmaps/linkerd-identity-trust-roots"]["metadata"].(map[string]any)
			for k, v := range c.meta {
				meta[k] = v
			}
			inst := f.installation()
			owners := inst.CopiesFor(mesh.NewPods)[0].Owners
			plan, err := PlanBundle(inst, parseBundle(t, "root", "root2"))
			require.NoError(t, err)
			if c.tool == "" {
				assert.Empty(t, owners)
				require.NoError(t, plan.Err())
				return
			}
			require.Len(t, owners, 1)
			assert.Equal(t, c.tool, owners[0].Tool)
			assert.Equal(t, c.active, owners[0].Active)
			assert.NotEmpty(t, owners[0].Why)
			if !c.active {
				require.NoError(t, plan.Err())
				return
			}
			require.ErrorIs(t, plan.Err(), ErrOwned)
			before := f.snapshot()
			_, err = Apply(t.Context(), f.client(), plan, ApplyOptions{})
			require.ErrorIs(t, err, ErrRefused)
			assert.Equal(t, before, f.snapshot())
		})
	}
}

func pairs(kv ...string) map[string]any {
	m := map[string]any{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

func TestHelmGetsTheValuesToCommit(t *testing.T) {
	for release, nested := range map[string]bool{"linkerd-2.18": false, "linkerd-2.9.5": true} {
		f := newFake(t)
		f.release(release)
		delete(f.objects, base+"secrets/linkerd-config-overrides")
		f.objects[base+"configmaps/linkerd-config"]["metadata"].(map[string]any)["annotations"] = pairs("meta.helm.sh/release-name", "linkerd-control-plane")
		inst := f.installation()
		assert.Equal(t, mesh.ToolHelm, inst.Installer.Tool)
		plan, err := PlanBundle(inst, parseBundle(t, "root", "root2"))
		require.NoError(t, err)
		require.Len(t, plan.Commit, 1)
		assert.Equal(t, "linkerd-control-plane", plan.Commit[0].Name)
		src, err := bundle.ReadSource("values", []byte(plan.Commit[0].YAML))
		require.NoError(t, err)
		got, err := src.Anchors()
		require.NoError(t, err)
		assert.True(t, got.Equal(parseBundle(t, "root", "root2")))
		assert.Equal(t, nested, strings.HasPrefix(plan.Commit[0].YAML, "global:\n"))
	}
}

func TestWhatIsNeverWritten(t *testing.T) {
	f := newFake(t)
	f.release("linkerd-2.18")
	inst := f.installation()
	_, err := PlanBundle(inst, &bundle.Bundle{})
	assert.ErrorIs(t, err, ErrEmptyBundle)

	t.Run("over what could not be read", func(t *testing.T) {
		f.fault = func(r *http.Request) (int, string) {
			if strings.HasSuffix(r.URL.Path, overridesName) {
				return http.StatusForbidden, "forbidden"
			}
			return 0, ""
		}
		defer func() { f.fault = nil }()
		plan, err := PlanBundle(f.installation(), parseBundle(t, "root", "root2"))
		require.NoError(t, err)
		require.ErrorIs(t, plan.Err(), ErrRefused)
		assert.Contains(t, plan.Err().Error(), overridesName)
	})
	t.Run("where new pods would not see it", func(t *testing.T) {
		f := newFake(t)
		f.release("linkerd-external-ca")
		plan, err := PlanBundle(f.installation(), parseBundle(t, "root", "root2"))
		require.NoError(t, err)
		assert.ErrorIs(t, plan.Err(), ErrRefused)
	})
	t.Run("into an immutable object", func(t *testing.T) {
		f.objects[base+"configmaps/linkerd-identity-trust-roots"]["immutable"] = true
		plan, err := PlanBundle(f.installation(), parseBundle(t, "root", "root2"))
		require.NoError(t, err)
		_, err = Apply(t.Context(), f.client(), plan, ApplyOptions{})
		assert.ErrorIs(t, err, ErrRefused)
	})
}

func TestAnIssuerIsStoredInStep(t *testing.T) {
	lab := testca.New(now)
	root := lab.Root("new root")
	issuer := root.Issuer("identity.linkerd.cluster.local")
	cross := lab.Root("cross").CrossSignedBy(root)
	pair := IssuerPair{ChainPEM: issuer.PEM() + cross.PEM(), KeyPEM: issuer.KeyPEM(), CAPEM: root.PEM()}
	for _, release := range []string{"linkerd-2.6.1", "linkerd-2.9.5", "linkerd-2.18"} {
		t.Run(release, func(t *testing.T) {
			f := newFake(t)
			f.release(release)
			secret := f.objects[base+"secrets/linkerd-identity-issuer"]
			secret["metadata"].(map[string]any)["annotations"] = pairs(annotationExpiry, "2020-01-01T00:00:00Z", "keep", "this")
			secret["data"].(map[string]any)["other"] = "a2VlcA=="
			inst := f.installation()
			plan, err := PlanIssuer(inst, pair)
			require.NoError(t, err)
			for _, format := range []string{"%v", "%+v", "%#v"} {
				assert.NotContains(t, fmt.Sprintf(format, *plan), "PRIVATE KEY")
				assert.NotContains(t, fmt.Sprintf(format, plan.Writes), "PRIVATE KEY")
			}
			_, err = Apply(t.Context(), f.client(), plan, ApplyOptions{})
			require.NoError(t, err)
			after := f.installation()
			assert.Equal(t, "linkerd.io/tls", after.Issuer.Scheme)
			require.Len(t, after.Issuer.Chain, 2)
			assert.Equal(t, issuer.Raw, after.Issuer.Chain[0].Raw())
			data := f.data(base + "secrets/linkerd-identity-issuer")
			key, err := base64.StdEncoding.DecodeString(data["key.pem"].(string))
			require.NoError(t, err)
			assert.Equal(t, strings.TrimSpace(pair.KeyPEM), strings.TrimSpace(string(key)))
			assert.Equal(t, "a2VlcA==", data["other"])
			assert.Equal(t, map[string]any{annotationExpiry: issuer.NotAfter.UTC().Format(time.RFC3339), "keep": "this"},
				f.objects[base+"secrets/linkerd-identity-issuer"]["metadata"].(map[string]any)["annotations"])
			if config, ok := f.data(base + "configmaps/linkerd-config")["values"].(string); ok {
				assert.Contains(t, strings.ReplaceAll(config, " ", ""), strings.ReplaceAll(strings.TrimSpace(issuer.PEM()), " ", ""))
				assert.NotContains(t, config, "PRIVATE KEY")
				overrides, err := base64.StdEncoding.DecodeString(f.data(base + "secrets/linkerd-config-overrides")["linkerd-config-overrides"].(string))
				require.NoError(t, err)
				assert.Contains(t, string(overrides), "PRIVATE KEY", "the next upgrade brings the new pair, not the old")
			}
			for i := range inst.Copies {
				assert.Equal(t, inst.Copies[i].Trust.PEM, after.Copies[i].Trust.PEM, "anchors stay")
			}
		})
	}
	t.Run("of the other scheme", func(t *testing.T) {
		f := newFake(t)
		f.release("linkerd-external-ca")
		f.addYAML("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: linkerd-identity-trust-roots, namespace: linkerd}\ndata: {ca-bundle.crt: x}\n")
		plan, err := PlanIssuer(f.installation(), pair)
		require.NoError(t, err)
		require.Len(t, plan.Writes, 1)
		_, err = Apply(t.Context(), f.client(), plan, ApplyOptions{})
		require.NoError(t, err)
		i := f.installation().Issuer
		assert.Equal(t, "kubernetes.io/tls", i.Scheme)
		assert.Equal(t, issuer.Raw, i.Chain[0].Raw())
		assert.Contains(t, i.CAPEM, strings.TrimSpace(root.PEM()))

		f.objects[base+"secrets/linkerd-identity-issuer"]["metadata"].(map[string]any)["annotations"] = pairs("cert-manager.io/certificate-name", "linkerd-identity-issuer")
		plan, err = PlanIssuer(f.installation(), pair)
		require.NoError(t, err)
		require.ErrorIs(t, plan.Err(), ErrOwned)
	})
	t.Run("with another's key", func(t *testing.T) {
		f := newFake(t)
		f.release("linkerd-2.18")
		_, err := PlanIssuer(f.installation(), IssuerPair{ChainPEM: issuer.PEM(), KeyPEM: root.KeyPEM()})
		require.ErrorIs(t, err, ErrUnreadable)
		assert.NotContains(t, err.Error(), "BEGIN")
	})
	t.Run("without its key in any text", func(t *testing.T) {
		f := newFake(t)
		f.release("linkerd-2.18")
		delete(f.objects, base+"secrets/linkerd-config-overrides")
		plan, err := PlanIssuer(f.installation(), pair)
		require.NoError(t, err)
		require.Len(t, plan.Commit, 1)
		assert.True(t, plan.Commit[0].NeedsKey)
		assert.NotContains(t, plan.Commit[0].YAML, "PRIVATE KEY")
		assert.NotContains(t, pair.String()+pair.GoString(), "BEGIN")
	})
}
