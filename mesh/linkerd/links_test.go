package linkerd

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/mesh"
)

// token makes a service account's token that says whose it is. Its signature is
// none.
func token(claims map[string]any) string {
	b, _ := json.Marshal(claims)
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256"}`)) + "." + enc(b) + "." + enc([]byte("x"))
}

var remoteToken = token(map[string]any{
	"kubernetes.io/serviceaccount/namespace":            "linkerd-multicluster",
	"kubernetes.io/serviceaccount/secret.name":          "linkerd-service-mirror-remote-access-default-token",
	"kubernetes.io/serviceaccount/service-account.name": "linkerd-service-mirror-remote-access-default",
})

// kubeconfigOf writes a kubeconfig as link-gen does; cluster and user are
// further lines for those.
func kubeconfigOf(server, cluster, user string) string {
	return fmt.Sprintf(`apiVersion: v1
clusters:
- cluster:
    server: %s
%s  name: east
contexts:
- context:
    cluster: east
    user: linkerd-service-mirror-remote-access-default
  name: east
current-context: east
kind: Config
preferences: {}
users:
- name: linkerd-service-mirror-remote-access-default
  user:
%s`, server, cluster, user)
}

func credentials(namespace, name, kubeconfig, extra string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\ntype: mirror.linkerd.io/remote-kubeconfig\nmetadata:\n  name: %s\n  namespace: %s\n%sdata:\n  kubeconfig: %s\n",
		name, namespace, extra, base64.StdEncoding.EncodeToString([]byte(kubeconfig)))
}

func TestLinksOfEveryVersion(t *testing.T) {
	for _, version := range []string{"v1alpha1", "v1alpha2", "v1alpha3"} {
		t.Run(version, func(t *testing.T) {
			f := newFake(t)
			f.release("linkerd-2.18")
			b, err := os.ReadFile(filepath.Join("testdata", "links.yaml"))
			require.NoError(t, err)
			f.addYAML(strings.ReplaceAll(string(b), "VERSION", version))
			good := kubeconfigOf("https://east.example.com:6443", "", "    token: "+remoteToken+"\n")
			f.addYAML(credentials("linkerd-multicluster", "cluster-credentials-east", good, "") + "---\n" +
				credentials("linkerd", "cluster-credentials-east", good, "  labels: {multicluster.linkerd.io/cluster-name: east}\n") + "---\n" +
				credentials("linkerd-multicluster", "cluster-credentials-lost", good, "  labels: {multicluster.linkerd.io/cluster-name: lost}\n"))
			s := f.survey(Options{})
			require.Len(t, s.Links, 2)
			east, flat := s.Links[0], s.Links[1]
			assert.Equal(t, version, east.Version)
			assert.Equal(t, []string{"east", "cluster.local", "linkerd"}, []string{east.Target, east.TargetDomain, east.TargetNamespace})
			assert.Equal(t, []string{"203.0.113.10", "gw.example.com"}, east.GatewayAddresses)
			assert.Equal(t, "4143", east.GatewayPort)
			assert.True(t, east.Mirrors && east.Discovers && east.Direct())
			require.Len(t, east.Credentials, 2, "the service mirror's and linkerd-destination's")
			for _, c := range east.Credentials {
				require.NoError(t, c.Refused)
				assert.Equal(t, "https://east.example.com:6443", c.Server)
				assert.Equal(t, "linkerd-service-mirror-remote-access-default-token", c.TokenSecret)
				assert.Equal(t, "linkerd-multicluster", c.TokenNamespace)
				assert.NotContains(t, fmt.Sprintf("%v %+v %#v", c.Config, c.Config, c.Config), remoteToken)
			}
			assert.Empty(t, flat.GatewayAddresses)
			assert.False(t, flat.Mirrors)
			assert.True(t, flat.Federates)
			assert.Equal(t, []string{"not-found credentials Secret linkerd-multicluster/cluster-credentials-west"}, unknowns(flat.Unknowns))
			assert.Equal(t, []string{"unexplained Secret linkerd-multicluster/cluster-credentials-lost"}, unknowns(s.Unknowns))
		})
	}
}

