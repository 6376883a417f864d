package testbed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/windlass-mesh/windlass/internal/testbed/binaries"
)

// issuerURL is what every cluster calls itself in its ServiceAccount tokens, as
// clusters with default settings do.
const issuerURL = "https://kubernetes.default.svc.cluster.local"

// auditPolicy records who called what, once per call, and leaves out the API
// server's calls to itself and the bed's own look at its health.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:apiserver"]
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: Metadata
`

// Users of the bed's own clients. Both are in system:masters; the names tell
// them apart in the audit log.
const (
	adminUser   = "testbed:admin"
	kubeletUser = "testbed:kubelet"
)

// files of a cluster, in its directory.
const (
	fileCA         = "ca.crt"
	fileServing    = "apiserver"
	fileKubelet    = "kubelet-client"
	fileSAKey      = "sa.key"
	fileSAPub      = "sa.pub"
	filePolicy     = "audit-policy.yaml"
	fileAudit      = "audit.log"
	fileKCM        = "kcm.kubeconfig"
	serviceNetwork = "10.%d.0.0/16"
)

// prepare writes the keys, certificates and settings of a cluster.
func (c *Cluster) prepare(ca *authority) error {
	serving, err := ca.issue("kube-apiserver", nil,
		[]string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"},
		net.IPv4(127, 0, 0, 1), net.IPv4(10, byte(c.index+1), 0, 1))
	if err != nil {
		return err
	}
	kubeletClient, err := ca.issue("kube-apiserver-kubelet-client", nil, nil)
	if err != nil {
		return err
	}
	controllers, err := ca.issue("system:kube-controller-manager", nil, nil)
	if err != nil {
		return err
	}
	saKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	saPEM, err := encodeKey(saKey)
	if err != nil {
		return err
	}
	saPub, err := x509.MarshalPKIXPublicKey(saKey.Public())
	if err != nil {
		return err
	}
	kcm, err := encodeKubeconfig(namedConfig{c.Name, c.restConfig(ca, controllers, "kube-controller-manager")})
	if err != nil {
		return err
	}
	return writeFiles(c.dir, map[string][]byte{
		fileCA:               ca.pem,
		fileServing + ".crt": serving.cert, fileServing + ".key": serving.key,
		fileKubelet + ".crt": kubeletClient.cert, fileKubelet + ".key": kubeletClient.key,
		fileSAKey: saPEM, fileSAPub: encode("PUBLIC KEY", saPub),
		filePolicy: []byte(auditPolicy), fileKCM: kcm,
	})
}

// restConfig is a client's way into the cluster, without a rate limit: the bed
// measures the product's calls, not its own patience.
func (c *Cluster) restConfig(ca *authority, client pair, userAgent string) *rest.Config {
	return &rest.Config{
		Host:      c.URL,
		UserAgent: userAgent,
		QPS:       -1,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: ca.pem, CertData: client.cert, KeyData: client.key,
		},
	}
}

func (c *Cluster) newAPIServer(bin, etcdURL string, extra []string) *Process {
	in := func(name string) string { return filepath.Join(c.dir, name) }
	args := []string{
		"--etcd-servers=" + etcdURL,
		"--etcd-prefix=/registry-" + c.Name,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", c.port.number),
		"--permit-port-sharing", // see port
		// Endpoints may not be loopback, and without this one there would be no
		// EndpointSlice at all, which `linkerd install` refuses. Nobody
		// connects to it: 198.51.100.0/24 is for documentation (RFC 5737).
		fmt.Sprintf("--advertise-address=198.51.100.%d", c.index+1),
		"--tls-cert-file=" + in(fileServing+".crt"), "--tls-private-key-file=" + in(fileServing+".key"),
		"--client-ca-file=" + in(fileCA),
		"--authorization-mode=RBAC",
		"--service-account-issuer=" + issuerURL, "--api-audiences=" + issuerURL,
		"--service-account-key-file=" + in(fileSAPub), "--service-account-signing-key-file=" + in(fileSAKey),
		fmt.Sprintf("--service-cluster-ip-range="+serviceNetwork, c.index+1),
		"--allow-privileged",
		"--kubelet-certificate-authority=" + in(fileCA),
		"--kubelet-client-certificate=" + in(fileKubelet+".crt"), "--kubelet-client-key=" + in(fileKubelet+".key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--audit-policy-file=" + in(filePolicy),
		"--audit-log-path=" + in(fileAudit), "--audit-log-format=json",
		"--audit-log-mode=blocking", // a call is in the log before its answer is sent
		"--audit-log-maxsize=1000000",
		"--profiling=false", "--event-ttl=10m",
		// Without it a server that is asked to end waits a minute for watches.
		"--shutdown-watch-termination-grace-period=1s",
		// No node lifecycle controller runs, so nobody would ever take the
		// not-ready taint off a new node.
		"--disable-admission-plugins=TaintNodesByCondition",
	}
	return &Process{
		Name:    c.Name + "/kube-apiserver",
		LogFile: in("kube-apiserver.log"),
		path:    filepath.Join(bin, binaries.KubeAPIServer),
		args:    append(args, extra...),
		ready: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return serverReady(ctx, c.Client)
		},
	}
}

// serverReady succeeds when the cluster's own API server is ready: the client
// accepts no certificate of another cluster's authority.
func serverReady(ctx context.Context, client kubernetes.Interface) error {
	var status int
	result := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
	if err := result.Error(); err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("/readyz answers %d", status)
	}
	return nil
}

func (c *Cluster) newControllers(bin string, extra []string) *Process {
	in := func(name string) string { return filepath.Join(c.dir, name) }
	args := []string{
		"--kubeconfig=" + in(fileKCM),
		"--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--service-account-private-key-file=" + in(fileSAKey),
		"--root-ca-file=" + in(fileCA),
		// Each controller then has its own rights, and its own name in the
		// audit log; the common user may do next to nothing.
		"--use-service-account-credentials",
		// With the default of 20 a second it takes seconds until the default
		// ServiceAccount exists.
		"--kube-api-qps=1000", "--kube-api-burst=2000",
		"--concurrent-deployment-syncs=10", "--concurrent-replicaset-syncs=10",
		// Nodes stay as the bed made them, and nothing here has disks.
		"--controllers=*,-node-lifecycle-controller,-node-ipam-controller,-persistentvolume-attach-detach-controller,-persistentvolume-binder-controller,-horizontal-pod-autoscaler-controller",
	}
	return &Process{
		Name:    c.Name + "/kube-controller-manager",
		LogFile: in("kube-controller-manager.log"),
		path:    filepath.Join(bin, binaries.KubeControllerManager),
		args:    append(args, extra...),
	}
}
