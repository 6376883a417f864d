package linkerd

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/rest"
)

// ErrCredential means that a Link's kubeconfig is not used: what it says is
// refused, or makes no sense. The error names the field, never its value where
// that may be secret.
var ErrCredential = errors.New("credentials refused")

// ErrAddress means that a connection was refused for where it led.
var ErrAddress = errors.New("address refused")

// CredentialOptions say what credentials may do that is refused by default.
type CredentialOptions struct {
	// AllowLocal allows loopback and link-local addresses.
	AllowLocal bool
	// AllowOwn allows the API server of the cluster that the Link stands in.
	AllowOwn bool
	// AllowPlaintext allows http, over which the token travels in the clear.
	AllowPlaintext bool
	// OwnServers are addresses (URLs, or host:port) of the cluster's own API
	// server. A survey adds the one that it talks to itself.
	OwnServers []string
}

// maxKubeconfig bounds a kubeconfig in a Secret; link-gen's are of 3 KB.
const maxKubeconfig = 128 << 10

// ParsedCredential is a kubeconfig that proved harmless.
type ParsedCredential struct {
	Server string
	// Config connects with it, to the server named and no other: redirects and
	// proxies of the environment are not followed, and addresses are checked at
	// the moment of connecting, after names are resolved.
	Config *rest.Config
}

// kubeconfig is a kubeconfig with everything that it may say to make its reader
// do something. What is not named here is not read, and has no effect.
type kubeconfig struct {
	CurrentContext string `yaml:"current-context"`
	Contexts       []struct {
		Name    string `yaml:"name"`
		Context struct {
			Cluster string `yaml:"cluster"`
			User    string `yaml:"user"`
		} `yaml:"context"`
	} `yaml:"contexts"`
	Clusters []struct {
		Name    string        `yaml:"name"`
		Cluster targetCluster `yaml:"cluster"`
	} `yaml:"clusters"`
	Users []struct {
		Name string     `yaml:"name"`
		User targetUser `yaml:"user"`
	} `yaml:"users"`
}

type targetCluster struct {
	Server        string    `yaml:"server"`
	TLSServerName string    `yaml:"tls-server-name"`
	CAData        string    `yaml:"certificate-authority-data"`
	CAFile        yaml.Node `yaml:"certificate-authority"`
	Insecure      yaml.Node `yaml:"insecure-skip-tls-verify"`
	ProxyURL      yaml.Node `yaml:"proxy-url"`
}

type targetUser struct {
	Token       string    `yaml:"token"`
	CertData    string    `yaml:"client-certificate-data"`
	KeyData     string    `yaml:"client-key-data"`
	Username    string    `yaml:"username"`
	Password    string    `yaml:"password"`
	TokenFile   yaml.Node `yaml:"tokenFile"`
	CertFile    yaml.Node `yaml:"client-certificate"`
	KeyFile     yaml.Node `yaml:"client-key"`
	Exec        yaml.Node `yaml:"exec"`
	Auth        yaml.Node `yaml:"auth-provider"`
	Impersonate yaml.Node `yaml:"as"`
	AsUID       yaml.Node `yaml:"as-uid"`
	AsGroups    yaml.Node `yaml:"as-groups"`
	AsExtra     yaml.Node `yaml:"as-user-extra"`
}

// ParseCredential reads the kubeconfig of a Link's Secret as hostile input. It
// takes the current context's server, CA, and token or client certificate out
// of it, all of which must stand in it as data. A kubeconfig that would have its
// reader run a program, open a file, skip the server's verification, go through
// a proxy or act as somebody else is refused as a whole, with an error that
// wraps ErrCredential: leaving just that part out would connect in another way
// than Linkerd's controllers do. Server is filled in where it could be read.
func ParseCredential(text []byte, o CredentialOptions) (ParsedCredential, error) {
	var out ParsedCredential
	if len(text) > maxKubeconfig {
		return out, refusef("the kubeconfig has %d bytes, more than %d", len(text), maxKubeconfig)
	}
	config, err := decodeKubeconfig(text)
	if err != nil {
		return out, err
	}
	cluster, user, err := config.current()
	if err != nil {
		return out, err
	}
	server, err := serverURL(cluster.Server, o)
	if err != nil {
		return out, err
	}
	out.Server = server.String()
	for _, f := range []struct {
		name, why string
		node      *yaml.Node
	}{
		{"exec", "would run a program", &user.Exec},
		{"auth-provider", "would run a plugin", &user.Auth},
		{"tokenFile", "names a file", &user.TokenFile},
		{"client-certificate", "names a file", &user.CertFile},
		{"client-key", "names a file", &user.KeyFile},
		{"certificate-authority", "names a file", &cluster.CAFile},
		{"proxy-url", "would go through a proxy", &cluster.ProxyURL},
		{"insecure-skip-tls-verify", "would not verify the server", &cluster.Insecure},
		{"as", "would act as somebody else", &user.Impersonate},
		{"as-uid", "would act as somebody else", &user.AsUID},
		{"as-groups", "would act as somebody else", &user.AsGroups},
		{"as-user-extra", "would act as somebody else", &user.AsExtra},
	} {
		if saysSomething(f.node) {
			return out, refusef("%s %s", f.name, f.why)
		}
	}
	out.Config, err = restConfig(server, cluster, user, o)
	return out, err
}

