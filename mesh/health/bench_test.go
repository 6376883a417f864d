package health_test

import (
	"fmt"
	"testing"

	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/health"
)

// Ten thousand pods in 600 workloads, linked to as many: verdicts are over
// classes.
func BenchmarkCheckTenThousandPods(b *testing.B) {
	w := newWorld(b)
	both := w.o.PEM() + w.n.PEM()
	build := func(name string) *mesh.Survey {
		s := w.cluster(name, both)
		for n := range 600 {
			anchors := both
			if n%3 == 0 {
				anchors = w.o.PEM()
			}
			w.pods(s, fmt.Sprint("apps-", n%20), fmt.Sprint("web-", n), 17, anchors)
		}
		return s
	}
	east, west := build("east"), build("west")
	link(east, west)
	fleet := &mesh.Fleet{Surveys: []*mesh.Survey{east, west}}
	b.ReportAllocs()
	for b.Loop() {
		health.Check(fleet, now, health.CheckOptions{})
	}
}
