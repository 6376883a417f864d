package bundle_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
)

var bothRules = []bundle.Rules{bundle.Proxy, bundle.Identity}

// query asks about an issuer, or about a chain that begins with a leaf.
func query(t testing.TB, rules bundle.Rules, chain []*testca.Cert, anchors ...*testca.Cert) bundle.Query {
	t.Helper()
	q := bundle.Query{Rules: rules, Anchors: wraps(t, anchors...), At: now}
	if len(chain) > 0 && chain[0].IsCA {
		q.Issuer = wraps(t, chain...)
	} else {
		q.Chain = wraps(t, chain...)
	}
	return q
}

func short(t testing.TB, c *testca.Cert) string { return wrap(t, c).String() }

func TestASoundChainSaysByWhichPath(t *testing.T) {
	lab := newLab()
	root := lab.Root("root")
	issuer := root.Issuer("issuer")
	leaf := issuer.Leaf("web.emojivoto")
	for _, rules := range bothRules {
		v := bundle.Verify(query(t, rules, chainOf(leaf, issuer), root))
		require.True(t, v.OK && v.Judged, v.Reason)
		require.Equal(t, rules, v.Rules)
		require.Empty(t, v.Refusing)
		path := chainOf(leaf, issuer, root)
		if rules == bundle.Identity {
			path = path[1:]
		} else {
			require.Equal(t, 2, v.SignatureChecks)
		}
		require.Len(t, v.Path, len(path))
		for i, c := range wraps(t, path...) {
			require.Equal(t, c.Fingerprint(), v.Path[i].Fingerprint())
		}
		require.True(t, strings.HasPrefix(v.Reason, "verifies: "))
		require.True(t, strings.HasSuffix(v.Reason, "issuer <- root"), v.Reason)
	}
}

