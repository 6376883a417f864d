package bundle_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
)

func source(t testing.TB, text string) *bundle.Source {
	t.Helper()
	src, err := bundle.ReadSource("in", []byte(text))
	require.NoError(t, err)
	return src
}

func TestASourceIsToldByItsContent(t *testing.T) {
	lab := newLab()
	a := lab.Root("a")
	asJSON, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]string{"name": "linkerd-identity-trust-roots"}, "data": map[string]string{"ca-bundle.crt": a.PEM()}})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		text     string
		manifest bool
	}{
		"PEM":                        {a.PEM(), false},
		"PEM below headings":         {"Certificate:\n    Data:\n        Version: 3 (0x2)\nsubject: CN=a\n" + a.PEM(), false},
		"PEM with a byte order mark": {"\ufeff" + a.PEM(), false},
		"YAML":                       {trustRoots(a.PEM()), true},
		"YAML below a comment":       {"# Source: chart\n" + trustRoots(a.PEM()), true},
		"YAML with CRLF":             {strings.ReplaceAll(trustRoots(a.PEM()), "\n", "\r\n"), true},
		"JSON":                       {string(asJSON), true},
		"a List in JSON":             {`{"kind":"List","apiVersion":"v1","items":[` + string(asJSON) + `]}`, true},
		"a values file":              {"identityTrustAnchorsPEM: |\n" + indented(a.PEM(), "  "), true},
	} {
		t.Run(name, func(t *testing.T) {
			src := source(t, c.text)
			require.Equal(t, c.manifest, src.Manifest)
			if name == "PEM with a byte order mark" || name == "PEM below headings" {
				require.NotEmpty(t, src.AnchorTexts())
			}
			b, err := src.Anchors()
			require.NoError(t, err)
			require.True(t, b.Equal(bundleOf(t, a)))
		})
	}
}

// What `cat secret.yaml ca.crt` makes is neither: the certificates of the
// Secret would be lost without a word.
func TestAManifestJoinedToPEMIsNoPEM(t *testing.T) {
	lab := newLab()
	secret := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: linkerd-identity-issuer\ndata:\n  ca.crt: " +
		base64.StdEncoding.EncodeToString([]byte(lab.Root("a").PEM())) + "\n"
	_, err := bundle.ReadSource("in", []byte(secret+lab.Root("b").PEM()))
	require.ErrorContains(t, err, "read in: ")
	src := source(t, strings.ReplaceAll(secret, "apiVersion: v1\nkind: Secret\n", "x: y\n")+lab.Root("b").PEM())
	_, err = src.Anchors()
	require.ErrorContains(t, err, "base64 once more")
}

func TestAnchorsAreTheUnionOfAllCopiesWithTheirPlaces(t *testing.T) {
	lab := newLab()
	a, b := lab.Root("a"), lab.Root("b")
	src := source(t, trustRoots(a.PEM())+pod("one", pemOf(a, b))+pod("two", pemOf(a, b)))
	union, err := src.Anchors()
	require.NoError(t, err)
	require.True(t, union.Equal(bundleOf(t, a, b)))
	const env = ` spec.containers["linkerd-proxy"].env["LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"]`
	require.Equal(t, []string{
		`in: ConfigMap linkerd/linkerd-identity-trust-roots data["ca-bundle.crt"]`,
		"in: Pod apps/one" + env, "in: Pod apps/two" + env,
	}, union.From(wrap(t, a).Fingerprint()))
	require.Len(t, union.From(wrap(t, b).Fingerprint()), 2)
}

