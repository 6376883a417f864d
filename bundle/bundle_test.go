package bundle_test

import (
	"bytes"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
)

func TestMergeIsTheUnionByCertificate(t *testing.T) {
	lab := newLab()
	a, b, c := lab.Root("a"), lab.Root("b"), lab.Root("c")
	union := bundle.Merge(bundleOf(t, a, b), bundleOf(t, b, c))
	require.Equal(t, 3, union.Len())
	require.True(t, union.Equal(bundleOf(t, c, b, a)), "order does not count")
	order := union.Certificates()
	for i, want := range wraps(t, a, b, c) {
		require.Equal(t, want.Fingerprint(), order[i].Fingerprint(), "in the order first met")
	}
}

func TestMergeKeepsTwins(t *testing.T) {
	lab := newLab()
	root := lab.Root("root")
	again := root.Again(testca.Until(20 * year))
	other := lab.Root("root") // same name, another key: no twin
	union := bundle.Merge(bundleOf(t, root), bundleOf(t, again, other))
	require.Equal(t, 3, union.Len())
	twins := union.Twins()
	require.Len(t, twins, 1)
	require.Len(t, twins[0], 2)
	require.Equal(t, twins[0][0].AnchorID(), twins[0][1].AnchorID())
	require.Negative(t, strings.Compare(twins[0][0].Fingerprint().String(), twins[0][1].Fingerprint().String()), "canonical order")
}

func TestTheTextIsCanonical(t *testing.T) {
	lab := newLab()
	var roots []*testca.Cert
	for range 20 {
		roots = append(roots, lab.Root("root"))
	}
	first := bundleOf(t, roots...).Marshal()
	slices.Reverse(roots)
	require.Equal(t, first, bundleOf(t, roots...).Marshal(), "whatever the order")
	require.True(t, bytes.HasSuffix(first, []byte("-----END CERTIFICATE-----\n")), "exactly one final newline")
	require.False(t, bytes.HasPrefix(first, []byte("\n")))
	require.NotContains(t, string(first), "\n\n")
	require.NotContains(t, string(first), "\r")

	// Block for block what encoding/pem writes, in ascending order of SHA-256.
	var want bytes.Buffer
	last := ""
	for _, c := range bundleOf(t, roots...).Sorted() {
		require.Less(t, last, c.Fingerprint().String())
		last = c.Fingerprint().String()
		require.NoError(t, pem.Encode(&want, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw()}))
	}
	require.Equal(t, want.String(), string(first))
	require.Empty(t, bundle.New().Marshal(), "nothing is an empty text")
}

func TestAnEmptyBundleIsReadyToUse(t *testing.T) {
	var b bundle.Bundle
	root := wrap(t, newLab().Root("root"))
	require.Zero(t, b.Len())
	require.Nil(t, b.Get(root.Fingerprint()))
	require.Empty(t, b.From(root.Fingerprint()))
	require.True(t, b.Equal(bundle.New()))
	require.True(t, b.Add(root, "here"))
	require.False(t, b.Add(root, "there", "here"))
	require.Equal(t, []string{"here", "there"}, b.From(root.Fingerprint()), "each place once, in order")
	require.Same(t, root, b.Get(root.Fingerprint()))
}

func TestACloneIsIndependent(t *testing.T) {
	lab := newLab()
	a, b := wrap(t, lab.Root("a")), wrap(t, lab.Root("b"))
	original := bundle.New()
	original.Add(a, "x")
	clone := original.Clone()
	clone.Add(b, "y")
	clone.Add(a, "z")
	require.Equal(t, 1, original.Len())
	require.Equal(t, []string{"x"}, original.From(a.Fingerprint()))
	require.Equal(t, []string{"x", "z"}, clone.From(a.Fingerprint()))
	clone.From(a.Fingerprint())[0] = "changed"
	clone.Certificates()[0] = nil
	require.Equal(t, []string{"x", "z"}, clone.From(a.Fingerprint()))
	places := []string{"p"}
	original.Add(a, places...)
	places[0] = "changed"
	require.Equal(t, []string{"x", "p"}, original.From(a.Fingerprint()))
}

func TestOriginsSurviveMergeAndWithout(t *testing.T) {
	lab := newLab()
	a, b := wrap(t, lab.Root("a")), wrap(t, lab.Root("b"))
	x, y := bundle.New(), bundle.New()
	x.Add(a, "x.pem")
	y.Add(a, "y.pem", "x.pem")
	y.Add(b, "y.pem")
	union := bundle.Merge(x, y)
	require.Equal(t, []string{"x.pem", "y.pem"}, union.From(a.Fingerprint()))
	rest := union.Without(b.Fingerprint())
	require.Equal(t, 1, rest.Len())
	require.Equal(t, []string{"x.pem", "y.pem"}, rest.From(a.Fingerprint()))
	require.Equal(t, 2, union.Len(), "Without takes nothing from the original")
}

func TestComparing(t *testing.T) {
	lab := newLab()
	a, b, c := lab.Root("a"), lab.Root("b"), lab.Root("c")
	again := a.Again(testca.Until(20 * year))
	x, y := bundleOf(t, a, b), bundleOf(t, again, b, c)

	require.False(t, x.Equal(y))
	require.True(t, bundleOf(t, a, b, c).Contains(x))
	require.False(t, y.Contains(x), "a twin is another certificate")
	require.True(t, x.Contains(bundle.New()))

	here, there := x.Diff(y)
	require.Len(t, here, 1)
	require.Equal(t, wrap(t, a).Fingerprint(), here[0].Fingerprint())
	require.Len(t, there, 2)
	here, there = x.Diff(x)
	require.Empty(t, here)
	require.Empty(t, there)

	require.ElementsMatch(t, []bundle.AnchorID{wrap(t, a).AnchorID(), wrap(t, b).AnchorID()}, x.Shared(y), "a twin is the same anchor")
	require.ElementsMatch(t, x.Shared(y), y.Shared(x))
	require.Len(t, bundleOf(t, a, again).Shared(bundleOf(t, a, again)), 1, "each anchor once")
	require.Empty(t, bundleOf(t, a).Shared(bundleOf(t, c)))
}