// A reason names what has to change: the certificate, the anchor, the date.
func TestReasonsNameWhatHasToChange(t *testing.T) {
	lab := newLab()
	const rfc = time.RFC3339
	for name, c := range map[string]struct {
		setup    func() (chain, anchors []*testca.Cert, names []string)
		proxy    string // "ok", or what the reason says
		identity string
	}{
		"an expired anchor": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root", testca.From(-year), testca.Until(-day))
			issuer := root.Issuer("issuer")
			return chainOf(issuer), chainOf(root, lab.Root("other")), []string{short(t, root), short(t, issuer), root.NotAfter.Format(rfc)}
		}, "ok", "expired on"},
		"an anchor that is not valid yet": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root", testca.From(day))
			return chainOf(root.Issuer("issuer")), chainOf(root), []string{short(t, root), root.NotBefore.Format(rfc)}
		}, "ok", "not valid before"},
		"an anchor that is no CA": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root")
			plain := root.Again(testca.NotCA())
			return chainOf(root.Issuer("issuer")), chainOf(plain), []string{short(t, plain)}
		}, "ok", "not allowed to sign"},
		"an anchor with a path length of 0 above two CAs": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root", testca.PathLen(0))
			sub := root.Sub("sub")
			return chainOf(sub.Issuer("issuer"), sub), chainOf(root), []string{short(t, root), "limit (0)"}
		}, "ok", "may not stand above so many CAs"},
		"an anchor with an extension that is not known": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root", unknownCritical())
			return chainOf(root.Issuer("issuer")), chainOf(root, lab.Root("other")), []string{short(t, root)}
		}, "", "critical extension"},
		"the twin of an issuer that is its own root": {func() (_, _ []*testca.Cert, names []string) {
			self := lab.Root("identity")
			again := self.Again()
			return chainOf(self), chainOf(again), []string{short(t, self), short(t, again)}
		}, "ok", "that very certificate"},
		"an unknown root": {func() (_, _ []*testca.Cert, names []string) {
			issuer, other := lab.Root("root").Issuer("issuer"), lab.Root("other")
			return chainOf(issuer), chainOf(other), []string{short(t, issuer), `"root"`, short(t, other)}
		}, "nor in the trust set", "nor in the trust set"},
		"another root of the same name": {func() (_, _ []*testca.Cert, names []string) {
			issuer, other := lab.Root("root").Issuer("issuer"), lab.Root("root")
			return chainOf(issuer), chainOf(other), []string{short(t, issuer), short(t, other)}
		}, "two roots share a name", "two roots share a name"},
		"another root of the same name above a leaf": {func() (_, _ []*testca.Cert, names []string) {
			issuer, other := lab.Root("root").Issuer("issuer"), lab.Root("root")
			return chainOf(issuer.Leaf("web.emojivoto"), issuer), chainOf(other), []string{short(t, issuer), short(t, other)}
		}, "two roots share a name", "two roots share a name"},
		"an expired issuer": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root")
			issuer := root.Issuer("issuer", testca.From(-year), testca.Until(-time.Hour))
			return chainOf(issuer), chainOf(root), []string{short(t, issuer), issuer.NotAfter.Format(rfc)}
		}, "expired on", "expired on"},
		"an issuer that is not valid yet": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root")
			issuer := root.Issuer("issuer", testca.From(time.Minute))
			return chainOf(issuer), chainOf(root), []string{short(t, issuer), issuer.NotBefore.Format(rfc)}
		}, "not valid before", "not valid before"},
		"an expired cross-signed root": {func() (_, _ []*testca.Cert, names []string) {
			old, next := lab.Root("old"), lab.Root("new")
			x := next.CrossSignedBy(old, testca.From(-year), testca.Until(-time.Minute))
			return chainOf(next.Issuer("issuer"), x), chainOf(old), []string{short(t, x), x.NotAfter.Format(rfc)}
		}, "expired on", "expired on"},
		"a path length that is too small": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root")
			sub := root.Sub("sub", testca.PathLen(0))
			return chainOf(sub.Sub("middle").Issuer("issuer"), sub), chainOf(root), nil
		}, "neither presented", "neither presented"},
		"a path length limit in the middle": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root")
			top := root.Sub("top", testca.PathLen(0))
			middle := top.Sub("middle")
			return chainOf(middle.Issuer("issuer"), middle, top), chainOf(root), []string{short(t, top)}
		}, "too small", "too small"},
		"a middle that is no CA": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root")
			sub := root.Sub("sub", testca.NotCA())
			return chainOf(sub.Issuer("issuer"), sub), chainOf(root), []string{short(t, sub)}
		}, "used as a CA but is none", "not allowed to sign"},
		"an extended key usage for clients": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root")
			issuer := root.Issuer("issuer", testca.EKU(x509.ExtKeyUsageClientAuth))
			return chainOf(issuer), chainOf(root), []string{short(t, issuer), "server"}
		}, "extended key usage", "extended key usage"},
		"a signature of a kind proxies do not know": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root", testca.Kind("RSA 2048"))
			issuer := root.Issuer("issuer", testca.SignedWith(x509.SHA256WithRSAPSS))
			return chainOf(issuer), chainOf(root), []string{short(t, issuer)}
		}, "of a kind that proxies do not accept", "ok"},
		"a CA first": {func() (_, _ []*testca.Cert, names []string) {
			root := lab.Root("root")
			return nil, chainOf(root), nil
		}, "nothing is presented", "nothing to judge"},
		"an empty trust set": {func() (_, _ []*testca.Cert, names []string) {
			return chainOf(lab.Root("root").Issuer("issuer")), nil, nil
		}, "no trust roots in PEM file", "the trust set is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			chain, anchors, names := c.setup()
			for rules, want := range map[bundle.Rules]string{bundle.Proxy: c.proxy, bundle.Identity: c.identity} {
				v := bundle.Verify(query(t, rules, chain, anchors...))
				switch want {
				case "":
				case "ok":
					require.True(t, v.OK, "%s: %s", rules, v.Reason)
				default:
					require.False(t, v.OK, "%s: %s", rules, v.Reason)
					require.Empty(t, v.Path)
					require.Contains(t, v.Reason, want, rules)
					for _, n := range names {
						require.Contains(t, v.Reason, n, rules)
					}
				}
			}
		})
	}
}

func TestNameConstraintsAreNamed(t *testing.T) {
	lab := newLab()
	root := lab.Root("root", testca.Permit("other.local"))
	issuer := root.Issuer("identity.other.local")
	q := query(t, bundle.Proxy, chainOf(issuer.Leaf("web.emojivoto"), issuer), root)
	v := bundle.Verify(q)
	require.False(t, v.OK)
	require.Contains(t, v.Reason, "name constraints")
	require.Contains(t, v.Reason, short(t, root))
}

func TestAChainThatBeginsWithACAIsToldSo(t *testing.T) {
	lab := newLab()
	root := lab.Root("root")
	q := bundle.Query{Rules: bundle.Proxy, Chain: wraps(t, root.Issuer("issuer")), Anchors: wraps(t, root), At: now}
	require.Contains(t, bundle.Verify(q).Reason, "a leaf has to come first")
}

