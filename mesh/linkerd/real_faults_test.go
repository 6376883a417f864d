package linkerd

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	flowv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/windlass-mesh/windlass/internal/testbed"
	"github.com/windlass-mesh/windlass/mesh"
)

// surveyReal surveys with a client that waits for nobody, and returns what it
// was asked to wait.
func surveyReal(ctx context.Context, t *testing.T, config *rest.Config, o mesh.Options) (s *mesh.Survey, waits []time.Duration) {
	t.Helper()
	o.Wait = func(_ context.Context, d time.Duration) error {
		waits = append(waits, d)
		return nil
	}
	client, err := mesh.NewClient(config, o)
	require.NoError(t, err)
	defer client.CloseIdle()
	return Survey(ctx, &mesh.Cluster{Name: "north", Client: client}, Options{}), waits
}

// Everything that may be wrong with a cluster as a whole, one after another on
// one that begins empty: each is a finding that names it, and none is taken for
// another.
func TestWhatIsWrongWithARealClusterIsAFinding(t *testing.T) {
	ctx, bed := realBed(t)
	north := bed.Cluster("north")
	space, err := north.Namespace(ctx, "faults")
	require.NoError(t, err)

	t.Run("no Linkerd, no CRD", func(t *testing.T) {
		s, _ := surveyReal(ctx, t, north.Config, mesh.Options{})
		assert.True(t, s.Reached)
		assert.Equal(t, []string{"no-linkerd control plane"}, unknowns(s.Unknowns), "that there is no CRD of Links is no finding of its own")
		assert.Contains(t, s.Unknowns[0].Reason, "Linkerd is not installed")
		assert.Empty(t, s.Installations)
		assert.Empty(t, s.Links)
	})

	installReal(ctx, t, north, "linkerd-2.18")
	t.Run("no permission", func(t *testing.T) {
		nobody, err := north.ServiceAccount(ctx, space, "nobody", testbed.Rights{})
		require.NoError(t, err)
		s, _ := surveyReal(ctx, t, nobody, mesh.Options{})
		assert.True(t, s.Reached)
		assert.Empty(t, s.Installations)
		about := unknowns(s.Unknowns)
		assert.Subset(t, about, []string{"forbidden identity of the cluster", "forbidden control planes", "forbidden ConfigMap linkerd/linkerd-config", "forbidden meshed pods", "forbidden deployments"})
		for _, u := range s.Unknowns {
			assert.Equal(t, mesh.CodeForbidden, u.Code, "%s: what may not be seen is not taken for absent", u)
			assert.Contains(t, u.Reason, "system:serviceaccount:"+space+":nobody", "the server says who may not, and what")
		}
	})

	t.Run("credentials that are not accepted", func(t *testing.T) {
		stranger := rest.AnonymousClientConfig(north.Config)
		stranger.BearerToken = "of another cluster"
		s, _ := surveyReal(ctx, t, stranger, mesh.Options{})
		assert.Equal(t, []string{"unauthorized identity of the cluster"}, unknowns(s.Unknowns), "and nothing else is asked")
	})

	t.Run("a server that throttles", func(t *testing.T) {
		config := throttled(ctx, t, north, space)
		s, waits := surveyReal(ctx, t, config, mesh.Options{})
		assert.Equal(t, []string{"throttled identity of the cluster"}, unknowns(s.Unknowns))
		assert.Contains(t, s.Unknowns[0].Reason, "HTTP 429")
		require.NotEmpty(t, waits)
		for _, w := range waits {
			assert.Equal(t, time.Second, w, "as long as its Retry-After says")
		}
		assert.LessOrEqual(t, s.Cost.Requests, int64(6), "it is not hammered")
	})

	t.Run("two Linkerds", func(t *testing.T) {
		_, err := north.Apply(ctx, space, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: linkerd-config}\ndata:\n  values: \"identityTrustAnchorsPEM: x\\n\"\n"))
		require.NoError(t, err)
		s, _ := surveyReal(ctx, t, north.Config, mesh.Options{})
		two := slices.IndexFunc(s.Unknowns, func(u mesh.Unknown) bool { return u.Code == mesh.CodeTwoInstalls })
		require.GreaterOrEqual(t, two, 0, "%v", s.Unknowns)
		assert.Contains(t, s.Unknowns[two].Reason, "linkerd")
		assert.Contains(t, s.Unknowns[two].Reason, space)
		assert.Len(t, s.Installations, 2)
	})

	t.Run("a server that hangs in the middle", func(t *testing.T) {
		config := rest.CopyConfig(north.Config)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return before{next, func(r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/deployments") {
					require.NoError(t, north.API.Pause())
				}
			}}
		})
		defer func() { require.NoError(t, north.API.Resume()) }()
		// Time for a few requests to end by their own timeout; the rest ends with
		// the survey's.
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		s, _ := surveyReal(short, t, config, mesh.Options{Timeout: 300 * time.Millisecond})
		require.NoError(t, ctx.Err(), "it ends when it is told to")
		assert.True(t, s.Reached)
		assert.Len(t, s.Installations, 2, "what was read until then is kept")
		about := unknowns(s.Unknowns)
		assert.Subset(t, about, []string{"timeout deployments", "timeout statefulsets", "timeout Links", "timeout ExternalWorkloads"})
		for _, u := range s.Unknowns {
			assert.Contains(t, []mesh.Code{mesh.CodeTimeout, mesh.CodeTwoInstalls}, u.Code, "%s", u)
		}
	})

	t.Run("a kind that answers 500", func(t *testing.T) {
		linksThatFail(ctx, t, north, space)
		// The server tries for seconds to fill its cache, each time it is asked.
		s, _ := surveyReal(ctx, t, north.Config, mesh.Options{Attempts: 1})
		assert.Equal(t, []string{"two-installs control planes", "server-error Links"}, unknowns(s.Unknowns))
		assert.Contains(t, s.Unknowns[1].Reason, "HTTP 500")
		assert.Contains(t, s.Unknowns[1].Reason, "conversion webhook")
		assert.Len(t, s.Installations, 2, "the rest is read all the same")
	})

	t.Run("a server that is down", func(t *testing.T) {
		north.API.Kill()
		defer func() { require.NoError(t, north.API.Start(ctx)) }()
		s, _ := surveyReal(ctx, t, north.Config, mesh.Options{})
		assert.False(t, s.Reached)
		assert.Equal(t, []string{"unreachable identity of the cluster"}, unknowns(s.Unknowns))
		assert.Contains(t, s.Unknowns[0].Reason, "connection refused")
		assert.EqualValues(t, 1, s.Cost.Requests)
	})
}

