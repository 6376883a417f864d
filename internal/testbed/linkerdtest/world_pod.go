package linkerdtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Pod is a pod of a World: a sidecar, and beside it what the workload is. Its
// ServiceAccount has the name of the workload.
type Pod struct {
	Namespace, Workload, Name string
	IP                        string
	// Proxy is the sidecar's process, nil where there is none or it has ended.
	Proxy *Proxy
	// Identity and Injector are the process of such a pod, while it runs.
	Identity *Identity
	Injector *Injector
	// Unmeshed says why there is no sidecar, "" where there is one.
	Unmeshed string

	cluster *Cluster
	manual  *string // the literal anchors of the template
	anchors *string // those of the pod's spec; nil for a reference to the ConfigMap
	// roots and issuer are mounted; they outlive the containers.
	roots, issuer, config *Mount
	unreachable           bool
	err                   error // why a container does not run
	crashes               int   // in a row
	deleted               bool
	stops                 []func()
}

// Kubelets wait so long before they start a container again, doubling each time
// (pkg/kubelet, MaxContainerBackOff), and linkerd-await and the startup probe
// allow a proxy so long for its first leaf.
const (
	backoff    = 10 * time.Second
	maxBackoff = 5 * time.Minute
	awaitLeaf  = 2 * time.Minute
)

// Err returns why a container of the pod does not run, nil if all do.
func (p *Pod) Err() error { return p.err }

// SetLag changes how far the mounted files lag behind for this pod alone, from
// now on and for changes that it does not show yet.
func (p *Pod) SetLag(lag time.Duration) {
	for _, m := range []*Mount{p.roots, p.issuer, p.config} {
		if m != nil {
			m.SetLag(lag)
		}
	}
}

// SetUnreachable makes the API server fail to call this injector, as with a
// serving certificate that its webhook configuration does not trust.
func (p *Pod) SetUnreachable(yes bool) { p.unreachable = yes }

// RestartContainers restarts all containers in place: new processes in the old
// pod, whose volumes and literal environment stay what they are.
func (p *Pod) RestartContainers() {
	p.stop()
	p.run()
}

// begin is the start of the pod: its sidecar is decided on, its volumes mounted.
func (p *Pod) begin() {
	c := p.cluster
	lag := c.lag
	switch p.Workload {
	case Identities:
		p.issuer = c.issuer.Mount("/var/run/linkerd/identity/issuer", lag)
		p.roots = c.roots.Mount("/var/run/linkerd/identity/trust-roots", lag)
	case Injectors:
		p.config = c.config.Mount("/var/run/linkerd/config", lag)
		p.roots = c.roots.Mount("/var/run/linkerd/identity/trust-roots", lag)
	}
	switch {
	case c.controlPlane(p):
	case p.manual != nil:
		p.anchors = p.manual
	default:
		in, err := c.inject(p)
		if err != nil {
			p.err, p.Unmeshed = err, err.Error()
			return
		}
		if in.Skipped != "" {
			p.Unmeshed = in.Skipped
			return
		}
		for _, e := range in.Sidecar.Env {
			if e.Name == EnvTrustAnchors {
				p.anchors = &e.Value
			}
		}
	}
	p.run()
}

// run starts the containers.
func (p *Pod) run() {
	if p.deleted || p.Unmeshed != "" {
		return
	}
	if p.err = p.containers(); p.err != nil {
		p.stop()
		p.crashed()
		return
	}
	if p.Proxy.Ready() {
		p.crashes = 0
		return
	}
	proxy := p.Proxy
	p.later(awaitLeaf, func() {
		switch {
		case p.Proxy != proxy:
		case proxy.Ready():
			p.crashes = 0
		default:
			p.stop()
			p.err = fmt.Errorf("no certificate within %s: %w", awaitLeaf, proxy.Err())
			p.crashed()
		}
	})
}

// crashed lets the containers start again after a while.
func (p *Pod) crashed() {
	wait := min(backoff<<min(p.crashes, 10), maxBackoff)
	p.crashes++
	p.later(wait, p.run)
}

func (p *Pod) later(d time.Duration, f func()) {
	p.stops = append(p.stops, p.cluster.world.Clock.AfterFunc(d, f))
}