func TestErrorsPointAtTheLineOfTheManifest(t *testing.T) {
	lab := newLab()
	good, bad := lab.Root("a").PEM(), strings.Replace(lab.Root("b").PEM(), "BEGIN CERTIFICATE", "BEGIN CERT", 1)
	text := trustRoots(good) + pod("one", good+bad)
	line := 0
	for i, l := range strings.Split(text, "\n") {
		if strings.Contains(l, "BEGIN CERT-") {
			line = i + 1
		}
	}
	_, err := source(t, text).Anchors()
	require.ErrorContains(t, err, fmt.Sprintf("read in: Pod apps/one spec.containers[\"linkerd-proxy\"].env[\"LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS\"]: line %d: ", line+strings.Count(bad, "\n")-1))
	var at *bundle.SourceError
	require.ErrorAs(t, err, &at)
	require.Len(t, at.Lines(), len(at.Issues))
	var issues *bundle.ParseError
	require.ErrorAs(t, err, &issues)

	// In base64 there are no lines: the value's line, and the line within it.
	text = trustRoots(good) + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: linkerd-config-overrides, namespace: linkerd}\ndata:\n  linkerd-config-overrides: " +
		base64.StdEncoding.EncodeToString([]byte("identityTrustAnchorsPEM: |\n"+indented(bad, "  "))) + "\n"
	_, err = source(t, text).Anchors()
	require.ErrorContains(t, err, fmt.Sprintf("line %d (line ", strings.Count(text, "\n")))
	require.ErrorContains(t, err, "of the value there)")
}

func TestASourceWithoutCertificatesSaysWhatWasLookedFor(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"an empty file":       {"", "CERTIFICATE blocks"},
		"words":               {"hello\n", "CERTIFICATE blocks"},
		"a manifest of sorts": {"apiVersion: v1\nkind: Service\nmetadata: {name: x}\n", "ConfigMap linkerd-identity-trust-roots"},
		"a placeholder":       {trustRoots("test-trust-anchor\n"), "line 9: no certificate found in it"},
	} {
		t.Run(name, func(t *testing.T) {
			src := source(t, c.text)
			_, err := src.Anchors()
			require.ErrorIs(t, err, bundle.ErrNoCertificate)
			require.ErrorContains(t, err, "read in: ")
			require.ErrorContains(t, err, c.says)
			_, err = src.Chain()
			require.ErrorIs(t, err, bundle.ErrNoCertificate)
			for _, r := range []bundle.Rules{bundle.Identity, bundle.Proxy} {
				_, err = src.AnchorsAs(r)
				require.Error(t, err)
			}
		})
	}
	_, err := bundle.ReadSource("in", make([]byte, bundle.MaxSourceSize+1))
	require.ErrorIs(t, err, bundle.ErrSourceTooLarge)
}

func TestTheChainIsTheIssuersAndAnchorsAreNot(t *testing.T) {
	lab := newLab()
	root := lab.Root("root")
	sub := root.Sub("sub")
	issuer := sub.Issuer("issuer")
	src := source(t, trustRoots(root.PEM())+issuerSecret(pemOf(issuer, sub)))
	chain, err := src.Chain()
	require.NoError(t, err)
	require.Equal(t, wraps(t, issuer, sub)[0].Fingerprint(), chain[0].Fingerprint())
	require.Len(t, chain, 2)
	anchors, err := src.Anchors()
	require.NoError(t, err)
	require.True(t, anchors.Equal(bundleOf(t, root)))

	_, err = source(t, issuerSecret(issuer.PEM())).Anchors()
	require.ErrorIs(t, err, bundle.ErrNoCertificate, "an issuer is no anchor")

	same := issuerSecret(issuer.PEM())
	chain, err = source(t, same+strings.Replace(same, "namespace: linkerd", "namespace: other", 1)).Chain()
	require.NoError(t, err, "copies that agree are one chain")
	require.Len(t, chain, 1)
	_, err = source(t, same+strings.Replace(issuerSecret(lab.Root("x").Issuer("y").PEM()), "namespace: linkerd", "namespace: other", 1)).Chain()
	require.ErrorContains(t, err, "several chains that differ")
	require.ErrorContains(t, err, "Secret other/linkerd-identity-issuer")

	_, err = source(t, issuer.PEM()+"-----BEGIN CERTIFICATE-----\n").Chain()
	require.ErrorContains(t, err, "read in: line ")
}