// before calls a function ahead of every request.
type before struct {
	next http.RoundTripper
	do   func(*http.Request)
}

func (b before) RoundTrip(r *http.Request) (*http.Response, error) {
	b.do(r)
	return b.next.RoundTrip(r)
}

// throttled returns an account that may read everything, and whose requests the
// server turns away with 429 until the test ends: its flow has no share of the
// server beyond one request at a time, and that one is under way.
func throttled(ctx context.Context, t *testing.T, c *testbed.Cluster, namespace string) *rest.Config {
	t.Helper()
	all := []string{"*"}
	config, err := c.ServiceAccount(ctx, namespace, "throttled", testbed.Rights{
		Everywhere: []rbacv1.PolicyRule{{APIGroups: []string{"", "apps", "batch"}, Resources: all, Verbs: []string{"get", "list"}}},
		In:         map[string][]rbacv1.PolicyRule{namespace: {{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"create"}}}},
	})
	require.NoError(t, err)
	none := int32(0)
	flows := c.Client.FlowcontrolV1()
	_, err = flows.PriorityLevelConfigurations().Create(ctx, &flowv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "nothing"},
		Spec: flowv1.PriorityLevelConfigurationSpec{Type: flowv1.PriorityLevelEnablementLimited, Limited: &flowv1.LimitedPriorityLevelConfiguration{
			NominalConcurrencyShares: &none, BorrowingLimitPercent: &none,
			LimitResponse: flowv1.LimitResponse{Type: flowv1.LimitResponseTypeReject},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	flow, err := flows.FlowSchemas().Create(ctx, &flowv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "throttled"},
		Spec: flowv1.FlowSchemaSpec{
			MatchingPrecedence:         50, // ahead of the server's own
			PriorityLevelConfiguration: flowv1.PriorityLevelConfigurationReference{Name: "nothing"},
			Rules: []flowv1.PolicyRulesWithSubjects{{
				Subjects:      []flowv1.Subject{{Kind: flowv1.SubjectKindServiceAccount, ServiceAccount: &flowv1.ServiceAccountSubject{Namespace: namespace, Name: "throttled"}}},
				ResourceRules: []flowv1.ResourcePolicyRule{{Verbs: all, APIGroups: all, Resources: all, Namespaces: all, ClusterScope: true}},
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	h, err := rest.HTTPClientFor(config)
	require.NoError(t, err)
	// The server learns of the flow through a watch, and says which one a request
	// belonged to.
	require.NoError(t, testbed.Until(ctx, func(context.Context) (bool, error) {
		resp, err := h.Get(c.URL + "/api/v1/namespaces/kube-system")
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		return resp.Header.Get(flowv1.ResponseHeaderMatchedFlowSchemaUID) == string(flow.UID), nil
	}))
	occupy(ctx, t, c, config, namespace)
	return config
}

// occupy has a request of an account under way until the test ends: a webhook
// that must agree to it does not answer.
func occupy(ctx context.Context, t *testing.T, c *testbed.Cluster, config *rest.Config, namespace string) {
	t.Helper()
	entered, release := make(chan struct{}), make(chan struct{})
	webhook := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-release
	}))
	url, policy, effects, patience := webhook.URL, admissionv1.Fail, admissionv1.SideEffectClassNone, int32(30)
	hooks := c.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := hooks.Create(ctx, &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "slow.example.com"},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "slow.example.com", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &policy, SideEffects: &effects, TimeoutSeconds: &patience,
			ClientConfig:   admissionv1.WebhookClientConfig{URL: &url, CABundle: certificatePEM(webhook)},
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"slow": "yes"}},
			Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{"CREATE"},
				Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}}}},
		}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	var under sync.WaitGroup
	t.Cleanup(func() {
		close(release)
		under.Wait()
		webhook.Close()
		require.NoError(t, hooks.Delete(context.WithoutCancel(ctx), "slow.example.com", metav1.DeleteOptions{}))
	})
	for {
		returned := make(chan struct{})
		under.Go(func() {
			defer close(returned)
			// Whether it is made in the end is of no matter.
			_, _ = client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{GenerateName: "slow-", Labels: map[string]string{"slow": "yes"}}}, metav1.CreateOptions{})
		})
		select {
		case <-entered:
			return
		case <-returned: // the server does not know of the webhook yet
		case <-ctx.Done():
			require.NoError(t, ctx.Err())
		}
	}
}

