// Command survey surveys one cluster and says what that cost: as the product
// does, and linked with no more than the product.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/linkerd"
	"github.com/windlass-mesh/windlass/mesh/linkerd/testdata/soak/figures"
)

// Arguments: the kubeconfig, the user agent for the audit log, and "gzip" for
// compression, which the client does not ask for unless told to.
func main() {
	started := figures.Start()
	config, err := mesh.Kubeconfig{Path: os.Args[1]}.Config("")
	if err != nil {
		figures.Fail(err)
	}
	client, err := mesh.NewClient(config, mesh.Options{UserAgent: os.Args[2], Compress: len(os.Args) > 3})
	if err != nil {
		figures.Fail(err)
	}
	s := linkerd.Survey(context.Background(), &mesh.Cluster{Name: "soak", Client: client}, linkerd.Options{})
	if len(s.Unknowns) > 0 {
		figures.Fail(fmt.Errorf("unknown: %v", s.Unknowns))
	}
	started.Report(figures.Figures{Pods: len(s.Peers), Workloads: len(s.Workloads), Requests: s.Cost.Requests, Bytes: s.Cost.Bytes})
}