func TestAnnotatedSecretsOf28AreLinks(t *testing.T) {
	f := newFake(t)
	f.release("linkerd-2.8.1-helm")
	f.addYAML(credentials("linkerd-multicluster", "remote", kubeconfigOf("https://east.example.com", "", "    token: x\n"),
		"  annotations:\n    mirror.linkerd.io/cluster-name: east\n    mirror.linkerd.io/remote-cluster-domain: east.local\n    mirror.linkerd.io/remote-cluster-l5d-ns: l5d\n"))
	s := f.survey(Options{})
	require.Len(t, s.Links, 1)
	l := s.Links[0]
	assert.Equal(t, []string{"", "east", "east.local", "l5d"}, []string{l.Version, l.Target, l.TargetDomain, l.TargetNamespace})
	require.Len(t, l.Credentials, 1)
	assert.NoError(t, l.Credentials[0].Refused)
}

func TestGatewaysAndTokensOfOthersAreFound(t *testing.T) {
	f := newFake(t, "testdata/gateway.yaml")
	f.release("linkerd-2.18")
	s := f.survey(Options{})
	require.Len(t, s.Gateways, 1)
	g := s.Gateways[0]
	assert.Equal(t, []string{"203.0.113.10"}, g.Addresses)
	assert.Equal(t, "4143", g.Port)
	assert.Equal(t, "linkerd-gateway.linkerd-multicluster.serviceaccount.identity.linkerd.cluster.local", g.Identity)
	require.Len(t, s.RemoteAccess, 2)
	for _, r := range f.requests {
		if strings.Contains(r, "service-account-token") {
			assert.NotContains(t, r, "GET /api/v1/namespaces", "tokens are listed by their metadata, never read")
		}
	}

	// A member's Link explains one of the two.
	other := &mesh.Survey{Identity: mesh.Identity{UID: "other"}, Links: []*mesh.Link{{Credentials: []mesh.Credential{{
		TokenNamespace: "linkerd-multicluster", TokenSecret: "linkerd-service-mirror-remote-access-default-token", Target: mesh.Identity{ServiceUID: "service-uid"}}}}}}
	fleet := &mesh.Fleet{Surveys: []*mesh.Survey{s, other}}
	left := fleet.Unexplained(s)
	require.Len(t, left, 1)
	assert.Equal(t, "stranger-token", left[0].Secret.Name)
	assert.Equal(t, time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC), left[0].LastUsed)
	assert.Equal(t, s, fleet.Target(other.Links[0]))
	assert.Len(t, fleet.UnexplainedGateways(s), 1)
	other.Links[0].GatewayIdentity = g.Identity
	assert.Empty(t, fleet.UnexplainedGateways(s))
}