func refusef(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrCredential}, args...)...)
}

func decodeKubeconfig(text []byte) (k *kubeconfig, err error) {
	defer func() {
		if recover() != nil { // of the YAML parser; the text is a stranger's
			k, err = nil, refusef("not YAML")
		}
	}()
	if bytes.IndexByte(text, 0) >= 0 {
		return nil, refusef("not YAML")
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	k = &kubeconfig{}
	if err := dec.Decode(k); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, refusef("the kubeconfig is empty")
		}
		return nil, refusef("not a kubeconfig in YAML") // the parser's error quotes the text
	}
	if err := dec.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, refusef("more than one YAML document")
	}
	return k, nil
}

// current returns the cluster and user of the current context. Of several by
// one name the last counts, as for client-go.
func (k *kubeconfig) current() (cluster targetCluster, user targetUser, err error) {
	found := [3]bool{}
	var clusterName, userName string
	for _, c := range k.Contexts {
		if c.Name == k.CurrentContext {
			clusterName, userName, found[0] = c.Context.Cluster, c.Context.User, true
		}
	}
	for _, c := range k.Clusters {
		if c.Name == clusterName {
			cluster, found[1] = c.Cluster, true
		}
	}
	for _, u := range k.Users {
		if u.Name == userName {
			user, found[2] = u.User, true
		}
	}
	for i, what := range []string{"current context", "cluster of the current context", "user of the current context"} {
		if !found[i] {
			return cluster, user, refusef("the %s is not in it", what)
		}
	}
	return cluster, user, nil
}

// saysSomething reports whether a field is there with more than an empty value.
func saysSomething(n *yaml.Node) bool {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case 0:
		return false
	case yaml.ScalarNode:
		return n.Value != "" && n.Tag != "!!null" && n.Value != "false"
	default:
		return len(n.Content) > 0
	}
}

func serverURL(text string, o CredentialOptions) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, refusef("server is not a URL")
	}
	switch {
	case u.Scheme == "http" && !o.AllowPlaintext:
		return nil, refusef("server is http: the token would travel in the clear")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, refusef("server has the scheme %q", u.Scheme)
	case u.User != nil:
		return nil, refusef("server carries a password")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, refusef("server carries a query")
	}
	if !o.AllowOwn {
		for _, own := range o.OwnServers {
			if sameHost(u, own) {
				return nil, refusef("server is the API server of this cluster itself")
			}
		}
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		if err := checkAddr(ip, o); err != nil {
			return nil, fmt.Errorf("%w: server: %w", ErrCredential, err)
		}
	} else if name := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."); !o.AllowLocal && (name == "localhost" || strings.HasSuffix(name, ".localhost")) {
		return nil, fmt.Errorf("%w: server: %w: %s is loopback", ErrCredential, ErrAddress, name)
	}
	return u, nil
}

// sameHost reports whether both lead to one host and port.
func sameHost(u *url.URL, own string) bool {
	if !strings.Contains(own, "://") {
		own = "https://" + own
	}
	o, err := url.Parse(own)
	if err != nil {
		return false
	}
	port := func(u *url.URL) string {
		switch {
		case u.Port() != "":
			return u.Port()
		case u.Scheme == "http":
			return "80"
		}
		return "443"
	}
	host := func(u *url.URL) string {
		h := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		if ip, err := netip.ParseAddr(h); err == nil {
			return ip.Unmap().String()
		}
		return h
	}
	if host(u) == host(o) && port(u) == port(o) {
		return true
	}
	// The names by which every pod reaches its own API server.
	switch host(u) {
	case "kubernetes", "kubernetes.default", "kubernetes.default.svc":
		return true
	}
	return strings.HasPrefix(host(u), "kubernetes.default.svc.")
}

