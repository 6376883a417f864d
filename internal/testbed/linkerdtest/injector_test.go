package linkerdtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/windlass-mesh/windlass/internal/testca"
)

const someValues = `
clusterDomain: cluster.local
identityTrustDomain: mesh.example
linkerdVersion: edge-26.8.3
proxy:
  image: {name: cr.l5d.io/linkerd/proxy, version: v1}
  nativeSidecar: true
`

func startInjector(t *testing.T, edit func(*InjectorConfig)) *Injector {
	t.Helper()
	cfg := InjectorConfig{
		Release: Latest, Namespace: "linkerd",
		TrustRoots: dir{TrustRootsKey: "\n PEM \n\n"}, Values: dir{"values": someValues},
		NamespaceAnnotations: func(context.Context, string) (map[string]string, error) {
			return map[string]string{AnnotationInject: "enabled", configPrefix + "proxy-log-level": "debug"}, nil
		},
		Owner: func(context.Context, *corev1.Pod) (string, string) { return "Deployment", "web" },
	}
	if edit != nil {
		edit(&cfg)
	}
	i, err := StartInjector(cfg)
	require.NoError(t, err)
	t.Cleanup(i.Stop)
	return i
}

func plainPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "web-", Namespace: "shop"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web"}}},
	}
}

func TestWhichPodsAreInjected(t *testing.T) {
	for _, test := range []struct {
		name      string
		namespace string
		edit      func(*corev1.Pod)
		skipped   string
	}{
		{"namespace enabled", "enabled", nil, ""},
		{"namespace ingress", "ingress", nil, ""},
		{"nobody says anything", "", nil, `neither the namespace nor the pod have the annotation "linkerd.io/inject:enabled"`},
		{"pod enabled", "", annotate("enabled"), ""},
		{"pod enabled in a disabled namespace", "disabled", annotate("enabled"), ""},
		{"pod disabled in an enabled namespace", "enabled", annotate("disabled"), `pod has the annotation "linkerd.io/inject:disabled"`},
		{"namespace disabled", "disabled", nil, `neither the namespace nor the pod have the annotation "linkerd.io/inject:enabled"`},
		{"nonsense on the pod", "enabled", annotate("yes"), `invalid value for annotation "linkerd.io/inject" at workload`},
		{"nonsense on the namespace", "true", nil, `invalid value for annotation "linkerd.io/inject" at namespace`},
		{"host network", "enabled", func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "hostNetwork is enabled"},
		{"a sidecar already", "enabled", func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: ProxyContainer})
		}, "pod has a sidecar injected already"},
		{"a native sidecar already", "enabled", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: ProxyContainer}}
		}, "pod has a sidecar injected already"},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := startInjector(t, func(c *InjectorConfig) {
				c.NamespaceAnnotations = func(context.Context, string) (map[string]string, error) {
					return map[string]string{AnnotationInject: test.namespace}, nil
				}
			})
			pod := plainPod()
			if test.edit != nil {
				test.edit(pod)
			}
			in, err := i.Inject(t.Context(), pod)
			require.NoError(t, err)
			require.Equal(t, test.skipped, in.Skipped)
		})
	}
}

func annotate(inject string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{AnnotationInject: inject} }
}

func TestWhatInjectionAdds(t *testing.T) {
	in, err := startInjector(t, nil).Inject(t.Context(), plainPod())
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"linkerd.io/control-plane-ns": "linkerd", "linkerd.io/workload-ns": "shop", "linkerd.io/proxy-deployment": "web",
	}, in.Labels)
	require.Equal(t, map[string]string{
		"linkerd.io/created-by":    "linkerd/proxy-injector edge-26.8.3",
		"linkerd.io/proxy-version": "v1",
		"linkerd.io/inject":        "enabled", "config.linkerd.io/proxy-log-level": "debug",
		"linkerd.io/trust-root-sha256": "d526e69dc91e367dc84b6fb1bfbde0743bce82235f7d4ce562af33b187048df4",
	}, in.Annotations)
	env := make(map[string]string)
	for _, e := range in.Sidecar.Env {
		env[e.Name] = e.Value
	}
	require.Equal(t, "PEM\n", env[EnvTrustAnchors], "trimmed, and one newline")
	require.Equal(t, "$(_pod_sa).$(_pod_ns).serviceaccount.identity.linkerd.mesh.example", env[EnvLocalName])
	require.Equal(t, "linkerd-identity.linkerd.serviceaccount.identity.linkerd.mesh.example", env[EnvIdentityName])
	require.Equal(t, "linkerd-identity-headless.linkerd.svc.cluster.local.:8080", env[EnvIdentityAddr])
	require.True(t, in.Native)
	require.Equal(t, corev1.ContainerRestartPolicyAlways, *in.Sidecar.RestartPolicy)

	old := startInjector(t, func(c *InjectorConfig) {
		c.Release, c.Values = MustRelease("2.11"), dir{"values": "clusterDomain: cluster.local\nlinkerdVersion: stable-2.11.5\n"}
	})
	in, err = old.Inject(t.Context(), plainPod())
	require.NoError(t, err)
	require.False(t, in.Native)
	require.True(t, in.First)
	require.NotContains(t, in.Annotations, "linkerd.io/trust-root-sha256")
}

