package linkerdtest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheLedgerFailsWithoutAFinalRound(t *testing.T) {
	w := NewWorld(epoch)
	w.AddCluster("east", newAnchor(newLab(), "O").install()).Deploy("shop", "web", 1)
	fails := func() bool {
		v := &verdict{TB: t}
		w.Ledger.Check(v)
		return v.failed
	}
	require.True(t, fails(), "there was none")
	w.Ledger.Finish()
	require.False(t, fails())
	w.Clock.Advance(day)
	require.True(t, fails(), "leaves were renewed since")
	require.Less(t, w.Ledger.Coverage().Percent(), 100.0)
}

func TestTheLedgerFindsAChangeThatItWasNotToldOf(t *testing.T) {
	w := NewWorld(epoch)
	c := w.AddCluster("east", newAnchor(newLab(), "O").install())
	web := c.Deploy("shop", "web", 1)[0]
	w.Ledger.Finish()
	require.Empty(t, w.Ledger.Coverage().Gaps)
	web.Proxy.cfg.Changes = unwatched{}
	require.NoError(t, web.Proxy.obtain())
	require.Len(t, w.Ledger.Coverage().Gaps, 1)
	w.Ledger.Finish()
	require.Len(t, w.Ledger.Coverage().Gaps, 1, "it came too late")
}

func TestAnEmptyLedgerProvesNothing(t *testing.T) {
	w := NewWorld(epoch)
	w.Ledger.Finish()
	require.Zero(t, w.Ledger.Coverage().Percent())
	require.False(t, w.Ledger.Coverage().Complete())
}

func TestHowManyHandshakesAreRequired(t *testing.T) {
	o := newAnchor(newLab(), "O")
	w := NewWorld(epoch)
	w.AddCluster("east", o.install()) // three pods of one class
	require.Equal(t, 4, w.Ledger.Coverage().Required[OnChange], "the second and the third pod, both ways")
	require.Len(t, w.Ledger.Classes(), 1)
	w.AddCluster("west", o.install())
	require.Equal(t, 8, w.Ledger.Coverage().Required[OnChange], "clusters that are not linked do not pair")
	w.Ledger.Step("apart")
	require.Equal(t, 2*3*2, w.Ledger.Coverage().Required[OnStep], "each pod with its class")
	w.Link("east", "west")
	w.Ledger.Step("linked")
	require.Equal(t, 12+6*2*2, w.Ledger.Coverage().Required[OnStep], "each pod with both classes")
	w.Ledger.Finish()
	require.Equal(t, 6*5, w.Ledger.Coverage().Required[OnFinish])
	w.Clock.Advance(17 * time.Hour)
	require.Equal(t, 8+6*2*2, w.Ledger.Coverage().Required[OnChange], "each renewal is a change")
	w.Ledger.Finish()
	w.Ledger.Check(t)
}

func TestAPodWithoutALeafIsAFailure(t *testing.T) {
	o, n := newAnchor(newLab(), "O"), newAnchor(newLab(), "N")
	w := NewWorld(epoch)
	c := w.AddCluster("east", o.install())
	p := c.DeployManual("shop", "old", n.root.PEM())
	w.Ledger.Step("start")
	require.Len(t, w.Ledger.Failures(), 1)
	f := w.Ledger.Failures()[0]
	require.Equal(t, "shop/"+p.Name, f.Client.Pod)
	require.ErrorContains(t, f.Err, "UnknownIssuer")
	// Its container is restarted after two minutes, again and again.
	before := p.Proxy
	w.Clock.Advance(10 * time.Minute)
	require.NotSame(t, before, p.Proxy)
}

func TestTheReportTellsWhatFailedAndWhy(t *testing.T) {
	lab := newLab()
	a, b := newAnchor(lab, "A"), newAnchor(lab, "B")
	w := NewWorld(epoch)
	w.AddCluster("east", a.install()).Deploy("shop", "web", 2)
	w.AddCluster("west", b.install())
	w.Link("east", "west")
	w.Ledger.Finish()
	var text strings.Builder
	require.NoError(t, w.Ledger.Write(&text))
	require.Contains(t, text.String(), "handshakes among 8 peers of 2 clusters; 2 classes in all, 8 changes, 0 steps\n")
	require.Contains(t, text.String(), "  final   56 of 56\n  coverage 100.0 %, 30 failures\n")
	require.Contains(t, text.String(), "  15 x 2026-03-01T12:00:00Z, final \"start\": east/linkerd/linkerd-destination-2 (trusts ")
	require.Contains(t, text.String(), "UnknownIssuer")
	require.Contains(t, text.String(), "trusted: A")
}