// `step certificate bundle a.pem b.pem out.pem` takes the first certificate of
// each file (step-cli, command/certificate/bundle.go: it reads both with
// pemutil.ReadCertificate, which stops after one block), so that bundling a
// bundle loses anchors without a word. A merge keeps all.
func TestMergeOfBundlesKeepsWhatStepWouldLose(t *testing.T) {
	lab := newLab()
	old := pemOf(lab.Root("old 1"), lab.Root("old 2"))
	new := pemOf(lab.Root("new 1"), lab.Root("new 2"), lab.Root("new 3"))

	var asStep []byte
	for _, file := range []string{old, new} {
		first, _ := pem.Decode([]byte(file))
		asStep = append(asStep, pem.EncodeToMemory(first)...)
	}
	lost, err := bundle.Parse(asStep)
	require.NoError(t, err)
	require.Equal(t, 2, lost.Len(), "what step keeps of five")

	x, err := bundle.Parse([]byte(old))
	require.NoError(t, err)
	y, err := bundle.Parse([]byte(new))
	require.NoError(t, err)
	union := bundle.Merge(x, y)
	require.Equal(t, 5, union.Len())
	require.True(t, union.Contains(lost))
	onlyOurs, _ := union.Diff(lost)
	require.Len(t, onlyOurs, 3)
}

// pool is certificates to draw bundles from, twins among them.
func pool(t testing.TB) []*bundle.Certificate {
	lab := newLab()
	var all []*bundle.Certificate
	for range 6 {
		root := lab.Root("root")
		all = append(all, wraps(t, root, root.Again(), root.Again(testca.Until(-day)), lab.Root("another"))...)
	}
	return all
}

func drawBundle(t *rapid.T, from []*bundle.Certificate, name string) *bundle.Bundle {
	b := bundle.New()
	for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(from)-1), 0, 12).Draw(t, name) {
		b.Add(from[i], name)
	}
	return b
}

func TestMergeIsASetUnion(t *testing.T) {
	all := pool(t)
	rapid.Check(t, func(t *rapid.T) {
		x, y, z := drawBundle(t, all, "x"), drawBundle(t, all, "y"), drawBundle(t, all, "z")
		require.True(t, bundle.Merge(x, y).Equal(bundle.Merge(y, x)), "commutative")
		require.True(t, bundle.Merge(bundle.Merge(x, y), z).Equal(bundle.Merge(x, bundle.Merge(y, z))), "associative")
		require.True(t, bundle.Merge(x, x).Equal(x), "idempotent")
		require.True(t, bundle.Merge(x, bundle.New()).Equal(x), "nothing adds nothing")
		union := bundle.Merge(x, y)
		require.True(t, union.Contains(x) && union.Contains(y), "nothing is lost")
		require.LessOrEqual(t, union.Len(), x.Len()+y.Len())
		for _, c := range union.Certificates() {
			require.True(t, x.Get(c.Fingerprint()) != nil || y.Get(c.Fingerprint()) != nil, "nothing is made up")
		}
		require.Equal(t, bundle.Merge(x, y, z).Marshal(), bundle.Merge(z, y, x).Marshal(), "one text")
		here, there := x.Diff(y)
		require.Equal(t, x.Equal(y), len(here)+len(there) == 0)
	})
}

// Whatever a merge writes, Linkerd's readers take exactly that set from it.
func TestEveryReaderTakesBackWhatMarshalWrites(t *testing.T) {
	all := pool(t)
	rapid.Check(t, func(t *rapid.T) {
		b := drawBundle(t, all, "b")
		text := b.Marshal()
		again, err := bundle.Parse(text)
		require.NoError(t, err)
		require.True(t, again.Equal(b))
		require.Equal(t, text, again.Marshal(), "a fixed point")
		takesBack(t, b, text)
	})
}

// takesBack asks both readers for exactly the set: identity, and the proxies of
// some release, without passing over any certificate. Older proxies may not
// know an extension, but read the same text.
func takesBack(t require.TestingT, b *bundle.Bundle, text []byte) {
	whole := false
	for _, r := range bundle.Releases() {
		for _, rules := range []bundle.Rules{bundle.Identity, bundle.Proxy} {
			reading := bundle.ReadAs(text, rules, r)
			if b.Len() == 0 {
				require.Error(t, reading.Err)
				continue
			}
			require.Zero(t, reading.TruncatedAt)
			if rules == bundle.Identity || len(reading.Skipped) < b.Len() {
				require.NoError(t, reading.Err)
			}
			read := append(slices.Clone(reading.Certificates), skippedOf(reading)...)
			require.Len(t, read, b.Len())
			require.True(t, bundle.New(read...).Equal(b))
			whole = whole || rules == bundle.Proxy && len(reading.Skipped) == 0
		}
	}
	require.True(t, whole || b.Len() == 0, "no proxy takes all of it")
}

func skippedOf(r bundle.Reading) (out []*bundle.Certificate) {
	for _, s := range r.Skipped {
		out = append(out, s.Certificate)
	}
	return out
}
