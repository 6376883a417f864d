package linkerdtest_test

import (
	"fmt"
	"time"

	"github.com/windlass-mesh/windlass/internal/testbed/linkerdtest"
	"github.com/windlass-mesh/windlass/internal/testca"
)

// An issuer that moves on before the proxies know its anchor looks healthy until
// the leaves have died.
func Example() {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	lab := testca.New(now)
	o, n := lab.Root("O"), lab.Root("N")
	issuer, next := o.Issuer("first"), n.Issuer("second")

	world := linkerdtest.NewWorld(now)
	east := world.AddCluster("east", linkerdtest.Options{Roots: o.PEM(), Issuer: issuer.PEM(), IssuerKey: issuer.KeyPEM()})
	web := east.Deploy("emojivoto", "web", 1)[0]

	east.WriteRoots(o.PEM() + n.PEM())
	if err := east.Restart("linkerd", linkerdtest.Identities); err != nil {
		fmt.Println(err)
	}
	east.WriteIssuer(next.PEM(), next.KeyPEM())
	for _, hours := range []time.Duration{1, 16, 8} {
		world.Clock.Advance(hours * time.Hour)
		_, refused := web.Proxy.Refreshes()
		fmt.Println(world.Clock.Now().Sub(now), "leaves refused:", refused > 0, "dead:", web.Proxy.Dead())
	}
	// Output:
	// 1h0m0s leaves refused: false dead: false
	// 17h0m0s leaves refused: true dead: false
	// 25h0m0s leaves refused: true dead: true
}
