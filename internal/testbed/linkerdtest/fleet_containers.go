package linkerdtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windlass-mesh/windlass/internal/testbed"
)

// Ports of the control plane's containers, and where they mount what.
const (
	identityAdminPort = "9990"
	injectorPort      = "8443"

	dirTrustRoots = "/var/run/linkerd/identity/trust-roots"
	dirIssuer     = "/var/run/linkerd/identity/issuer"
	dirConfig     = "/var/run/linkerd/config"
	dirServing    = "/var/run/linkerd/tls"
)

// mounted is a directory of a container, as its node has it.
type mounted struct {
	ctx context.Context
	run *testbed.Container
	dir string
}

// ReadFile implements Dir.
func (m mounted) ReadFile(name string) ([]byte, error) {
	return m.run.ReadFile(m.ctx, path.Join(m.dir, name))
}

// startProxy runs a sidecar. It is started aside, since its first leaf may take
// its time; its failure ends the run.
func (r *podRuntime) startProxy(ctx context.Context, p *runningPod, run *testbed.Container) (stop func(), err error) {
	o := run.Pod.Object
	started := make(chan *Proxy, 1)
	done := r.fleet.Clock.Begin()
	go func() {
		defer done()
		proxy, err := startProxy(ProxyConfig{
			Cluster: r.cluster.Name, Pod: o.Namespace + "/" + o.Name, Release: releaseOf(o),
			Clock: r.fleet.Clock, Network: Loopback{}, IP: run.Pod.Loopback, Env: run.Env,
			Token:   func(context.Context) ([]byte, error) { return run.ReadFile(ctx, run.Env[EnvTokenFile]) },
			Resolve: r.identities,
			Backend: func(ctx context.Context) (net.Conn, error) {
				r.mu.Lock()
				id := p.identity
				r.mu.Unlock()
				if id == nil {
					return nil, errors.New("connection refused")
				}
				return id.dial(ctx)
			},
			Changes: r.fleet.Ledger, Log: r.fleet.log,
		}, r.fleet.chains)
		if err != nil {
			started <- nil
			r.logf(run, "%v", err)
			run.Exit(1)
			return
		}
		started <- proxy
		r.runs(ctx, p, run, proxy)
	}()
	return func() {
		if proxy := <-started; proxy != nil {
			started <- nil // for whoever stops it again
			r.mu.Lock()
			if p.proxy == proxy {
				p.proxy = nil
			}
			r.mu.Unlock()
			proxy.Stop()
			r.fleet.Ledger.Remove(proxy)
			return
		}
		started <- nil
	}, nil
}

// runs makes a started proxy known, and its run ready with the first leaf.
func (r *podRuntime) runs(ctx context.Context, p *runningPod, run *testbed.Container, proxy *Proxy) {
	r.fleet.Ledger.Add(proxy)
	r.mu.Lock()
	p.proxy = proxy
	isIdentity := p.identity != nil
	r.mu.Unlock()
	ready := func() {
		run.SetReady(true)
		if isIdentity {
			r.wake()
		}
	}
	if proxy.WhenReady(ready) {
		return
	}
	stop := r.fleet.Clock.AfterFunc(awaitLeaf, func() {
		if !proxy.Ready() {
			r.logf(run, "no certificate within %s: %v", awaitLeaf, proxy.Err())
			run.Exit(1)
		}
	})
	context.AfterFunc(ctx, stop)
}

// startIdentity runs the container identity of linkerd-identity.
func (r *podRuntime) startIdentity(ctx context.Context, p *runningPod, run *testbed.Container) (stop func(), err error) {
	cfg, err := identityArgs(run)
	if err != nil {
		return nil, err
	}
	cfg.Release, cfg.Clock = releaseOf(run.Pod.Object), r.fleet.Clock
	cfg.TrustRoots, cfg.Issuer = mounted{ctx, run, dirTrustRoots}, mounted{ctx, run, dirIssuer}
	cfg.Log = func(line string) { r.logf(run, "%s", line) }
	cfg.Record = r.record
	cfg.Validate = func(ctx context.Context, token []byte) (string, error) {
		return r.review(ctx, string(token), cfg.Namespace, cfg.TrustDomain)
	}
	id, err := StartIdentity(cfg)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(run.Pod.Loopback, identityAdminPort))
	if err != nil {
		id.Stop()
		return nil, err
	}
	admin := &http.Server{Handler: id}
	go admin.Serve(l)
	go follow(ctx, run, id.IssuerChanged)
	r.mu.Lock()
	p.identity = id
	proxy := p.proxy
	r.mu.Unlock()
	run.SetReady(true)
	if proxy != nil { // it came up first
		done := r.fleet.Clock.Begin()
		go func() {
			defer done()
			proxy.Retry()
			r.wake()
		}()
	}
	return func() {
		r.mu.Lock()
		if p.identity == id {
			p.identity = nil
		}
		r.mu.Unlock()
		admin.Close()
		id.Stop()
	}, nil
}