func TestProbeLearnsWhoAnswers(t *testing.T) {
	f := newFake(t)
	o := CredentialOptions{AllowLocal: true, AllowPlaintext: true}
	parsed, err := ParseCredential([]byte(kubeconfigOf(f.url, "", "    token: "+remoteToken+"\n")), o)
	require.NoError(t, err)
	l := &mesh.Link{Credentials: []mesh.Credential{{Config: parsed.Config}, {Refused: errors.New("x")}}}
	Probe(t.Context(), l, mesh.Options{})
	require.NoError(t, l.Credentials[0].TargetErr)
	assert.Equal(t, mesh.Identity{ServiceUID: "service-uid"}, l.Credentials[0].Target)

	huge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 64 {
			if _, err := w.Write([]byte(`{"metadata":{"uid":"` + strings.Repeat("x", 64<<10) + `"}} `)); err != nil {
				return
			}
		}
	}))
	defer huge.Close()
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"metadata":{"uid":"`))
		for {
			if _, err := w.Write([]byte(strings.Repeat("x", 64<<10))); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	redirect := httptest.NewServer(http.RedirectHandler("http://169.254.169.254/latest/meta-data", http.StatusFound))
	defer redirect.Close()
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hang.Close()
	for name, c := range map[string]struct {
		url  string
		want error
	}{"endless": {endless.URL, mesh.ErrTooLarge}, "redirecting": {redirect.URL, mesh.ErrRedirect}, "hanging": {hang.URL, mesh.ErrTimeout}} {
		t.Run(name, func(t *testing.T) {
			parsed, err := ParseCredential([]byte(kubeconfigOf(c.url, "", "    token: x\n")), o)
			require.NoError(t, err)
			l := &mesh.Link{Credentials: []mesh.Credential{{Config: parsed.Config}}}
			Probe(t.Context(), l, mesh.Options{Timeout: 200 * time.Millisecond})
			assert.ErrorIs(t, l.Credentials[0].TargetErr, c.want)
		})
	}
}

func TestHostileCredentialsAreRefused(t *testing.T) {
	const good = "https://east.example.com:6443"
	ca := base64.StdEncoding.EncodeToString([]byte(certs(t, "root")))
	user := "    token: SECRET\n"
	for name, c := range map[string]struct{ text, want string }{
		"exec":                 {kubeconfigOf(good, "", "    exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: [-c, touch /tmp/x]}\n"), "exec would run a program"},
		"exec beside a token":  {kubeconfigOf(good, "", user+"    exec: {command: sh}\n"), "exec would run a program"},
		"exec by alias":        {"x: &e {command: sh}\n" + kubeconfigOf(good, "", "    exec: *e\n"), "exec would run a program"},
		"exec by merge":        {"x: &e {exec: {command: sh}}\n" + kubeconfigOf(good, "", "    <<: *e\n"), "exec would run a program"},
		"auth provider":        {kubeconfigOf(good, "", "    auth-provider: {name: gcp}\n"), "auth-provider would run"},
		"token file":           {kubeconfigOf(good, "", "    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token\n"), "tokenFile names a file"},
		"certificate file":     {kubeconfigOf(good, "", "    client-certificate: /etc/x\n"), "client-certificate names a file"},
		"key file":             {kubeconfigOf(good, "", "    client-key: /etc/x\n"), "client-key names a file"},
		"CA file":              {kubeconfigOf(good, "    certificate-authority: /etc/x\n", user), "certificate-authority names a file"},
		"proxy":                {kubeconfigOf(good, "    proxy-url: http://evil.example.com\n", user), "proxy-url would go through a proxy"},
		"no verification":      {kubeconfigOf(good, "    insecure-skip-tls-verify: true\n", user), "insecure-skip-tls-verify would not verify"},
		"impersonation":        {kubeconfigOf(good, "", user+"    as: system:admin\n"), "as would act as somebody else"},
		"groups":               {kubeconfigOf(good, "", user+"    as-groups: [system:masters]\n"), "as-groups would act"},
		"plain http":           {kubeconfigOf("http://east.example.com", "", user), "in the clear"},
		"another scheme":       {kubeconfigOf("unix:///var/run/docker.sock", "", user), "server"},
		"a file as server":     {kubeconfigOf("file:///etc/passwd", "", user), "server is not a URL"},
		"no server":            {kubeconfigOf("\"\"", "", user), "server is not a URL"},
		"a password in it":     {kubeconfigOf("https://u:p@east.example.com", "", user), "carries a password"},
		"a query in it":        {kubeconfigOf("https://east.example.com/?x=y", "", user), "carries a query"},
		"loopback":             {kubeconfigOf("https://127.0.0.1:6443", "", user), "loopback"},
		"loopback, mapped":     {kubeconfigOf("https://[::ffff:127.0.0.1]:6443", "", user), "loopback"},
		"loopback, six":        {kubeconfigOf("https://[::1]:6443", "", user), "loopback"},
		"localhost":            {kubeconfigOf("https://LocalHost.:6443", "", user), "loopback"},
		"metadata service":     {kubeconfigOf("https://169.254.169.254", "", user), "link-local"},
		"metadata service, 6":  {kubeconfigOf("https://[fd00:ec2::254]", "", user), "metadata service"},
		"link-local with zone": {kubeconfigOf("https://[fe80::1%25eth0]:6443", "", user), "link-local"},
		"nowhere":              {kubeconfigOf("https://0.0.0.0:6443", "", user), "no host's address"},
		"our own server":       {kubeconfigOf("https://API.own.example.com:443/", "", user), "this cluster itself"},
		"our own, by service":  {kubeconfigOf("https://kubernetes.default.svc.cluster.local", "", user), "this cluster itself"},
		"huge":                 {kubeconfigOf(good, "", user) + strings.Repeat("#", maxKubeconfig), "bytes, more than"},
		"not YAML":             {"\x00\x01\x02", "not YAML"},
		"a list":               {"- a\n- b\n", "not a kubeconfig"},
		"empty":                {"", "empty"},
		"two documents":        {kubeconfigOf(good, "", user) + "---\n" + kubeconfigOf(good, "", user), "more than one YAML document"},
		"no context":           {"apiVersion: v1\nkind: Config\n", "current context is not in it"},
		"no such cluster":      {strings.Replace(kubeconfigOf(good, "", user), "cluster: east\n", "cluster: west\n", 1), "cluster of the current context"},
		"no such user":         {strings.Replace(kubeconfigOf(good, "", user), "- name: linkerd", "- name: x-linkerd", 1), "user of the current context"},
		"CA is no base64":      {kubeconfigOf(good, "    certificate-authority-data: \"%%%\"\n", user), "certificate-authority-data is not base64"},
		"CA is no CA":          {kubeconfigOf(good, "    certificate-authority-data: AAAA\n", user), "do not parse"},
		"half a pair":          {kubeconfigOf(good, "", "    client-certificate-data: "+ca+"\n"), "do not parse"},
		"a token with breaks":  {kubeconfigOf(good, "", "    token: \"a\\r\\nX-Evil: SECRET\"\n"), "characters that no token has"},
		"laughing aliases": {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n" +
			"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ncontexts: [*f,*f,*f,*f,*f,*f,*f,*f]\n", "not a kubeconfig"},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, err := ParseCredential([]byte(c.text), CredentialOptions{OwnServers: []string{"https://api.own.example.com"}})
			require.ErrorIs(t, err, ErrCredential)
			assert.Contains(t, err.Error(), c.want)
			assert.NotContains(t, err.Error(), "SECRET")
			assert.Nil(t, parsed.Config)
		})
	}
}

