package testbed

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

type namedConfig struct {
	name   string
	config *rest.Config
}

// encodeKubeconfig returns a kubeconfig with a context per client, the first
// being the current one. Everything is held within: the file can be moved.
func encodeKubeconfig(clients ...namedConfig) ([]byte, error) {
	out := clientcmdapi.NewConfig()
	for _, c := range clients {
		out.Clusters[c.name] = &clientcmdapi.Cluster{Server: c.config.Host, CertificateAuthorityData: c.config.CAData}
		out.AuthInfos[c.name] = &clientcmdapi.AuthInfo{
			ClientCertificateData: c.config.CertData,
			ClientKeyData:         c.config.KeyData,
			Token:                 c.config.BearerToken,
			Impersonate:           c.config.Impersonate.UserName,
			ImpersonateGroups:     c.config.Impersonate.Groups,
		}
		out.Contexts[c.name] = &clientcmdapi.Context{Cluster: c.name, AuthInfo: c.name}
		if out.CurrentContext == "" {
			out.CurrentContext = c.name
		}
	}
	return clientcmd.Write(*out)
}

// WriteKubeconfig writes a kubeconfig with one context that reaches the cluster
// as config does: with an administrator's rights or with those of a
// ServiceAccount.
func (c *Cluster) WriteKubeconfig(file string, config *rest.Config) error {
	b, err := encodeKubeconfig(namedConfig{c.Name, config})
	if err != nil {
		return fmt.Errorf("write a kubeconfig: %w", err)
	}
	return os.WriteFile(file, b, 0o600)
}