func certificatePEM(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// linksThatFail has the server answer 500 when Links are listed in their newest
// version: they are stored in another, and what should convert them does not.
func linksThatFail(ctx context.Context, t *testing.T, c *testbed.Cluster, namespace string) {
	t.Helper()
	// It answers, as the server would try one that does not for seconds.
	converter := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(converter.Close)
	crd := &unstructured.Unstructured{}
	text := strings.NewReplacer("v1alpha1, served: true, storage: false", "v1alpha1, served: true, storage: true",
		"v1alpha2, served: true, storage: true", "v1alpha2, served: true, storage: false").Replace(linkCRD)
	require.NoError(t, yaml.Unmarshal([]byte(text), &crd.Object))
	require.NoError(t, unstructured.SetNestedField(crd.Object, map[string]any{
		"strategy": "Webhook",
		"webhook": map[string]any{
			"conversionReviewVersions": []any{"v1"},
			"clientConfig":             map[string]any{"url": converter.URL + "/convert", "caBundle": base64.StdEncoding.EncodeToString(certificatePEM(converter))},
		},
	}, "spec", "conversion"))
	_, err := c.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).Create(ctx, crd, metav1.CreateOptions{})
	require.NoError(t, err)
	links := schema.GroupVersionResource{Group: linkGroup, Version: "v1alpha1", Resource: "links"}
	link := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": linkGroup + "/v1alpha1", "kind": "Link", "metadata": map[string]any{"name": "west"}, "spec": map[string]any{},
	}}
	require.NoError(t, testbed.Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := c.Dynamic.Resource(links).Namespace(namespace).Create(ctx, link, metav1.CreateOptions{})
		return err == nil, nil // the kind is served a moment after its definition is there
	}))
}