// identityArgs reads the arguments of the container; those that have nothing to do
// with certificates are passed over.
func identityArgs(run *testbed.Container) (cfg IdentityConfig, err error) {
	// Without its argument the skew is that of pkg/tls/ca.go, not the chart's.
	cfg = IdentityConfig{Namespace: run.Pod.Object.Namespace, TrustDomain: "cluster.local", Lifetime: DefaultLifetime, Skew: 10 * time.Second}
	for _, arg := range run.Args {
		name, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch name {
		case "controller-namespace":
			cfg.Namespace = value
		case "identity-trust-domain":
			cfg.TrustDomain = value
		case "identity-scheme":
			cfg.Scheme = value
		case "identity-issuance-lifetime":
			cfg.Lifetime, err = time.ParseDuration(value)
		case "identity-clock-skew-allowance":
			cfg.Skew, err = time.ParseDuration(value)
		}
		if err != nil {
			return cfg, fmt.Errorf("argument %s: %w", arg, err)
		}
	}
	return cfg, nil
}

// startInjector runs the container proxy-injector.
func (r *podRuntime) startInjector(ctx context.Context, p *runningPod, run *testbed.Container) (stop func(), err error) {
	serving := mounted{ctx, run, dirServing}
	i, err := StartInjector(InjectorConfig{
		Release: releaseOf(run.Pod.Object), Namespace: run.Pod.Object.Namespace,
		TrustRoots: mounted{ctx, run, dirTrustRoots}, Values: mounted{ctx, run, dirConfig}, Serving: serving,
		NamespaceAnnotations: func(ctx context.Context, name string) (map[string]string, error) {
			ns, err := r.cluster.Client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return nil, err
			}
			return ns.Annotations, nil
		},
		Owner: r.owner,
		Log:   func(line string) { r.logf(run, "%s", line) },
	})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(run.Pod.Loopback, injectorPort))
	if err != nil {
		return nil, err
	}
	go func() {
		if err := i.Serve(l); err != nil {
			r.logf(run, "%v", err)
		}
	}()
	was := digest(serving, "tls.crt", "tls.key")
	go follow(ctx, run, func() {
		if is := digest(serving, "tls.crt", "tls.key"); is != was {
			was = is
			i.ServingChanged()
		}
	})
	r.mu.Lock()
	p.injector = i
	r.mu.Unlock()
	run.SetReady(true)
	return func() {
		r.mu.Lock()
		if p.injector == i {
			p.injector = nil
		}
		r.mu.Unlock()
		i.Stop()
	}, nil
}

// follow tells of changes to the volumes of a pod until the run ends.
func follow(ctx context.Context, run *testbed.Container, changed func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-run.VolumesChanged():
			changed()
		}
	}
}

func digest(d Dir, names ...string) ID {
	hash := sha256.New()
	for _, name := range names {
		b, err := d.ReadFile(name)
		fmt.Fprintf(hash, "%d %v ", len(b), err)
		hash.Write(b)
	}
	return ID(hash.Sum(nil))
}

// review asks the API server whose token it is (linkerd2
// controller/identity/validator.go).
func (r *podRuntime) review(ctx context.Context, token, namespace, trustDomain string) (string, error) {
	got, err := r.cluster.Client.AuthenticationV1().TokenReviews().Create(ctx, &authnv1.TokenReview{
		Spec: authnv1.TokenReviewSpec{Token: token, Audiences: []string{TokenAudience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	if got.Status.Error != "" {
		return "", InvalidToken{got.Status.Error}
	}
	if !got.Status.Authenticated {
		return "", NotAuthenticated{}
	}
	user := strings.Split(got.Status.User.Username, ":")
	if len(user) != 4 || user[0] != "system" || user[1] != "serviceaccount" {
		return "", InvalidToken{"Username must be in form system:TYPE:NS:SA: " + got.Status.User.Username}
	}
	return serviceIdentity(user[3], user[2], namespace, trustDomain), nil
}

// record makes an Event of the API of it.
func (r *podRuntime) record(e Event) {
	done := r.fleet.Clock.Begin()
	go func() {
		defer done()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		at := metav1.NewTime(e.At)
		_, err := r.cluster.Client.CoreV1().Events(e.Object.Namespace).Create(ctx, &corev1.Event{
			ObjectMeta: metav1.ObjectMeta{GenerateName: e.Object.Name + ".", Namespace: e.Object.Namespace},
			InvolvedObject: corev1.ObjectReference{
				APIVersion: e.Object.APIVersion, Kind: e.Object.Kind, Namespace: e.Object.Namespace, Name: e.Object.Name,
			},
			Type: e.Type, Reason: e.Reason, Message: e.Message, Count: 1, FirstTimestamp: at, LastTimestamp: at,
			Source: corev1.EventSource{Component: Identities},
		}, metav1.CreateOptions{})
		if err != nil {
			r.fleet.log(fmt.Sprintf("record %s: %v", e.Reason, err))
		}
	}()
}

// owner follows a pod to its workload (linkerd2 controller/k8s/metadata_api.go,
// GetOwnerKindAndName).
func (r *podRuntime) owner(ctx context.Context, pod *corev1.Pod) (kind, name string) {
	ref := metav1.GetControllerOf(pod)
	if ref == nil {
		return "", ""
	}
	if ref.Kind == "ReplicaSet" {
		rs, err := r.cluster.Client.AppsV1().ReplicaSets(pod.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if err == nil {
			if above := metav1.GetControllerOf(rs); above != nil {
				ref = above
			}
		}
	}
	return ref.Kind, ref.Name
}