// The anchor and the hash with a newline at its end are those of Linkerd's golden
// files (linkerd2 cli/cmd/testdata, Apache-2.0), where the control plane's pods
// have the other one.
func TestTheHashIsOverTheBytesOfTheFile(t *testing.T) {
	golden, err := os.ReadFile("testdata/golden-anchor.pem")
	require.NoError(t, err)
	hash := func(text string) string {
		i := startInjector(t, func(c *InjectorConfig) { c.TrustRoots = dir{TrustRootsKey: text} })
		in, err := i.Inject(t.Context(), plainPod())
		require.NoError(t, err)
		return in.Annotations[annotationTrustHash]
	}
	require.Equal(t, "8dc603abd4e755c25c94da05abbf29b9b283a784733651020d72f97ca8ab98e4", hash(string(golden)))
	require.Equal(t, "818932ba8838711e0ed69071afc8481fd37d82d28828a49e46dfbef191ad372e", hash(strings.TrimSpace(string(golden))),
		"so that it tells nothing about what is trusted")
}

func TestTheInjectorReadsTheBundleForEachPod(t *testing.T) {
	roots := dir{TrustRootsKey: "one"}
	i := startInjector(t, func(c *InjectorConfig) { c.TrustRoots = roots })
	anchors := func() string {
		in, err := i.Inject(t.Context(), plainPod())
		require.NoError(t, err)
		for _, e := range in.Sidecar.Env {
			if e.Name == EnvTrustAnchors {
				return e.Value
			}
		}
		return ""
	}
	require.Equal(t, "one\n", anchors())
	roots[TrustRootsKey] = "two"
	require.Equal(t, "two\n", anchors())
}

func review(t *testing.T, pod *corev1.Pod) *admissionv1.AdmissionReview {
	t.Helper()
	raw, err := json.Marshal(pod)
	require.NoError(t, err)
	return &admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "u", Namespace: "shop", Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}, Object: runtime.RawExtension{Raw: raw},
		},
	}
}

func TestThePatchMakesTheParentsThatAreNotThere(t *testing.T) {
	paths := func(pod *corev1.Pod) (out []string) {
		resp := startInjector(t, nil).Review(t.Context(), review(t, pod).Request)
		require.True(t, resp.Allowed)
		require.Equal(t, admissionv1.PatchTypeJSONPatch, *resp.PatchType)
		var ops []operation
		require.NoError(t, json.Unmarshal(resp.Patch, &ops))
		for _, o := range ops {
			require.Equal(t, "add", o.Op)
			out = append(out, o.Path)
		}
		return out
	}
	bare := paths(plainPod())
	for _, p := range []string{"/metadata/annotations", "/metadata/labels", "/spec/volumes", "/spec/initContainers"} {
		require.Contains(t, bare, p)
	}
	require.Contains(t, bare, "/metadata/annotations/linkerd.io~1created-by")
	full := plainPod()
	full.Annotations, full.Labels = map[string]string{"a": "b"}, map[string]string{"a": "b"}
	full.Spec.Volumes, full.Spec.InitContainers = []corev1.Volume{{Name: "v"}}, []corev1.Container{{Name: "i"}}
	for _, p := range paths(full) {
		require.NotContains(t, []string{"/metadata/annotations", "/metadata/labels", "/spec/volumes", "/spec/initContainers"}, p)
	}
}

func TestAnErrorOfTheInjectorsOwnRefusesThePod(t *testing.T) {
	i := startInjector(t, func(c *InjectorConfig) { c.TrustRoots = dir{} })
	resp := i.Review(t.Context(), review(t, plainPod()).Request)
	require.False(t, resp.Allowed, "failurePolicy has no say in it")
	require.Equal(t, "open ca-bundle.crt: no such file or directory", resp.Result.Message)
}

func TestAReplicaServesWithTheCertificateThatItHasRead(t *testing.T) {
	lab := newLab()
	serving := func(ca *testca.Cert, d dir) {
		leaf := ca.Leaf("injector.linkerd.test")
		d["tls.crt"], d["tls.key"] = leaf.PEM(), leaf.KeyPEM()
	}
	one, two := lab.Root("one"), lab.Root("two")
	files := dir{}
	serving(one, files)
	i := startInjector(t, func(c *InjectorConfig) { c.Serving = files })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go i.Serve(l)

	post := func(ca *testca.Cert) error {
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: testca.Pool(ca), ServerName: "injector.linkerd.test", Time: lab.Now},
		}}
		body, err := json.Marshal(review(t, plainPod()))
		require.NoError(t, err)
		resp, err := client.Post("https://"+l.Addr().String(), "application/json", strings.NewReader(string(body)))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		var got admissionv1.AdmissionReview
		require.NoError(t, json.Unmarshal(answer, &got))
		require.Equal(t, "AdmissionReview", got.Kind)
		require.EqualValues(t, "u", got.Response.UID)
		return nil
	}
	require.NoError(t, post(one))
	serving(two, files)
	var unknown x509.UnknownAuthorityError
	require.True(t, errors.As(post(two), &unknown), "the webhook configuration was ahead")
	i.ServingChanged()
	require.NoError(t, post(two))
	require.Equal(t, 2, i.Asked())
}
