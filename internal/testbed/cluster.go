package testbed

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// Cluster is one Kubernetes cluster of a bed.
type Cluster struct {
	// Name is its name in the bed and its context in the kubeconfig.
	Name string
	// URL is where its API server listens.
	URL string
	// Config reaches it with all rights and without a rate limit. It is shared:
	// copy it (rest.CopyConfig) before changing it.
	Config *rest.Config
	// Client and Dynamic are clients of Config.
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// API is its API server and Controllers its controller manager. Both can be
	// stopped, killed, frozen and started again; addresses and data stay.
	API, Controllers *Process
	// Kubelet stands in for scheduler and nodes; nil without nodes.
	Kubelet *Kubelet

	index int
	dir   string
	port  *port
	ca    *authority

	mapperMu sync.Mutex
	mapper   *restmapper.DeferredDiscoveryRESTMapper
}

// newCluster prepares a cluster without starting anything.
func (b *Bed) newCluster(name string, index int) (_ *Cluster, err error) {
	c := &Cluster{Name: name, index: index, dir: filepath.Join(b.space.dir, name)}
	if c.port, err = reservePort(); err != nil {
		return nil, err
	}
	c.URL = fmt.Sprintf("https://127.0.0.1:%d", c.port.number)
	if c.ca, err = newAuthority(name, b.options.Now()); err != nil {
		return nil, err
	}
	if err := c.prepare(c.ca); err != nil {
		return nil, err
	}
	admin, err := c.ca.issue(adminUser, []string{"system:masters"}, nil)
	if err != nil {
		return nil, err
	}
	c.Config = c.restConfig(c.ca, admin, "windlass-testbed")
	if c.Client, err = kubernetes.NewForConfig(c.Config); err != nil {
		return nil, err
	}
	if c.Dynamic, err = dynamic.NewForConfig(c.Config); err != nil {
		return nil, err
	}
	etcdURL := fmt.Sprintf("http://127.0.0.1:%d", b.etcdPort.number)
	c.API = c.newAPIServer(b.bin, etcdURL, b.options.APIServerFlags)
	c.Controllers = c.newControllers(b.bin, b.options.ControllerFlags)
	if b.options.Nodes > 0 {
		user, err := c.ca.issue(kubeletUser, []string{"system:masters"}, nil)
		if err != nil {
			return nil, err
		}
		config := c.restConfig(c.ca, user, "windlass-testbed-kubelet")
		config.ContentType = "application/vnd.kubernetes.protobuf"
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		runtime := PodRuntime(AlwaysReady{})
		if b.options.Runtime != nil {
			runtime = b.options.Runtime(c)
		}
		c.Kubelet = newKubelet(c, client, runtime, b.space.number, b.options.Now)
	}
	return c, nil
}

// start brings the cluster up and returns when a pod could be made.
func (c *Cluster) start(ctx context.Context, nodes int) error {
	if err := c.API.Start(ctx); err != nil {
		return err
	}
	if err := c.Controllers.Start(ctx); err != nil {
		return err
	}
	if c.Kubelet != nil {
		if err := c.Kubelet.start(ctx, c.ca, nodes); err != nil {
			return fmt.Errorf("start the kubelet of %s: %w", c.Name, err)
		}
	}
	err := Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := c.Client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			_, err = c.Client.CoreV1().ConfigMaps("default").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		}
		if err == nil {
			_, err = c.Client.CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		}
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("cluster %s does not get ready: %w; the controllers' log ends:\n%s", c.Name, err, tail(c.Controllers.LogFile, 2048))
	}
	return nil
}

// close ends everything of the cluster, at once and for good.
func (c *Cluster) close() {
	if c.Kubelet != nil {
		c.Kubelet.close()
	}
	for _, p := range []*Process{c.Controllers, c.API} {
		if p != nil {
			p.Kill()
		}
	}
	if c.port != nil {
		c.port.release()
	}
}

// CA is the cluster's certificate authority, in PEM.
func (c *Cluster) CA() []byte { return c.ca.pem }

// AuditLog is the file to which the API server writes a line of JSON for each
// call; see Calls.
func (c *Cluster) AuditLog() string { return filepath.Join(c.dir, fileAudit) }

// Namespace makes a namespace with a name of its own that begins with prefix,
// and waits until pods can be made in it. Tests that share a cluster stay apart
// by namespaces; deleting one takes the namespace controller about ten seconds
// when pods are left in it, so they are better left alone.
func (c *Cluster) Namespace(ctx context.Context, prefix string) (string, error) {
	ns, err := c.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return ns.Name, c.awaitServiceAccount(ctx, ns.Name, "default")
}

func (c *Cluster) awaitServiceAccount(ctx context.Context, namespace, name string) error {
	return Until(ctx, func(ctx context.Context) (bool, error) {
		_, err := c.Client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// Until asks again and again until the condition holds, fails, or ctx is done.
func Until(ctx context.Context, condition func(context.Context) (bool, error)) error {
	for {
		ok, err := condition(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
}
