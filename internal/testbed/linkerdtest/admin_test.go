package linkerdtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// get asks the admin port of a pod in plain HTTP.
func get(t *testing.T, w *World, p *Pod, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return w.network.Dial(ctx, net.JoinHostPort(p.IP, AdminPort))
	}}}
	resp, err := client.Get("http://pod" + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func TestTheAdminPortTellsTheEnvironmentOfTheProcess(t *testing.T) {
	lab := newLab()
	o, n := newAnchor(lab, "O"), newAnchor(lab, "N")
	w := NewWorld(epoch)
	c := w.AddCluster("east", o.install())
	destination := c.Pods("linkerd", Destinations)[0]
	c.WriteRoots(both(o, n))

	ask := func() (anchors *string) {
		status, body := get(t, w, destination, "/env.json?"+EnvTrustAnchors+"&NO_SUCH")
		require.Equal(t, http.StatusOK, status)
		var got map[string]*string
		require.NoError(t, json.Unmarshal([]byte(body), &got))
		require.Len(t, got, 2)
		require.Contains(t, got, "NO_SUCH")
		require.Nil(t, got["NO_SUCH"])
		return got[EnvTrustAnchors]
	}
	require.Equal(t, o.root.PEM(), *ask(), "what it started with")
	destination.RestartContainers()
	require.Equal(t, both(o, n), *ask(), "a restart looks the ConfigMap up again")

	status, _ := get(t, w, destination, "/env.json?"+EnvTrustAnchors+"=x")
	require.Equal(t, http.StatusBadRequest, status)
	_, body := get(t, w, destination, "/env.json")
	require.Contains(t, body, EnvLocalName)
	status, body = get(t, w, destination, "/ready")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "ready\n", body)
	status, _ = get(t, w, destination, "/nowhere")
	require.Equal(t, http.StatusNotFound, status)
}

func TestProxiesBefore212HaveNoEnvironmentEndpoint(t *testing.T) {
	w := NewWorld(epoch)
	o := newAnchor(newLab(), "O").install()
	o.Release = MustRelease("stable-2.11.5")
	c := w.AddCluster("east", o)
	status, _ := get(t, w, c.Pods("linkerd", Destinations)[0], "/env.json")
	require.Equal(t, http.StatusNotFound, status)
}

func TestMetricsHaveTheNamesOfTheRelease(t *testing.T) {
	for release, want := range map[string][]string{
		"2.14": {"identity_cert_expiration_timestamp_seconds 1772452820.000\n", "identity_cert_refresh_count 1\n"},
		"2.15": {"identity_cert_expiration_timestamp_seconds ", "identity_cert_refresh_timestamp_seconds ", "identity_cert_refreshes_total{result=\"ok\"} 1\n"},
		"2.16": {"control_identity_cert_expiration_timestamp_seconds ", "control_identity_cert_refreshes_total{result=\"error\"} 0\n"},
	} {
		t.Run(release, func(t *testing.T) {
			w := NewWorld(epoch)
			o := newAnchor(newLab(), "O").install()
			o.Release = MustRelease(release)
			c := w.AddCluster("east", o)
			_, body := get(t, w, c.Pods("linkerd", Destinations)[0], "/metrics")
			for _, line := range want {
				require.Contains(t, "\n"+body, "\n"+line)
			}
		})
	}
}

func TestTheAdminPortPresentsTheChainToWhoAsksForTheRightName(t *testing.T) {
	w := NewWorld(epoch)
	c := w.AddCluster("east", newAnchor(newLab(), "O").install())
	p := c.Pods("linkerd", Destinations)[0]
	dial := func(name string) (*tls.Conn, error) {
		conn, err := w.network.Dial(t.Context(), net.JoinHostPort(p.IP, AdminPort))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		tc := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		return tc, tc.Handshake()
	}
	tc, err := dial(p.Proxy.Name())
	require.NoError(t, err)
	require.Equal(t, p.Proxy.Chain()[0].Raw, tc.ConnectionState().PeerCertificates[0].Raw)
	require.Len(t, tc.ConnectionState().PeerCertificates, 2)
	_, err = io.WriteString(tc, "GET /live HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(tc).ReadString('\n')
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(line, "200 OK\r\n"), line)
	_, err = dial("other.shop.serviceaccount.identity.linkerd.cluster.local")
	require.Error(t, err)
}