func TestTheLeafMustCarryTheIdentity(t *testing.T) {
	lab := newLab()
	root := lab.Root("root")
	issuer := root.Issuer("issuer")
	q := query(t, bundle.Proxy, chainOf(issuer.Leaf("web.emojivoto"), issuer), root)
	q.Name = "web.emojivoto.serviceaccount.identity.linkerd.cluster.local"
	require.True(t, bundle.Verify(q).OK)
	q.Name = strings.ToUpper(q.Name)
	require.True(t, bundle.Verify(q).OK, "names have no case")
	q.Name = "voting.emojivoto.serviceaccount.identity.linkerd.cluster.local"
	v := bundle.Verify(q)
	require.False(t, v.OK)
	require.Contains(t, v.Reason, "the leaf is not voting.emojivoto")
	require.Contains(t, v.Reason, `"web.emojivoto.`)
}

func TestALeafAloneIsNotJudgedByIdentity(t *testing.T) {
	root := newLab().Root("root")
	leaf := root.Leaf("web.emojivoto")
	v := bundle.Verify(query(t, bundle.Identity, chainOf(leaf), root))
	require.False(t, v.Judged)
	require.False(t, v.OK)
	require.Contains(t, v.Reason, "nothing to judge")
	require.True(t, bundle.Verify(query(t, bundle.Proxy, chainOf(leaf), root)).OK)
}

// Proxies up to 2.19 do not load an anchor with a critical extension they do
// not know.
func TestReleasesThatRefuseAreNamed(t *testing.T) {
	lab := newLab()
	odd := lab.Root("odd", unknownCritical())
	issuer := odd.Issuer("issuer")
	q := query(t, bundle.Proxy, chainOf(issuer), odd, lab.Root("other"))
	v := bundle.Verify(q)
	require.False(t, v.OK)
	require.Equal(t, []string{"2.18", "2.19"}, names(v.Refusing))
	require.Contains(t, v.Reason, "proxies of Linkerd 2.18, 2.19 refuse: ")
	require.Len(t, v.Skipped, 1)
	require.Equal(t, short(t, odd), v.Skipped[0].Certificate.String())

	newest, err := bundle.ParseRelease("edge-26.8.3")
	require.NoError(t, err)
	q.Releases = []bundle.Release{newest}
	require.True(t, bundle.Verify(q).OK)
	require.Empty(t, bundle.Verify(q).Skipped)

	oldest, err := bundle.ParseRelease("2.18")
	require.NoError(t, err)
	q.Releases = []bundle.Release{oldest}
	v = bundle.Verify(q)
	require.Equal(t, []string{"2.18"}, names(v.Refusing))
	require.NotContains(t, v.Reason, "proxies of Linkerd", "where all that were asked refuse, the reason stands alone")
}

func names(releases []bundle.Release) (out []string) {
	for _, r := range releases {
		out = append(out, r.String())
	}
	return out
}

func TestADefaultInstallIsSound(t *testing.T) {
	lab := newLab()
	self := lab.Root("identity.linkerd.cluster.local", testca.Until(year))
	for _, rules := range bothRules {
		require.True(t, bundle.Verify(query(t, rules, chainOf(self), self)).OK, rules)
		require.True(t, bundle.Verify(query(t, rules, chainOf(self.Leaf("web.emojivoto"), self), self)).OK, rules)
		require.True(t, bundle.Verify(query(t, rules, chainOf(self), self, self.Again())).OK, rules)
		require.Equal(t, self.NotAfter, bundle.SoundUntil(query(t, rules, chainOf(self), self)).UTC(), rules)

		// To a proxy the issuer is an anchor, and anchors have no end.
		leaf := self.Leaf("web.emojivoto", testca.Until(2*year))
		end := map[bundle.Rules]time.Time{bundle.Proxy: leaf.NotAfter, bundle.Identity: self.NotAfter}[rules]
		require.Equal(t, end, bundle.SoundUntil(query(t, rules, chainOf(leaf, self), self)).UTC(), rules)
	}
}

