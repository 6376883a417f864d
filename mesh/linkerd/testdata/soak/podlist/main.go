// Command podlist lists the meshed pods of one cluster with client-go, by one
// unpaginated request for protobuf, and says what that cost.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/windlass-mesh/windlass/mesh/linkerd/testdata/soak/figures"
)

// Arguments: the kubeconfig, the user agent for the audit log, and "gzip" for
// compression, which client-go asks for unless told otherwise.
func main() {
	started := figures.Start()
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		figures.Fail(err)
	}
	config.UserAgent = os.Args[2]
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.DisableCompression = len(os.Args) < 4
	count := counter{gzip: !config.DisableCompression}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		count.next = next
		return &count
	})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		figures.Fail(err)
	}
	list, err := client.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{LabelSelector: "linkerd.io/control-plane-ns"})
	if err != nil {
		figures.Fail(err)
	}
	started.Report(figures.Figures{Pods: len(list.Items), Requests: count.requests.Load(), Bytes: count.bytes.Load()})
}

type counter struct {
	next            http.RoundTripper
	gzip            bool
	requests, bytes atomic.Int64
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	resp, err := c.next.RoundTrip(r)
	if err == nil {
		if asked := c.gzip; asked != resp.Uncompressed {
			figures.Fail(fmt.Errorf("compressed: %v, asked for it: %v", resp.Uncompressed, asked))
		}
		resp.Body = &body{resp.Body, c}
	}
	return resp, err
}

type body struct {
	io.ReadCloser
	c *counter
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.bytes.Add(int64(n))
	return n, err
}
