package linkerdtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
)

// anchor is a root with an issuer below it, as an installation has them.
type anchor struct {
	root, issuer *testca.Cert
}

func newAnchor(lab *testca.Lab, name string, opts ...testca.Option) anchor {
	root := lab.Root(name)
	return anchor{root, root.Issuer("identity of "+name, opts...)}
}

// install is the Options of a cluster that has the anchor.
func (a anchor) install() Options {
	return Options{Roots: a.root.PEM(), Issuer: a.issuer.PEM(), IssuerKey: a.issuer.KeyPEM()}
}

// both is the text of a bundle of anchors.
func both(as ...anchor) (text string) {
	for _, a := range as {
		text += a.root.PEM()
	}
	return text
}

func newLab() *testca.Lab { return testca.New(epoch) }

// ready requires that every pod of the cluster is.
func ready(t *testing.T, c *Cluster) {
	t.Helper()
	for _, p := range c.pods {
		require.NoError(t, p.notReady(), "%s", p)
	}
}

const day = 24 * time.Hour