func TestSoundUntilIsRightAtTheSecond(t *testing.T) {
	lab := newLab()
	root := lab.Root("root", testca.Until(100*day))
	issuer := root.Issuer("issuer", testca.Until(50*day))
	short := root.Issuer("issuer", testca.Until(30*day), testca.WithKey(issuer.Key))
	next := lab.Root("new", testca.Until(year))
	inheritor := next.Issuer("issuer", testca.Until(300*day))
	x := next.CrossSignedBy(root, testca.Until(60*day))
	expiredRoot := lab.Root("gone", testca.From(-year), testca.Until(-day))

	for name, c := range map[string]struct {
		chain, anchors  []*testca.Cert
		proxy, identity time.Duration // from now; 0 for never
	}{
		"the issuer ends first":      {chainOf(issuer), chainOf(root), 50 * day, 50 * day},
		"the leaf ends first":        {chainOf(issuer.Leaf("web.emojivoto"), issuer), chainOf(root), 24 * time.Hour, 50 * day},
		"the anchor ends first":      {chainOf(inheritorOf(next, 400*day)), chainOf(next), 400 * day, year},
		"a way through the old root": {chainOf(inheritor, x), chainOf(root), 60 * day, 60 * day},
		"a longer way opens beside":  {chainOf(inheritor, x), chainOf(root, next), 300 * day, 300 * day},
		"two cross-signed":           {chainOf(inheritor, next.CrossSignedBy(root, testca.Until(20*day)), x), chainOf(root), 60 * day, 60 * day},
		// Identity judges the first, and cuts leaves to its end.
		"the longer certificate comes later":       {chainOf(short, issuer), chainOf(root), 30 * day, 30 * day},
		"an expired issuer that is its own anchor": {chainOf(expiredRoot), chainOf(expiredRoot), 0, 0},
		"a re-issued root takes over":              {chainOf(root.Issuer("issuer", testca.Until(200*day))), chainOf(root, root.Again(testca.Until(150*day))), 200 * day, 150 * day},
		"an expired anchor":                        {chainOf(expiredRoot.Issuer("issuer", testca.Until(10*day))), chainOf(expiredRoot), 10 * day, 0},
		"no sound chain":                           {chainOf(issuer), chainOf(next), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for rules, want := range map[bundle.Rules]time.Duration{bundle.Proxy: c.proxy, bundle.Identity: c.identity} {
				q := query(t, rules, c.chain, c.anchors...)
				end := bundle.SoundUntil(q)
				if want == 0 {
					require.True(t, end.IsZero(), "%s: %s", rules, end)
					continue
				}
				require.Equal(t, now.Add(want), end.UTC(), rules)
				q.At = end
				require.True(t, bundle.Verify(q).OK, "at the last second")
				q.At = end.Add(time.Second)
				require.False(t, bundle.Verify(q).OK, "a second later")
			}
		})
	}
}

func inheritorOf(root *testca.Cert, d time.Duration) *testca.Cert {
	return root.Issuer("issuer", testca.Until(d))
}

func TestOfSeveralPathsIdentityShowsTheOneThatLasts(t *testing.T) {
	root := newLab().Root("root", testca.Until(60*day))
	again := root.Again(testca.Until(2 * year))
	issuer := root.Issuer("issuer")
	for _, anchors := range [][]*testca.Cert{{root, again}, {again, root}} {
		v := bundle.Verify(query(t, bundle.Identity, chainOf(issuer), anchors...))
		require.True(t, v.OK)
		require.Equal(t, short(t, again), v.Path[1].String())
	}
}

// To crypto/x509 the zero time means now; a library that reads no clock must
// not pass it on.
func TestTheZeroTimeIsNotNow(t *testing.T) {
	lab := testca.New(time.Now())
	root := lab.Root("root")
	q := query(t, bundle.Identity, chainOf(root.Issuer("issuer")), root)
	q.At = time.Time{}
	v := bundle.Verify(q)
	require.False(t, v.OK)
	require.Contains(t, v.Reason, "not valid before")
	require.True(t, bundle.SoundUntil(q).IsZero())
}

func TestAnAnchorThatGoRefusesStopsIdentityOnly(t *testing.T) {
	lab := newLab()
	root := lab.Root("root")
	odd, err := bundle.ReadChain(vectorText(t, "certificates/negative-serial-only"))
	require.NoError(t, err)
	for _, rules := range bothRules {
		q := query(t, rules, chainOf(root.Issuer("issuer")), root)
		q.Anchors = append(q.Anchors, odd...)
		v := bundle.Verify(q)
		require.Equal(t, rules == bundle.Proxy, v.OK, v.Reason)
		if !v.OK {
			require.Contains(t, v.Reason, odd[0].String())
			require.Contains(t, v.Reason, "negative serial number")
		}
	}
}

