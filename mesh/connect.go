package mesh

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// ErrNoContext means that a kubeconfig has no context of the name asked for.
var ErrNoContext = errors.New("no such context")

// Kubeconfig is where contexts are looked up: the file given, or with "" what
// kubectl would use (KUBECONFIG, then the home directory).
type Kubeconfig struct{ Path string }

func (k Kubeconfig) rules() *clientcmd.ClientConfigLoadingRules {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = k.Path
	return rules
}

// Contexts returns the names of all contexts and that of the current one.
func (k Kubeconfig) Contexts() (names []string, current string, err error) {
	config, err := k.rules().Load()
	if err != nil {
		return nil, "", fmt.Errorf("read the kubeconfig: %w", err)
	}
	for name := range config.Contexts {
		names = append(names, name)
	}
	return names, config.CurrentContext, nil
}

// Config returns the configuration of a context, of the current one with "".
// These are the operator's own credentials: plugins in them are run, as kubectl
// would. Credentials of a Link are another matter (package linkerd).
func (k Kubeconfig) Config(context string) (*rest.Config, error) {
	loaded, err := k.rules().Load()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	if context == "" {
		context = loaded.CurrentContext
	}
	if loaded.Contexts[context] == nil {
		return nil, fmt.Errorf("context %q: %w", context, ErrNoContext)
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*loaded, context, &clientcmd.ConfigOverrides{}, k.rules()).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", context, err)
	}
	return config, nil
}

// InCluster returns the configuration of a pod's own service account.
func InCluster() (*rest.Config, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("in-cluster configuration: %w", err)
	}
	return config, nil
}

// Identity is what tells clusters apart.
type Identity struct {
	// UID is that of the namespace kube-system. "" where it may not be read.
	UID string
	// ServiceUID is that of the Service default/kubernetes, which the stock
	// credentials of a Link can read: Links are matched by it.
	ServiceUID string
}

// Same reports whether both are known to be the same cluster.
func (i Identity) Same(other Identity) bool {
	return i.UID != "" && i.UID == other.UID || i.ServiceUID != "" && i.ServiceUID == other.ServiceUID
}

// ReadIdentity reads who a cluster is. Where only one half may be read, it
// returns that together with the error about the other.
func ReadIdentity(ctx context.Context, c *Client) (Identity, error) {
	var id Identity
	var namespace, service Object
	nsErr := c.Get(ctx, Namespaces, "", "kube-system", &namespace)
	id.UID = namespace.Metadata.UID
	if errors.Is(nsErr, ErrUnreachable) || errors.Is(nsErr, ErrTimeout) {
		return id, nsErr // the second would only take as long again
	}
	svcErr := c.Get(ctx, Services, "default", "kubernetes", &service)
	id.ServiceUID = service.Metadata.UID
	return id, errors.Join(nsErr, svcErr)
}

// Cluster is a member of a fleet.
type Cluster struct {
	// Name is how people call it: the context's name, or what a fleet file says.
	Name string
	Identity
	Client *Client
}

// Open makes a cluster of a configuration and reads its identity. A cluster
// that does not answer is returned with the error: it still is a member.
func Open(ctx context.Context, name string, config *rest.Config, opts Options) (*Cluster, error) {
	client, err := NewClient(config, opts)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	c := &Cluster{Name: name, Client: client}
	if c.Identity, err = ReadIdentity(ctx, client); err != nil {
		return c, fmt.Errorf("cluster %s: %w", name, err)
	}
	return c, nil
}