func TestHarmlessCredentialsAreTaken(t *testing.T) {
	ca := base64.StdEncoding.EncodeToString([]byte(certs(t, "root")))
	parsed, err := ParseCredential([]byte(kubeconfigOf("https://east.example.com:6443", "    certificate-authority-data: "+ca+"\n    tls-server-name: api\n    insecure-skip-tls-verify: false\n    proxy-url: \"\"\n",
		"    token: T\n    exec: null\n    unheard-of: {of: this}\n")), CredentialOptions{})
	require.NoError(t, err)
	c := parsed.Config
	assert.Equal(t, []string{"https://east.example.com:6443", "T", "api"}, []string{c.Host, c.BearerToken, c.ServerName})
	assert.NotEmpty(t, c.CAData)
	assert.Empty(t, c.CAFile+c.CertFile+c.KeyFile+c.BearerTokenFile)
	assert.Nil(t, c.ExecProvider)
	assert.Nil(t, c.AuthProvider)
	assert.False(t, c.Insecure)
}

// A name may be harmless when it is read and lead to loopback when it is dialled.
func TestAddressesAreCheckedWhenConnecting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	for _, host := range []string{"localhost", "127.0.0.1"} {
		_, err = checkedDial(CredentialOptions{})(t.Context(), "tcp", net.JoinHostPort(host, port))
		assert.ErrorIs(t, err, ErrAddress)
	}
	conn, err := checkedDial(CredentialOptions{AllowLocal: true})(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	conn.Close()
}

func FuzzParseCredential(f *testing.F) {
	f.Add([]byte(kubeconfigOf("https://east.example.com", "", "    token: x\n")))
	f.Add([]byte(kubeconfigOf("https://east.example.com", "    proxy-url: x\n", "    exec: {command: x}\n")))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseCredential(text, CredentialOptions{})
		if (err == nil) != (p.Config != nil) {
			t.Fatalf("%v, %v", p.Config, err)
		}
		if c := p.Config; c != nil && (c.ExecProvider != nil || c.AuthProvider != nil || c.Insecure || c.Impersonate.UserName != "" ||
			c.CAFile+c.CertFile+c.KeyFile+c.BearerTokenFile != "" || !strings.HasPrefix(c.Host, "https://")) {
			t.Fatalf("%+v", c)
		}
	})
}