// checkAddr refuses addresses that are no other cluster's API server but may be
// something on this machine or the cloud's metadata service.
func checkAddr(ip netip.Addr, o CredentialOptions) error {
	ip = ip.Unmap()
	what := ""
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%w: %s is no host's address", ErrAddress, ip)
	case ip.IsLoopback():
		what = "loopback"
	case ip.IsLinkLocalUnicast():
		what = "link-local"
	case ip == netip.MustParseAddr("fd00:ec2::254"), ip == netip.MustParseAddr("100.100.100.200"):
		what = "a cloud's metadata service"
	}
	if what != "" && !o.AllowLocal {
		return fmt.Errorf("%w: %s is %s", ErrAddress, ip, what)
	}
	return nil
}

func restConfig(server *url.URL, cluster targetCluster, user targetUser, o CredentialOptions) (*rest.Config, error) {
	config := &rest.Config{
		Host:            server.String(),
		TLSClientConfig: rest.TLSClientConfig{ServerName: cluster.TLSServerName},
		// With a proxy the addresses could not be checked.
		Proxy:   func(*http.Request) (*url.URL, error) { return nil, nil },
		Dial:    checkedDial(o),
		Timeout: 30 * time.Second,
	}
	for _, f := range []struct {
		name, text string
		into       *[]byte
	}{
		{"certificate-authority-data", cluster.CAData, &config.CAData},
		{"client-certificate-data", user.CertData, &config.CertData},
		{"client-key-data", user.KeyData, &config.KeyData},
	} {
		b, err := base64.StdEncoding.DecodeString(f.text)
		if err != nil {
			return nil, refusef("%s is not base64", f.name)
		}
		*f.into = b
	}
	if (len(config.CertData) == 0) != (len(config.KeyData) == 0) {
		return nil, refusef("its certificates or key do not parse: one is there without the other")
	}
	config.BearerToken, config.Username, config.Password = user.Token, user.Username, user.Password
	if strings.ContainsFunc(user.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, refusef("the token holds characters that no token has")
	}
	if server.Scheme == "https" {
		if _, err := rest.TLSConfigFor(config); err != nil {
			return nil, refusef("its certificates or key do not parse")
		}
	} else {
		config.TLSClientConfig = rest.TLSClientConfig{}
	}
	if _, err := rest.HTTPClientFor(config); err != nil {
		return nil, refusef("no client can be made of it")
	}
	return config, nil
}

// checkedDial refuses addresses at the moment of connecting, when names are
// resolved: a name that answers differently the second time gains nothing.
func checkedDial(o CredentialOptions) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %q", ErrAddress, address)
		}
		return checkAddr(at.Addr(), o)
	}}
	return d.DialContext
}

// claimsOf reads what a service account's token says about itself, without
// believing it: the server decides. All is empty for other tokens.
func claimsOf(token string) (namespace, secret, account string, expires time.Time) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", "", "", time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return "", "", "", time.Time{}
	}
	var claims struct {
		Namespace string  `json:"kubernetes.io/serviceaccount/namespace"`
		Secret    string  `json:"kubernetes.io/serviceaccount/secret.name"`
		Account   string  `json:"kubernetes.io/serviceaccount/service-account.name"`
		Expires   float64 `json:"exp"`
		Bound     struct {
			Namespace      string `json:"namespace"`
			ServiceAccount struct {
				Name string `json:"name"`
			} `json:"serviceaccount"`
			Secret struct {
				Name string `json:"name"`
			} `json:"secret"`
		} `json:"kubernetes.io"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return "", "", "", time.Time{}
	}
	namespace, secret, account = claims.Namespace, claims.Secret, claims.Account
	if namespace == "" {
		namespace, secret, account = claims.Bound.Namespace, claims.Bound.Secret.Name, claims.Bound.ServiceAccount.Name
	}
	if claims.Expires > 0 && claims.Expires < 1<<40 {
		expires = time.Unix(int64(claims.Expires), 0).UTC()
	}
	return namespace, secret, account, expires
}