func (p *Pod) containers() error {
	c := p.cluster
	var backend func(context.Context) (net.Conn, error)
	var err error
	switch p.Workload {
	case Identities:
		p.Identity, err = StartIdentity(IdentityConfig{
			Release: c.options.Release, Clock: c.world.Clock, Namespace: c.options.Namespace, TrustDomain: c.options.TrustDomain,
			Scheme: c.options.Scheme, Lifetime: c.options.Lifetime, Skew: c.options.Skew,
			TrustRoots: p.roots, Issuer: p.issuer, Validate: c.validate, Record: c.record, Log: c.world.log,
		})
		if err != nil {
			return err
		}
		backend = p.Identity.dial
		p.issuer.Watch(p.Identity.IssuerChanged)
	case Injectors:
		p.Injector, err = StartInjector(InjectorConfig{
			Release: c.options.Release, Namespace: c.options.Namespace, TrustRoots: p.roots, Values: p.config,
			NamespaceAnnotations: func(context.Context, string) (map[string]string, error) {
				return map[string]string{AnnotationInject: "enabled"}, nil
			},
			Log: c.world.log,
		})
		if err != nil {
			return err
		}
	}
	env, err := p.env()
	if err != nil {
		return err
	}
	proxy, err := startProxy(ProxyConfig{
		Cluster: c.Name, Pod: p.Namespace + "/" + p.Name, Release: c.options.Release,
		Clock: c.world.Clock, Network: &c.world.network, IP: p.IP, Env: env,
		Token:   func(context.Context) ([]byte, error) { return []byte(p.Workload + "." + p.Namespace), nil },
		Resolve: c.identities, Backend: backend, Changes: c.world.Ledger, Log: c.world.log,
	}, c.world.chains)
	if err != nil {
		return err
	}
	c.world.Ledger.Add(proxy)
	p.Proxy = proxy
	return nil
}

// env is the environment as the sidecar's container starts: the control plane's
// anchors are looked up then, a workload's are part of the pod.
func (p *Pod) env() (map[string]string, error) {
	c, o := p.cluster, p.cluster.options
	env := map[string]string{
		EnvLocalName:    serviceIdentity(p.Workload, p.Namespace, o.Namespace, o.TrustDomain),
		EnvIdentityName: serviceIdentity(Identities, o.Namespace, o.Namespace, o.TrustDomain),
		EnvIdentityAddr: "linkerd-identity-headless." + o.Namespace + ".svc.cluster.local.:8080",
	}
	if p.Workload == Identities {
		env[EnvIdentityAddr] = "localhost.:8080"
	}
	if p.anchors != nil {
		env[EnvTrustAnchors] = *p.anchors
		return env, nil
	}
	text, ok := c.roots.At(c.lag)[TrustRootsKey]
	if !ok {
		return nil, errors.New("CreateContainerConfigError: couldn't find key " + TrustRootsKey)
	}
	env[EnvTrustAnchors] = string(text)
	return env, nil
}

// stop ends the containers.
func (p *Pod) stop() {
	for _, f := range p.stops {
		f()
	}
	p.stops = nil
	if p.Proxy != nil {
		p.Proxy.Stop()
		p.cluster.world.Ledger.Remove(p.Proxy)
		p.Proxy = nil
	}
	if p.Identity != nil {
		p.Identity.Stop()
		p.Identity = nil
	}
	if p.Injector != nil {
		p.Injector.Stop()
		p.Injector = nil
	}
}

// end is the end of the pod.
func (p *Pod) end() {
	p.deleted = true
	p.stop()
	for _, m := range []*Mount{p.roots, p.issuer, p.config} {
		if m != nil {
			m.Close()
		}
	}
}

// notReady says why the pod is not ready, nil if it is. A pod without a sidecar
// is.
func (p *Pod) notReady() error {
	switch {
	case p.err != nil:
		return p.err
	case p.Unmeshed != "":
		return nil
	case p.Proxy == nil:
		return errors.New("starting")
	case !p.Proxy.Ready():
		return fmt.Errorf("no certificate: %w", p.Proxy.Err())
	}
	return nil
}

// String returns cluster, namespace and name.
func (p *Pod) String() string {
	return strings.Join([]string{p.cluster.Name, p.Namespace, p.Name}, "/")
}
