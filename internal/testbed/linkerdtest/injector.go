package linkerdtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// InjectorConfig is what an injector process finds when its container starts.
type InjectorConfig struct {
	Release   Release
	Namespace string // of the control plane
	// TrustRoots and Values are read anew for each pod (2.11 and later);
	// /var/run/linkerd/identity/trust-roots and /var/run/linkerd/config.
	TrustRoots, Values Dir
	// Serving holds tls.crt and tls.key, which are read at the start and whenever
	// ServingChanged is told: /var/run/linkerd/tls.
	Serving Dir
	// NamespaceAnnotations returns those of a namespace, from the API.
	NamespaceAnnotations func(ctx context.Context, namespace string) (map[string]string, error)
	// Owner returns kind and name of the workload of a pod, following a ReplicaSet
	// to its Deployment. Nil means that no pod has one.
	Owner func(ctx context.Context, pod *corev1.Pod) (kind, name string)
	// Log receives what the process logs. Nil drops it.
	Log func(line string)
}

// Injector is one replica of the mutating webhook of linkerd-proxy-injector.
type Injector struct {
	cfg    InjectorConfig
	server *http.Server

	mu      sync.Mutex
	serving *tls.Certificate
	asked   int
}

// values are those of the chart that matter to a pod (ConfigMap linkerd-config,
// key values).
type values struct {
	ClusterDomain       string `json:"clusterDomain"`
	IdentityTrustDomain string `json:"identityTrustDomain"`
	LinkerdVersion      string `json:"linkerdVersion"`
	Proxy               struct {
		Await bool `json:"await"`
		Image struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"image"`
		NativeSidecar bool            `json:"nativeSidecar"`
		AdditionalEnv []corev1.EnvVar `json:"additionalEnv"`
	} `json:"proxy"`
}

// StartInjector starts a replica. An error is what the process exits with.
func StartInjector(cfg InjectorConfig) (*Injector, error) {
	if cfg.Log == nil {
		cfg.Log = func(string) {}
	}
	i := &Injector{cfg: cfg}
	if cfg.Serving != nil {
		if err := i.loadServing(); err != nil {
			return nil, fatal(err, "failed to read TLS secrets: %s", err)
		}
	}
	// One connection carries one request, so that replicas take turns.
	i.server = &http.Server{Handler: i, ErrorLog: log.New(logWriter(cfg.Log), "", 0), TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	i.server.SetKeepAlivesEnabled(false)
	return i, nil
}

// Serve answers the API server on a listener until Stop.
func (i *Injector) Serve(l net.Listener) error {
	err := i.server.Serve(tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			i.mu.Lock()
			defer i.mu.Unlock()
			return i.serving, nil
		},
	}))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Stop ends the process.
func (i *Injector) Stop() { i.server.Close() }

// logWriter makes lines of what is written to a log.
type logWriter func(string)

func (w logWriter) Write(b []byte) (int, error) {
	w(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// ServingChanged tells that the files of the serving certificate have changed.
// Until then the replica serves with the one that it has, even where the webhook
// configuration asks for another already: the API server then cannot reach it,
// and failurePolicy decides (linkerd2 controller/webhook/server.go and
// pkg/tls/creds_watcher.go).
func (i *Injector) ServingChanged() {
	if err := i.loadServing(); err != nil {
		i.cfg.Log(fmt.Sprintf("Could not process updated certs: %s", err))
	}
}

func (i *Injector) loadServing() error {
	crt, err := i.cfg.Serving.ReadFile("tls.crt")
	if err != nil {
		return err
	}
	key, err := i.cfg.Serving.ReadFile("tls.key")
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(crt, key)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serving = &pair
	return nil
}

// Serving returns the certificate that the replica serves with, nil without one.
func (i *Injector) Serving() *x509.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.serving == nil {
		return nil
	}
	return i.serving.Leaf
}

// Asked counts the reviews that were answered.
func (i *Injector) Asked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// ServeHTTP answers an AdmissionReview.
func (i *Injector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const most = 16 << 20
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review := admissionv1.AdmissionReview{}
	if err := json.Unmarshal(body, &review); err != nil || review.Request == nil {
		http.Error(w, "not an AdmissionReview", http.StatusBadRequest)
		return
	}
	answer := admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: i.Review(r.Context(), review.Request)}
	jsonAnswer(w, http.StatusOK, answer)
}

// Review answers one request. An error of the injector's own refuses the pod; it
// is no failure of the webhook (controller/webhook/server.go, processReq).
func (i *Injector) Review(ctx context.Context, req *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
	i.mu.Lock()
	i.asked++
	i.mu.Unlock()
	resp := &admissionv1.AdmissionResponse{UID: req.UID, Allowed: true}
	if req.Kind.Kind != "Pod" {
		return resp
	}
	refuse := func(err error) *admissionv1.AdmissionResponse {
		resp.Allowed, resp.Result = false, &metav1.Status{Message: err.Error()}
		return resp
	}
	var pod corev1.Pod
	if err := json.Unmarshal(req.Object.Raw, &pod); err != nil {
		return refuse(err)
	}
	pod.Namespace = req.Namespace
	in, err := i.Inject(ctx, &pod)
	if err != nil {
		return refuse(err)
	}
	if in.Skipped != "" {
		i.cfg.Log(fmt.Sprintf("skipped pod/%s: %s", pod.Name+pod.GenerateName, in.Skipped))
		return resp
	}
	patch, err := json.Marshal(in.patch(&pod))
	if err != nil {
		return refuse(err)
	}
	kind := admissionv1.PatchTypeJSONPatch
	resp.Patch, resp.PatchType = patch, &kind
	return resp
}

// Injection is what the injector does to a pod.
type Injection struct {
	// Skipped says why nothing is done, "" if something is.
	Skipped             string
	Labels, Annotations map[string]string
	Init                *corev1.Container // linkerd-init
	Sidecar             corev1.Container
	Native              bool // the sidecar is an init container that keeps running
	First               bool // the sidecar stands before the pod's own containers
	Volumes             []corev1.Volume
}

// Inject decides about a pod as it is created and says what is to be added
// (linkerd2 controller/proxy-injector/webhook.go, Inject).
func (i *Injector) Inject(ctx context.Context, pod *corev1.Pod) (*Injection, error) {
	text, err := i.cfg.Values.ReadFile("values")
	if err != nil {
		return nil, err
	}
	var v values
	v.Proxy.Await = true // the chart's default, which old values lack
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	roots, err := i.cfg.TrustRoots.ReadFile(TrustRootsKey)
	if err != nil {
		return nil, err
	}
	namespace, err := i.cfg.NamespaceAnnotations(ctx, pod.Namespace)
	if err != nil {
		return nil, err
	}
	if reason := skip(pod, namespace); reason != "" {
		return &Injection{Skipped: reason}, nil
	}
	var kind, name string
	if i.cfg.Owner != nil {
		kind, name = i.cfg.Owner(ctx, pod)
	}
	return i.injection(pod, namespace, &v, roots, kind, name)
}