// A consumer gets a text as it is: twice the same certificate is two anchors to
// a proxy, and one to identity.
func TestAnchorsAsIsWhatTheConsumerGets(t *testing.T) {
	lab := newLab()
	a, b := lab.Root("a"), lab.Root("b")
	src := source(t, pemOf(a, a, b))
	proxy, err := src.AnchorsAs(bundle.Proxy)
	require.NoError(t, err)
	require.Len(t, proxy, 3)
	identity, err := src.AnchorsAs(bundle.Identity)
	require.NoError(t, err)
	require.Len(t, identity, 2)
	_, err = source(t, pemOf(a)+"\n").AnchorsAs(bundle.Identity)
	require.ErrorContains(t, err, "not a PEM certificate")
	_, err = source(t, pemOf(a)+"\n").AnchorsAs(bundle.Proxy)
	require.NoError(t, err)
	_, err = source(t, trustRoots(a.PEM()+"tail\n")).AnchorsAs(bundle.Identity)
	require.ErrorContains(t, err, "linkerd-identity-trust-roots", "which text")
}

// Names in a manifest come from whoever wrote it.
func TestAHostileManifestCannotSteerATerminal(t *testing.T) {
	a := newLab().Root("a")
	text := strings.Replace(pod("web", a.PEM()), "name: web", `name: "web\u001b[2J\u202eevil"`, 1)
	src := source(t, text)
	b, err := src.Anchors()
	require.NoError(t, err)
	said := b.From(wrap(t, a).Fingerprint())
	for _, f := range bundle.Lint(source(t, strings.ReplaceAll(text, "BEGIN", "BEGlN")), bundle.LintOptions{Now: now}) {
		said = append(said, f.Message, f.Subject)
	}
	_, err = bundle.ReadSource("in", []byte(strings.Replace(text, "kind: Pod", "kind: Secret\ndata: {tls.crt: \"%\"}", 1)))
	if err != nil {
		said = append(said, err.Error())
	}
	for _, s := range said {
		for _, r := range s {
			require.True(t, unicode.IsGraphic(r), "%q", s)
		}
	}
}

// Thousands of pods are read once if they carry one text, and in time that
// grows with their number if each carries another.
func TestThousandsOfPods(t *testing.T) {
	lab := newLab()
	const n = 1_000
	var roots []*testca.Cert
	for i := range 40 {
		roots = append(roots, lab.Root(fmt.Sprint("root ", i)))
	}
	all := pemOf(roots[:2]...)
	config := trustRoots(all)
	var same strings.Builder
	same.WriteString(config)
	for i := range n {
		fmt.Fprintf(&same, "---\nkind: Pod\nmetadata: {name: pod-%d, namespace: linkerd}\nspec: {containers: [{name: linkerd-proxy, env: [{name: LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS, valueFrom: {configMapKeyRef: {name: linkerd-identity-trust-roots, key: ca-bundle.crt}}}]}]}\n", i)
	}
	src := source(t, same.String())
	texts := src.AnchorTexts()
	require.Len(t, texts, n+1)
	require.Same(t, &texts[0].PEM[0], &texts[n].PEM[0], "one text in memory")
	b, err := src.Anchors()
	require.NoError(t, err)
	require.Len(t, b.From(wrap(t, roots[0]).Fingerprint()), n+1)
	require.Empty(t, src.Disagreements())
	bundle.Lint(src, bundle.LintOptions{Now: now})

	var different strings.Builder
	for i := range n {
		different.WriteString(pod(fmt.Sprint("pod-", i), fmt.Sprintf("# %d\n", i)+roots[i%40].PEM()+roots[i/40%40].PEM()))
	}
	src = source(t, different.String())
	b, err = src.Anchors()
	require.NoError(t, err)
	require.Equal(t, 40, b.Len())
	found := src.Disagreements()
	require.Len(t, found, 1)
	require.Less(t, len(found[0].Message), 4000)
}