// An issuer alone is judged as the chain of a faultless leaf below it would be.
// Here that leaf is made.
func TestAnIssuerAloneIsJudgedAsItsLeafWouldBe(t *testing.T) {
	verdicts := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		lab := newLab()
		draw := func(name string, n int) int { return rapid.IntRange(0, n-1).Draw(t, name) }
		options := func(name string) (opts []testca.Option) {
			switch draw(name+" kind", 9) {
			case 0:
				opts = append(opts, testca.PathLen(draw(name+" limit", 3)))
			case 1:
				usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageAny}
				opts = append(opts, testca.EKU(usages[draw(name+" EKU", 3)]))
			case 2:
				opts = append(opts, testca.Permit([]string{"cluster.local", "other.local"}[draw(name+" domain", 2)]))
			case 3:
				if draw(name+" faulty", 2) == 0 {
					opts = append(opts, testca.NotCA())
				}
			case 4:
				if draw(name+" ended", 2) == 0 {
					opts = append(opts, testca.From(-year), testca.Until(-day))
				}
			case 5:
				opts = append(opts, testca.Kind([]string{"P-384", "Ed25519"}[draw(name+" key", 2)]))
			}
			return opts
		}
		rootNames := []string{"root", "root", "other"}
		var roots []*testca.Cert
		for i := range 1 + draw("roots", 3) {
			roots = append(roots, lab.Root(rootNames[i], options("root")...))
		}
		signer := roots[draw("signer", len(roots))]
		var above []*testca.Cert
		for range draw("levels", 3) {
			signer = signer.Sub([]string{"sub", "root"}[draw("sub name", 2)], options("sub")...)
			above = append([]*testca.Cert{signer}, above...)
		}
		issuer := signer.Issuer([]string{"identity.linkerd.cluster.local", "root"}[draw("issuer name", 2)], options("issuer")...)
		if draw("default install", 8) == 0 {
			issuer, above = roots[0], nil
		}
		presented := append([]*testca.Cert{issuer}, above...)
		for range draw("crosses", 3) {
			from, by := roots[draw("crossed", len(roots))], roots[draw("by", len(roots))]
			presented = append(presented, from.CrossSignedBy(by, options("cross")...))
		}
		var anchors []*testca.Cert
		for i, r := range roots {
			if draw("trusted", 3) > 0 || i == 0 {
				anchors = append(anchors, r)
			}
			if draw("twin", 4) == 0 {
				anchors = append(anchors, r.Again(options("twin")...))
			}
		}
		name := []string{"web.emojivoto.serviceaccount.identity.linkerd.cluster.local", ""}[draw("identity", 2)]
		leaf := issuer.Leaf(name)
		rest := mustWrap(t, presented)
		chain := append(mustWrap(t, []*testca.Cert{leaf}), rest...)
		for _, rules := range bothRules {
			for _, usage := range []bundle.Usage{bundle.Server, bundle.Client} {
				for _, r := range bundle.Releases() {
					q := bundle.Query{Rules: rules, Usage: usage, Anchors: mustWrap(t, anchors), At: now, Name: name, Releases: []bundle.Release{r}}
					q.Chain = chain
					real := bundle.Verify(q)
					q.Chain, q.Issuer = nil, rest
					alone := bundle.Verify(q)
					if now.Before(issuer.NotBefore) || now.After(issuer.NotAfter) {
						// testca signs leaves that outlive their issuer; identity does not.
						require.False(t, alone.OK)
						continue
					}
					require.Equal(t, real.OK, alone.OK, "%s %s %s: with a leaf %s; alone %s", rules, usage, r, real.Reason, alone.Reason)
					require.NotEmpty(t, alone.Reason)
					if alone.OK && rules == bundle.Proxy {
						// A real leaf's signature is not even tried with a key of another kind.
						require.GreaterOrEqual(t, alone.SignatureChecks, real.SignatureChecks)
						require.Equal(t, real.Path[1:], alone.Path)
					}
					verdicts[alone.OK]++
				}
			}
		}
	})
	require.Greater(t, verdicts[true], 100, "too few sound ones")
	require.Greater(t, verdicts[false], 100, "too few unsound ones")
}

// Issuer mode under the identity rules is what crypto/x509 says, and no more.
func TestIdentityIsGo(t *testing.T) {
	lab := newLab()
	root, other := lab.Root("root", testca.PathLen(0)), lab.Root("other")
	sub := root.Sub("sub")
	for _, issuer := range []*testca.Cert{root.Issuer("i"), sub.Issuer("i"), root.Leaf("web.emojivoto"), root.Issuer("i", testca.EKU(x509.ExtKeyUsageClientAuth)), root} {
		for _, anchors := range [][]*testca.Cert{chainOf(root), chainOf(other), chainOf(other, root)} {
			_, err := issuer.Verify(x509.VerifyOptions{Roots: testca.Pool(anchors...), Intermediates: testca.Pool(sub), CurrentTime: now})
			q := bundle.Query{Rules: bundle.Identity, Issuer: wraps(t, issuer, sub), Anchors: wraps(t, anchors...), At: now}
			require.Equal(t, err == nil && issuer.IsCA, bundle.Verify(q).OK)
		}
	}
}
