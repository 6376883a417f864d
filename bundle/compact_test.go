package bundle_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
)

func known(t testing.TB, chains ...[]*testca.Cert) (out [][]*bundle.Certificate) {
	t.Helper()
	for _, c := range chains {
		out = append(out, wraps(t, c...))
	}
	return out
}

func chainOf(cs ...*testca.Cert) []*testca.Cert { return cs }

// compacted asserts what stays.
func compacted(t testing.TB, res bundle.CompactResult, stays ...*testca.Cert) {
	t.Helper()
	want := bundleOf(t, stays...)
	if !res.Bundle.Equal(want) {
		for _, k := range res.Kept {
			t.Logf("kept %s: %s", k.Certificate, k.Reason)
		}
		t.Fatalf("want %v, got %v", want.Certificates(), res.Bundle.Certificates())
	}
	for _, d := range res.Dropped {
		require.Nil(t, res.Bundle.Get(d.Fingerprint()))
	}
}

func unknownCritical() testca.Option {
	return testca.Extension(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
}

func TestCompactWithoutTwinsChangesNothing(t *testing.T) {
	lab := newLab()
	a, b := lab.Root("root"), lab.Root("root")
	res := bundle.Compact(bundleOf(t, a, b), nil, now)
	compacted(t, res, a, b)
	require.Empty(t, res.Dropped)
	require.Empty(t, res.Kept)
}

func TestCompactDropsTheShorterTwinAboveAKnownIssuer(t *testing.T) {
	lab := newLab()
	root := lab.Root("root", testca.Until(year))
	again := root.Again(testca.Until(10 * year))
	issuer := root.Issuer("issuer")
	for name, k := range map[string][]*testca.Cert{
		"an issuer":            chainOf(issuer),
		"an issuer and root":   chainOf(issuer, root),
		"a chain with a leaf":  chainOf(issuer.Leaf("web.emojivoto"), issuer),
		"an issuer of the new": chainOf(again.Issuer("another")),
	} {
		t.Run(name, func(t *testing.T) {
			b := bundleOf(t, root, again, lab.Root("other"))
			res := bundle.Compact(b, known(t, k), now)
			require.Equal(t, 2, res.Bundle.Len())
			require.Nil(t, res.Bundle.Get(wrap(t, root).Fingerprint()))
			require.Len(t, res.Dropped, 1)
			require.Empty(t, res.Kept)
			require.Equal(t, 3, b.Len(), "the bundle given stays as it is")
		})
	}
}

// On a default install the issuer is its own anchor. Go accepts it only because
// that very certificate is among the roots: under its twin alone it would be a
// loop.
func TestCompactKeepsTheTwinThatIsAnIssuer(t *testing.T) {
	lab := newLab()
	self := lab.Root("identity.linkerd.cluster.local", testca.Until(year))
	again := self.Again(testca.Until(10 * year))

	res := bundle.Compact(bundleOf(t, self, again), known(t, chainOf(self)), now)
	require.NotNil(t, res.Bundle.Get(wrap(t, self).Fingerprint()))
	require.Contains(t, res.Kept[0].Reason, "issuer itself")

	// The same seen from a presented chain, and where the issuer is the longer one.
	res = bundle.Compact(bundleOf(t, self, again), known(t, chainOf(self.Leaf("web.emojivoto"), self)), now)
	require.NotNil(t, res.Bundle.Get(wrap(t, self).Fingerprint()))
	res = bundle.Compact(bundleOf(t, self, again), known(t, chainOf(again)), now)
	compacted(t, res, again)

	without := bundle.Query{Rules: bundle.Identity, Issuer: wraps(t, self), Anchors: wraps(t, again), At: now}
	require.False(t, bundle.Verify(without).OK, "this is what it is kept for")
}

func TestCompactKeepsBothWhereNothingIsKnown(t *testing.T) {
	lab := newLab()
	root := lab.Root("root", testca.Until(year))
	again := root.Again(testca.Until(10 * year))
	res := bundle.Compact(bundleOf(t, root, again), nil, now)
	compacted(t, res, root, again)
	for _, k := range res.Kept {
		require.NotEmpty(t, k.Reason)
	}
	require.Contains(t, res.Kept[0].Reason, "no issuer under it is known")
}

// An issuer of another cluster says nothing about who uses this anchor.
func TestCompactKeepsBothWhereOnlyAStrangersIssuerIsKnown(t *testing.T) {
	lab := newLab()
	root := lab.Root("root", testca.Until(year))
	again := root.Again(testca.Until(10 * year))
	stranger := lab.Root("root") // of the same name, even
	res := bundle.Compact(bundleOf(t, root, again, stranger), known(t, chainOf(stranger.Issuer("issuer"))), now)
	compacted(t, res, root, again, stranger)
}

func TestCompactDropsAnExpiredTwinEvenWhereNothingIsKnown(t *testing.T) {
	lab := newLab()
	root := lab.Root("root", testca.From(-2*year), testca.Until(-time.Second))
	again := root.Again()
	compacted(t, bundle.Compact(bundleOf(t, root, again), nil, now), again)

	atTheEnd := lab.Root("root", testca.From(-2*year), testca.Until(0))
	again = atTheEnd.Again()
	compacted(t, bundle.Compact(bundleOf(t, atTheEnd, again), nil, now), atTheEnd, again)
}

func TestCompactNeverDropsTheLastOfAnAnchor(t *testing.T) {
	lab := newLab()
	root := lab.Root("root", testca.From(-2*year), testca.Until(-year))
	later := root.Again(testca.From(-2*year), testca.Until(-day))
	res := bundle.Compact(bundleOf(t, root, later), nil, now)
	compacted(t, res, later)
}

// A twin that is worse in any way that some verifier minds is no stand-in.
func TestCompactKeepsATwinThatTheOtherCannotReplace(t *testing.T) {
	for name, c := range map[string]struct {
		longer []testca.Option // of the twin that ends later and would stay
		says   string
	}{
		"a path length limit":            {[]testca.Option{testca.PathLen(0)}, "stricter path length"},
		"no CA":                          {[]testca.Option{testca.NotCA()}, "not a CA"},
		"a key usage that does not sign": {[]testca.Option{testca.Usage(x509.KeyUsageDigitalSignature)}, "may not sign"},
		"an extended key usage":          {[]testca.Option{testca.EKU(x509.ExtKeyUsageClientAuth)}, "extended key usages"},
		"a critical extension that old proxies do not know": {[]testca.Option{unknownCritical()}, "2.18"},
		"not valid yet":           {[]testca.Option{testca.From(day)}, "not valid yet"},
		"other alternative names": {[]testca.Option{testca.DNS("root")}, "alternative names"},
	} {
		t.Run(name, func(t *testing.T) {
			lab := newLab()
			root := lab.Root("root", testca.Until(year))
			again := root.Again(append(c.longer, testca.Until(10*year))...)
			res := bundle.Compact(bundleOf(t, root, again), known(t, chainOf(root.Issuer("issuer"))), now)
			compacted(t, res, root, again)
			require.Contains(t, res.Kept[0].Reason, c.says)
		})
	}
	t.Run("name constraints make it another anchor", func(t *testing.T) {
		lab := newLab()
		root := lab.Root("root", testca.Until(year))
		again := root.Again(testca.Permit("cluster.local"))
		res := bundle.Compact(bundleOf(t, root, again), known(t, chainOf(root.Issuer("issuer"))), now)
		compacted(t, res, root, again)
		require.Empty(t, res.Kept)
	})
}

func TestCompactOfThreeTwins(t *testing.T) {
	lab := newLab()
	expired := lab.Root("root", testca.From(-2*year), testca.Until(-day))
	current := expired.Again(testca.Until(year))
	long := expired.Again(testca.Until(10 * year))
	issuer := current.Issuer("issuer")

	compacted(t, bundle.Compact(bundleOf(t, expired, current, long), nil, now), current, long)
	compacted(t, bundle.Compact(bundleOf(t, expired, current, long), known(t, chainOf(issuer)), now), long)
	compacted(t, bundle.Compact(bundleOf(t, expired, current, long), known(t, chainOf(current)), now), current, long)
}

// The promise: no verdict of either rule set on what is known changes, now or
// later.
func TestCompactChangesNoVerdictEver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lab := newLab()
		moment := func(name string, from, until int) time.Duration {
			return time.Duration(rapid.IntRange(from, until).Draw(t, name)) * day
		}
		options := func(name string) (opts []testca.Option) {
			opts = append(opts, testca.From(moment(name+" from", -400, 20)), testca.Until(moment(name+" until", 21, 400)))
			if rapid.IntRange(0, 3).Draw(t, name+" old") == 0 {
				opts = []testca.Option{testca.From(-400 * day), testca.Until(moment(name+" ended", -399, 1))}
			}
			switch rapid.IntRange(0, 9).Draw(t, name+" kind") {
			case 0:
				opts = append(opts, testca.PathLen(rapid.IntRange(0, 1).Draw(t, name+" limit")))
			case 1:
				opts = append(opts, testca.NotCA())
			case 2:
				opts = append(opts, testca.EKU(rapid.SampledFrom([]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageAny}).Draw(t, name+" EKU")))
			case 3:
				opts = append(opts, unknownCritical())
			case 4:
				opts = append(opts, testca.Usage(x509.KeyUsageDigitalSignature))
			case 5:
				opts = append(opts, testca.DNS("root"))
			case 6:
				opts = append(opts, testca.Permit("cluster.local"))
			}
			return opts
		}
		var anchors []*testca.Cert
		names := []string{"root", "root", "identity"}
		for i := range rapid.IntRange(1, 2).Draw(t, "anchors") {
			root := lab.Root(names[i], options("root")...)
			anchors = append(anchors, root)
			for range rapid.IntRange(0, 3).Draw(t, "twins") {
				anchors = append(anchors, root.Again(options("twin")...))
			}
		}
		pick := func(name string) *testca.Cert { return rapid.SampledFrom(anchors).Draw(t, name) }
		var chains [][]*testca.Cert
		for range rapid.IntRange(0, 3).Draw(t, "known") {
			issuer := pick("signer").Issuer(rapid.SampledFrom([]string{"issuer", "root"}).Draw(t, "issuer"), testca.Until(moment("issuer until", 1, 500)))
			chain := []*testca.Cert{issuer}
			switch rapid.IntRange(0, 4).Draw(t, "shape") {
			case 0: // default install
				issuer = pick("self")
				chain = []*testca.Cert{issuer}
			case 1: // two levels
				sub := pick("signer").Sub("sub")
				issuer = sub.Issuer("issuer")
				chain = []*testca.Cert{issuer, sub}
			case 2: // cross-signed
				next := lab.Root("next")
				issuer = next.Issuer("issuer")
				chain = []*testca.Cert{issuer, next.CrossSignedBy(pick("by"))}
			case 3: // the root comes along
				chain = append(chain, pick("root"))
			}
			if rapid.Bool().Draw(t, "leaf") && issuer.IsCA {
				chain = append([]*testca.Cert{issuer.Leaf("web.emojivoto")}, chain...)
			}
			chains = append(chains, chain)
		}
		before := bundle.New(mustWrap(t, anchors)...)
		var k [][]*bundle.Certificate
		for _, c := range chains {
			k = append(k, mustWrap(t, c))
		}
		after := bundle.Compact(before, k, now).Bundle
		require.True(t, before.Contains(after))
		require.Len(t, before.Shared(after), len(before.Shared(before)), "no anchor is lost")
		for _, chain := range k {
			for _, days := range []int{0, 2, 21, 150, 450} {
				q := bundle.Query{At: now.Add(time.Duration(days) * day)}
				if chain[0].IsCA() {
					q.Issuer = chain
				} else {
					q.Chain = chain
				}
				for _, rules := range []bundle.Rules{bundle.Proxy, bundle.Identity} {
					for _, usage := range []bundle.Usage{bundle.Server, bundle.Client} {
						q.Rules, q.Usage = rules, usage
						q.Anchors = before.Certificates()
						was := bundle.Verify(q)
						q.Anchors = after.Certificates()
						is := bundle.Verify(q)
						require.Equal(t, was.OK, is.OK, "%s after %d days: was %s, is %s", rules, days, was.Reason, is.Reason)
					}
				}
			}
		}
	})
}

func mustWrap(t require.TestingT, cs []*testca.Cert) (out []*bundle.Certificate) {
	for _, c := range cs {
		w, err := bundle.FromX509(c.Certificate)
		require.NoError(t, err)
		out = append(out, w)
	}
	return out
}

// Twins by the thousand, and issuers under each, are compacted one group at a
// time.
func TestCompactOfManyTwins(t *testing.T) {
	lab := newLab()
	b := bundle.New()
	var k [][]*bundle.Certificate
	const n = 500
	for i := range n {
		root := lab.Root("root " + string(rune('a'+i%26)) + string(rune('a'+i/26)))
		b = bundle.Merge(b, bundleOf(t, root, root.Again(testca.Until(20*year))))
		if i%10 == 0 {
			k = append(k, wraps(t, root.Issuer("issuer")))
		}
	}
	res := bundle.Compact(b, k, now)
	require.Len(t, res.Dropped, n/10)
}
