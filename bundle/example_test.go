package bundle_test

import (
	"fmt"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
)

// Two clusters with roots of their own are to trust each other. Their bundles
// are merged, and each issuer is proved under the union before it is written
// anywhere.
func Example() {
	now := time.Date(2026, 9, 15, 10, 0, 0, 0, time.UTC)
	lab := testca.New(now) // stands for the files of two clusters
	east, west := lab.Root("root.east"), lab.Root("root.west")
	issuer := west.Issuer("identity.west", testca.Until(30*24*time.Hour))

	ours, err := bundle.Parse([]byte(east.PEM()))
	if err != nil {
		fmt.Println(err)
		return
	}
	theirs, err := bundle.Parse([]byte(west.PEM()))
	if err != nil {
		fmt.Println(err)
		return
	}
	chain, err := bundle.ReadChain([]byte(issuer.PEM()))
	if err != nil {
		fmt.Println(err)
		return
	}

	union := bundle.Merge(ours, theirs)
	for _, trusted := range []*bundle.Bundle{ours, union} {
		for _, rules := range []bundle.Rules{bundle.Proxy, bundle.Identity} {
			q := bundle.Query{Issuer: chain, Anchors: trusted.Certificates(), Rules: rules, At: now}
			v := bundle.Verify(q)
			fmt.Printf("%d anchors, %s rules: %t", trusted.Len(), rules, v.OK)
			if v.OK {
				fmt.Print(", until ", bundle.SoundUntil(q).Format(time.DateOnly))
			}
			fmt.Println()
		}
	}
	fmt.Println(bundle.ReadAs(union.Marshal(), bundle.Identity, bundle.Releases()[0]).Err)
	// Output:
	// 1 anchors, proxy rules: false
	// 1 anchors, identity rules: false
	// 2 anchors, proxy rules: true, until 2026-10-15
	// 2 anchors, identity rules: true, until 2026-10-15
	// <nil>
}
