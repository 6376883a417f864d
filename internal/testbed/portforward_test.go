package testbed_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

func TestPortForwardReachesWhatPlaysThePod(t *testing.T) {
	ctx, c, namespace := place(t)
	pod := onePod(ctx, t, c, namespace, aPod)
	at := runs.of(pod, "main")[0].Pod
	listener, err := net.Listen("tcp", net.JoinHostPort(at.Loopback, "4191"))
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s of %s", r.URL.Path, at.Object.Name)
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })

	url := c.Client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name("p").SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(c.Config)
	require.NoError(t, err)
	websocket, err := portforward.NewSPDYOverWebsocketDialer(url, c.Config)
	require.NoError(t, err)
	type opener func(stop, ready chan struct{}) (*portforward.PortForwarder, error)
	address, ports := []string{"127.0.0.1"}, []string{"0:4191"}
	for name, open := range map[string]opener{
		"SPDY": func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
			dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
			return portforward.NewOnAddresses(dialer, address, ports, stop, ready, io.Discard, io.Discard)
		},
		"websocket": func(stop, ready chan struct{}) (*portforward.PortForwarder, error) {
			return portforward.NewOnAddresses(websocket, address, ports, stop, ready, io.Discard, io.Discard)
		},
	} {
		t.Run(name, func(t *testing.T) {
			stop, ready := make(chan struct{}), make(chan struct{})
			forwarder, err := open(stop, ready)
			require.NoError(t, err)
			ended := make(chan error, 1)
			go func() { ended <- forwarder.ForwardPorts() }()
			select {
			case <-ready:
			case err := <-ended:
				t.Fatalf("port-forward ends: %v", err)
			}
			ports, err := forwarder.GetPorts()
			require.NoError(t, err)
			for range 2 {
				require.Equal(t, "/env.json of p", get(t, fmt.Sprintf("http://127.0.0.1:%d/env.json", ports[0].Local)))
			}
			close(stop)
			require.NoError(t, <-ended)
		})
	}
}

func TestANodeServesItsAPIServerOnly(t *testing.T) {
	ctx, c, namespace := place(t)
	onePod(ctx, t, c, namespace, aPod)
	nodes, err := c.Client.CoreV1().Nodes().Get(ctx, c.Kubelet.Nodes()[0].Name, metav1.GetOptions{})
	require.NoError(t, err)
	config := rest.AnonymousClientConfig(c.Config)
	config.Host = fmt.Sprintf("https://127.0.0.1:%d", nodes.Status.DaemonEndpoints.KubeletEndpoint.Port)
	client, err := rest.HTTPClientFor(config)
	require.NoError(t, err)
	_, err = client.Get(config.Host + "/portForward/" + namespace + "/p?port=80")
	require.ErrorContains(t, err, "certificate required")
}

func get(t *testing.T, url string) string {
	t.Helper()
	// Each call on a connection of its own, so that each opens a stream.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}
