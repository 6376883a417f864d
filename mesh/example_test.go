package mesh_test

import (
	"fmt"

	"github.com/windlass-mesh/windlass/mesh"
)

// Two contexts of one cluster are one member.
func ExampleFleet_Twice() {
	fleet := &mesh.Fleet{Surveys: []*mesh.Survey{
		{Name: "prod-east", Identity: mesh.Identity{UID: "6f1d2c3b"}},
		{Name: "prod-west", Identity: mesh.Identity{UID: "0c9a8b7e"}},
		{Name: "admin@east", Identity: mesh.Identity{UID: "6f1d2c3b"}},
	}}
	for _, again := range fleet.Twice() {
		fmt.Println(again.Name, "was surveyed already")
	}
	// Output: admin@east was surveyed already
}
