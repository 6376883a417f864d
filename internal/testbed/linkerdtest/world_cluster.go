package linkerdtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Cluster is one cluster of a World.
type Cluster struct {
	Name string

	world   *World
	options Options
	number  int

	roots, issuer, config *Object
	lag                   time.Duration

	pods   []*Pod // those that exist, in the order they were made
	made   int
	asked  int // which injector is next
	events []Event
}

// WriteRoots replaces the anchors in ConfigMap linkerd-identity-trust-roots.
func (c *Cluster) WriteRoots(pem string) {
	c.roots.Write(map[string][]byte{TrustRootsKey: []byte(pem)})
}

// WriteIssuer replaces the issuer in Secret linkerd-identity-issuer.
func (c *Cluster) WriteIssuer(crt, key string) {
	names := IdentityConfig{Scheme: c.options.Scheme}
	crtName, keyName := names.issuerNames()
	c.issuer.Write(map[string][]byte{crtName: []byte(crt), keyName: []byte(key)})
}

// SetLag changes how far the kubelet lags behind for what is started from now on.
func (c *Cluster) SetLag(lag time.Duration) { c.lag = lag }

// Events returns what the identities have recorded.
func (c *Cluster) Events() []Event { return slices.Clone(c.events) }

// Reasons counts the events by their reason.
func (c *Cluster) Reasons() map[string]int {
	out := make(map[string]int)
	for _, e := range c.events {
		out[e.Reason]++
	}
	return out
}

// Pods returns the pods of a workload, oldest first.
func (c *Cluster) Pods(namespace, workload string) []*Pod {
	var out []*Pod
	for _, p := range c.pods {
		if p.Namespace == namespace && p.Workload == workload {
			out = append(out, p)
		}
	}
	return out
}

// Deploy makes n pods of a workload, one after another.
func (c *Cluster) Deploy(namespace, workload string, n int) []*Pod {
	var out []*Pod
	for range n {
		out = append(out, c.start(namespace, workload, nil))
	}
	return out
}

// DeployManual makes a pod whose sidecar stands in its template with literal
// anchors (linkerd inject --manual): the injector leaves it alone, and so does
// Restart.
func (c *Cluster) DeployManual(namespace, workload, anchors string) *Pod {
	return c.start(namespace, workload, &anchors)
}

// Restart replaces the pods of a workload one at a time, a new one before an old
// one goes. A new one that does not get ready ends it, as it ends a rollout.
func (c *Cluster) Restart(namespace, workload string) error {
	for _, old := range c.Pods(namespace, workload) {
		p := c.start(namespace, workload, old.manual)
		if err := p.notReady(); err != nil {
			return fmt.Errorf("%s/%s: %w", namespace, p.Name, err)
		}
		c.Delete(old)
	}
	return nil
}

// Delete ends a pod.
func (c *Cluster) Delete(p *Pod) {
	p.end()
	c.pods = slices.DeleteFunc(c.pods, func(q *Pod) bool { return q == p })
}

func (c *Cluster) start(namespace, workload string, manual *string) *Pod {
	c.made++
	p := &Pod{
		Namespace: namespace, Workload: workload, Name: fmt.Sprintf("%s-%d", workload, c.made),
		IP: fmt.Sprintf("127.%d.%d.%d", c.number, c.made/250, c.made%250+1), cluster: c, manual: manual,
	}
	c.pods = append(c.pods, p)
	p.begin()
	return p
}

func (c *Cluster) controlPlane(p *Pod) bool {
	return p.Namespace == c.options.Namespace && slices.Contains([]string{Identities, Destinations, Injectors}, p.Workload)
}

// inject has an injector see a new pod. Without one that answers, or with an
// error of the injector's own, the pod comes up without a sidecar or not at all.
func (c *Cluster) inject(p *Pod) (*Injection, error) {
	var running []*Pod
	for _, q := range c.pods {
		if q.Injector != nil && !q.unreachable && q.notReady() == nil {
			running = append(running, q)
		}
	}
	if len(running) == 0 {
		if c.options.FailClosed {
			return nil, fmt.Errorf("failed calling webhook %q: connection refused", "linkerd-proxy-injector.linkerd.io")
		}
		return &Injection{Skipped: "the webhook could not be called and failurePolicy is Ignore"}, nil
	}
	c.asked++
	return running[c.asked%len(running)].Injector.Inject(context.Background(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace},
		Spec:       corev1.PodSpec{ServiceAccountName: p.Workload, Containers: []corev1.Container{{Name: p.Workload}}},
	})
}

// identities returns where identity is ready, as DNS would.
func (c *Cluster) identities(string) []string {
	var out []string
	for _, p := range c.pods {
		if p.Identity != nil && p.notReady() == nil {
			out = append(out, p.IP)
		}
	}
	return out
}

// validate plays the API server's TokenReview: a token is its bearer's name.
func (c *Cluster) validate(_ context.Context, token []byte) (string, error) {
	account, ns, ok := strings.Cut(string(token), ".")
	if !ok {
		return "", NotAuthenticated{}
	}
	return serviceIdentity(account, ns, c.options.Namespace, c.options.TrustDomain), nil
}

func (c *Cluster) record(e Event) { c.events = append(c.events, e) }
