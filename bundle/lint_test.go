package bundle_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
)

func lint(t testing.TB, text string) []bundle.Finding {
	t.Helper()
	src, err := bundle.ReadSource("ca.crt", []byte(text))
	require.NoError(t, err)
	return bundle.Lint(src, bundle.LintOptions{Now: now})
}

func indented(pem, by string) string {
	return by + strings.ReplaceAll(strings.TrimSuffix(pem, "\n"), "\n", "\n"+by) + "\n"
}

// trustRoots is the ConfigMap of the anchors.
func trustRoots(pem string) string {
	return "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: linkerd-identity-trust-roots\n  namespace: linkerd\ndata:\n  ca-bundle.crt: |\n" + indented(pem, "    ")
}

// issuerSecret is the Secret of the issuer, without a key: nothing here needs one.
func issuerSecret(pem string) string {
	return "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: linkerd-identity-issuer\n  namespace: linkerd\ndata:\n  crt.pem: " +
		base64.StdEncoding.EncodeToString([]byte(pem)) + "\n"
}

// pod is an injected pod.
func pod(name, pem string) string {
	return "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name + "\n  namespace: apps\nspec:\n  containers:\n  - name: linkerd-proxy\n    env:\n" +
		"    - name: LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS\n      value: |\n" + indented(pem, "        ")
}

func TestAHealthyBundleHasNothingToMend(t *testing.T) {
	lab := newLab()
	root := lab.Root("root")
	issuer := root.Issuer("identity.linkerd.cluster.local")
	text := pemOf(root, lab.Root("second", testca.PathLen(1)))
	for name, source := range map[string]string{
		"a file":                text,
		"without final newline": strings.TrimSuffix(text, "\n"),
		"a manifest":            trustRoots(text) + issuerSecret(issuer.PEM()) + pod("web", text),
	} {
		for _, f := range lint(t, source) {
			require.Equal(t, bundle.LevelInfo, f.Level, "%s: %+v", name, f)
			require.Equal(t, bundle.CodeTrustScope, f.Code, "%s: %+v", name, f)
		}
	}
}

// Each code is there for its situation, and nothing else worth an error or a
// warning is said of it.
func TestEachSituationHasItsFinding(t *testing.T) {
	lab := newLab()
	ca := lab.Root("a")
	a := ca.PEM()
	bare := strings.TrimSuffix(a, "\n")
	key := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("no key at all")}))
	issuer := func(opts ...testca.Option) string {
		return trustRoots(a) + issuerSecret(ca.Issuer("issuer", opts...).PEM())
	}
	weak := ca.Again(testca.SignedWith(x509.ECDSAWithSHA1))
	for name, c := range map[string]struct {
		text string
		want []string // level and code, informative ones left out
	}{
		"expired":                                {lab.Root("x", testca.From(-year), testca.Until(-time.Second)).PEM(), []string{"error expired"}},
		"expires this very second":               {lab.Root("x", testca.From(-year), testca.Until(0)).PEM(), []string{"warning expires-soon"}},
		"expires within 60 days":                 {lab.Root("x", testca.Until(60*day-time.Second)).PEM(), []string{"warning expires-soon"}},
		"expires in 60 days":                     {lab.Root("x", testca.Until(60*day)).PEM(), nil},
		"not valid yet":                          {lab.Root("x", testca.From(time.Second)).PEM(), []string{"warning not-yet-valid"}},
		"valid from now":                         {lab.Root("x", testca.From(0)).PEM(), nil},
		"no CA":                                  {lab.Root("x", testca.NotCA()).PEM(), []string{"error not-a-ca"}},
		"a CA that may not sign":                 {lab.Root("x", testca.Usage(x509.KeyUsageCRLSign)).PEM(), []string{"error not-a-ca"}},
		"a leaf":                                 {a + ca.Leaf("web.emojivoto").PEM(), []string{"error not-a-ca", "warning expires-soon"}},
		"an issuer among the roots":              {a + ca.Issuer("issuer").PEM(), []string{"warning not-a-root"}},
		"a cross-signed root among the roots":    {a + lab.Root("n").CrossSignedBy(ca).PEM(), []string{"warning not-a-root"}},
		"twins":                                  {a + ca.Again().PEM(), []string{"warning duplicate-anchor", "warning same-subject"}},
		"two roots of one name":                  {a + lab.Root("a").PEM(), []string{"warning same-subject"}},
		"a certificate twice":                    {a + a, nil},
		"P-224":                                  {lab.Root("x", testca.Kind("P-224")).PEM(), []string{"error unsupported-key"}},
		"P-384":                                  {lab.Root("x", testca.Kind("P-384")).PEM(), []string{"warning unsupported-key"}},
		"P-521":                                  {lab.Root("x", testca.Kind("P-521")).PEM(), []string{"warning unsupported-key"}},
		"Ed25519":                                {lab.Root("x", testca.Kind("Ed25519")).PEM(), []string{"warning unsupported-key"}},
		"RSA 2048":                               {lab.Root("x", testca.Kind("RSA 2048")).PEM(), nil},
		"RSA 3072":                               {lab.Root("x", testca.Kind("RSA 3072")).PEM(), []string{"warning unsupported-key"}},
		"a signature with SHA-1":                 {weak.PEM(), []string{"warning weak-signature"}},
		"a private key":                          {a + key, []string{"error private-key-present"}},
		"a private key in front":                 {key + a, []string{"error private-key-present", "error unreadable-by-identity"}},
		"a blank line at the end":                {a + "\n", []string{"error unreadable-by-identity"}},
		"a comment at the end":                   {a + "# the end\n", []string{"error unreadable-by-identity"}},
		"text at the end":                        {a + "the end\n", []string{"error unreadable-by-identity", "warning text-outside-blocks"}},
		"a comment in front":                     {"# the root\n" + a, nil},
		"text in front":                          {"subject=CN = a\n" + a, []string{"warning text-outside-blocks"}},
		"a byte order mark":                      {"\ufeff" + a + lab.Root("b").PEM(), []string{"warning text-outside-blocks", "error truncated-for-identity", "error skipped-by-proxy"}},
		"parameters in the middle":               {a + string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 1, 1}})) + lab.Root("b").PEM(), []string{"error foreign-block", "error truncated-for-identity"}},
		"parameters at the end":                  {a + string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 1, 1}})), []string{"error foreign-block"}},
		"two glued blocks":                       {bare + lab.Root("b").PEM(), []string{"error unreadable-by-identity", "error skipped-by-proxy", "warning glued-blocks"}},
		"glued blocks and a whole one":           {bare + lab.Root("b").PEM() + lab.Root("c").PEM(), []string{"error truncated-for-identity", "error skipped-by-proxy", "warning glued-blocks"}},
		"a tab behind BEGIN":                     {strings.Replace(a, "CERTIFICATE-----\n", "CERTIFICATE-----\t\n", 1), []string{"error unreadable-by-proxy"}},
		"CR only":                                {strings.ReplaceAll(a, "\n", "\r"), []string{"error unreadable-by-identity"}},
		"a critical extension that is not known": {a + lab.Root("x", unknownCritical()).PEM(), []string{"error skipped-by-proxy"}},
		"nothing":                                {"", []string{"error empty"}},
		"words":                                  {"hello\n", []string{"error empty", "error unreadable-by-identity", "error unreadable-by-proxy", "warning text-outside-blocks"}},
		"what Go refuses":                        {a + string(vectorText(t, "certificates/negative-serial-only")), []string{"error unreadable-by-identity", "error unreadable-by-identity"}},
		"a broken block":                         {a + strings.Replace(lab.Root("b").PEM(), "\nMI", "\nMJ", 1), []string{"error broken-block", "error skipped-by-proxy", "error unreadable-by-identity"}},
		"an issuer that has expired":             {issuer(testca.From(-year), testca.Until(-time.Second)), []string{"error expired"}},
		"an issuer that ends before its leaves":  {issuer(testca.Until(24 * time.Hour)), []string{"warning chain-shortens-leaves", "warning expires-soon"}},
		"an issuer that ends right after its leaves": {issuer(testca.Until(24*time.Hour + 20*time.Second)), []string{"warning expires-soon"}},
		"an issuer that is not valid yet":            {issuer(testca.From(time.Hour)), []string{"error not-yet-valid"}},
		"an issuer that cannot sign leaves":          {issuer(testca.Kind("RSA 2048")), []string{"error unsupported-key"}},
		"an issuer that check refuses":               {issuer(testca.Kind("P-384")), []string{"warning unsupported-key"}},
		"an issuer signed with SHA-1":                {issuer(testca.SignedWith(x509.ECDSAWithSHA1)), []string{"error weak-signature"}},
		"an issuer Secret without a certificate":     {trustRoots(a) + issuerSecret("REMOVED"), []string{"error empty", "warning source-note"}},
		"copies that disagree":                       {trustRoots(a) + pod("web", lab.Root("b").PEM()), []string{"warning copies-disagree"}},
		"copies in another order":                    {trustRoots(a+weakless(lab)) + pod("web", a), []string{"warning copies-disagree"}},
		"a placeholder":                              {trustRoots("test-trust-anchor\n"), []string{"error empty", "error unreadable-by-identity", "error unreadable-by-proxy", "warning source-note", "warning text-outside-blocks"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range lint(t, c.text) {
				require.NotEmpty(t, f.Message)
				if f.Level != bundle.LevelInfo {
					got = append(got, fmt.Sprintf("%s %s", f.Level, f.Code))
				}
			}
			require.ElementsMatch(t, c.want, got)
		})
	}
}

func weakless(lab *testca.Lab) string { return lab.Root("another").PEM() }

// Keys of these sizes take long to make. A certificate for one does not: here
// the modulus is any odd number.
func TestKeySizesAtTheEdges(t *testing.T) {
	by := newLab().Root("root")
	for bits, want := range map[int]bundle.Level{
		1024: bundle.LevelError, 2047: bundle.LevelError, 2048: "", 3072: bundle.LevelWarning, 4096: "",
		8192: bundle.LevelWarning, 8200: bundle.LevelError,
	} {
		modulus := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		modulus.SetBit(modulus, 0, 1)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: now.Add(-day), NotAfter: now.Add(year),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, by.Certificate, &rsa.PublicKey{N: modulus, E: 65537}, by.Key)
		require.NoError(t, err)
		c, err := bundle.ParseCertificate(der)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("RSA %d", bits), c.Key())
		found := find(bundle.LintBundle(bundle.New(c), nil, bundle.LintOptions{Now: now}), bundle.CodeUnsupportedKey)
		require.Equal(t, want, bundle.Worst(found), bits)
	}
}

func TestVersionOneRootsMaySign(t *testing.T) {
	var set struct {
		Cases []struct {
			ID      string
			Anchors []string
		}
	}
	loadVectors(t, "chains.json", &set)
	seen := 0
	for _, c := range set.Cases {
		if !strings.Contains(c.ID, "v1") || len(c.Anchors) != 1 || strings.HasPrefix(c.Anchors[0], "@") {
			continue
		}
		b, err := bundle.Parse([]byte(c.Anchors[0]))
		if err != nil {
			continue
		}
		for _, cert := range b.Certificates() {
			if x, err := cert.X509(); err == nil && x.Version == 1 {
				seen++
				require.Empty(t, find(bundle.LintBundle(b, nil, bundle.LintOptions{Now: now}), bundle.CodeNotACA), c.ID)
			}
		}
	}
	if seen == 0 {
		t.Skip("no version 1 root among the vectors")
	}
}

func TestTrustScopeKnowsNameConstraints(t *testing.T) {
	lab := newLab()
	scope := func(c *testca.Cert) string {
		f := find(lint(t, c.PEM()), bundle.CodeTrustScope)
		require.Len(t, f, 1)
		require.Equal(t, bundle.LevelInfo, f[0].Level)
		return f[0].Message
	}
	require.Contains(t, scope(lab.Root("a")), "any identity")
	require.Contains(t, scope(lab.Root("a", testca.Permit("cluster.local"))), "name constraints allow")
}

// Linux caps a string of the environment at 131,072 bytes: the name of the
// variable, the equals sign and the NUL take 39.
func TestABundleMustFitTheEnvironment(t *testing.T) {
	require.Equal(t, 131_072-len("LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS=\x00"), bundle.MaxEnvBytes)
	a := newLab().Root("a").PEM()
	filler := func(n int) string { return "#" + strings.Repeat("x", n-2) + "\n" }
	tooLarge := func(text string) bool { return len(find(lint(t, text), bundle.CodeTooLargeForEnv)) > 0 }

	fits := filler(131_033-len(a)) + a
	require.Len(t, fits, 131_033)
	require.False(t, tooLarge(fits))
	require.True(t, tooLarge("#"+fits), "one byte more")
	// The injector trims the text and ends it with one newline.
	require.False(t, tooLarge(strings.TrimSuffix(fits, "\n")))
	require.True(t, tooLarge("#"+strings.TrimSuffix(fits, "\n")))
	// Control-plane pods get it untrimmed.
	require.True(t, tooLarge(fits+"\n"))
}

// sameName makes roots of one name; the last of them is the one that signs.
func sameName(t testing.TB, lab *testca.Lab, n int) ([]*testca.Cert, []*bundle.Certificate) {
	roots := make([]*testca.Cert, n)
	for i := range roots {
		roots[i] = lab.Root("root.linkerd.cluster.local")
	}
	return roots, wraps(t, roots...)
}

// The bound that Lint warns of is the one that proxies have: held against real
// verifications with the right anchor last.
func TestTheSameSubjectLimitIsTheProxies(t *testing.T) {
	lab := newLab()
	level := func(anchors []*bundle.Certificate, chains ...[]*bundle.Certificate) bundle.Level {
		found := find(bundle.LintBundle(bundle.New(anchors...), chains, bundle.LintOptions{Now: now}), bundle.CodeSameSubject)
		require.Len(t, found, 1)
		return found[0].Level
	}
	sound := func(chain, anchors []*bundle.Certificate) bool {
		return bundle.Verify(bundle.Query{Rules: bundle.Proxy, Chain: chain, Anchors: anchors, At: now}).OK
	}
	roots, anchors := sameName(t, lab, 101)
	last := func(n int) *testca.Cert { return roots[n-1] }

	for name, c := range map[string]struct {
		most  int // anchors of one name that still work
		chain func(root *testca.Cert) []*testca.Cert
	}{
		"leaf and issuer": {99, func(root *testca.Cert) []*testca.Cert {
			issuer := root.Issuer("issuer")
			return chainOf(issuer.Leaf("web.emojivoto"), issuer)
		}},
		"three certificates": {98, func(root *testca.Cert) []*testca.Cert {
			sub := root.Sub("sub")
			issuer := sub.Issuer("issuer")
			return chainOf(issuer.Leaf("web.emojivoto"), issuer, sub)
		}},
		"four certificates": {97, func(root *testca.Cert) []*testca.Cert {
			top := root.Sub("top")
			sub := top.Sub("sub")
			issuer := sub.Issuer("issuer")
			return chainOf(issuer.Leaf("web.emojivoto"), issuer, sub, top)
		}},
		"an issuer of the roots' own name": {49, func(root *testca.Cert) []*testca.Cert {
			issuer := root.Issuer("", testca.Subject(root.RawSubject))
			return chainOf(issuer.Leaf("web.emojivoto"), issuer)
		}},
		"a new root of the old name, cross-signed": {49, func(root *testca.Cert) []*testca.Cert {
			next := lab.Root("root.linkerd.cluster.local")
			issuer := next.Issuer("issuer")
			return chainOf(issuer.Leaf("web.emojivoto"), issuer, next.CrossSignedBy(root))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for n := c.most; n <= c.most+1; n++ {
				chain := wraps(t, c.chain(last(n))...)
				fine := n == c.most
				require.Equal(t, fine, sound(chain, anchors[:n]), "proxies with %d anchors", n)
				want := bundle.LevelError
				if fine {
					want = bundle.LevelWarning
				}
				require.Equal(t, want, level(anchors[:n], chain[1:]), "Lint with %d anchors and the issuer", n)
				require.Equal(t, want, level(anchors[:n], chain), "Lint with %d anchors and the chain", n)
				reason := bundle.Verify(bundle.Query{Rules: bundle.Proxy, Chain: chain, Anchors: anchors[:n], At: now}).Reason
				if !fine {
					require.Contains(t, reason, "100 signature checks")
					require.Contains(t, reason, "root.linkerd.cluster.local")
				}
			}
		})
	}
	require.Equal(t, bundle.LevelWarning, level(anchors[:99]), "nothing known is a chain of two")
	require.Equal(t, bundle.LevelError, level(anchors[:100]))
	long := wraps(t, lab.Root("x").Sub("1").Issuer("2"), lab.Root("y"))
	require.Equal(t, bundle.LevelError, level(anchors[:99], long), "the longest known chain counts")
}

func TestCopiesThatDisagreeAreNamed(t *testing.T) {
	lab := newLab()
	a, b := lab.Root("a"), lab.Root("b")
	src, err := bundle.ReadSource("all.yaml", []byte(trustRoots(pemOf(a, b))+pod("one", pemOf(b, a))+pod("two", a.PEM())+pod("three", a.PEM())))
	require.NoError(t, err)
	found := src.Disagreements()
	require.Len(t, found, 1)
	require.Equal(t, bundle.CodeCopiesDisagree, found[0].Code)
	require.Contains(t, found[0].Message, "ConfigMap linkerd/linkerd-identity-trust-roots data[\"ca-bundle.crt\"] and 1 more holds")
	require.Contains(t, found[0].Message, "Pod apps/two")
	require.Equal(t, found, find(bundle.Lint(src, bundle.LintOptions{Now: now}), bundle.CodeCopiesDisagree), "Lint says the same")

	agree, err := bundle.ReadSource("all.yaml", []byte(trustRoots(pemOf(a, b))+pod("one", pemOf(b, a))))
	require.NoError(t, err)
	require.Empty(t, agree.Disagreements(), "order does not count")
}

func TestExpiresSoonIsAnOption(t *testing.T) {
	b := bundleOf(t, newLab().Root("x", testca.Until(100*day)))
	count := func(o bundle.LintOptions) int { return len(find(bundle.LintBundle(b, nil, o), bundle.CodeExpiresSoon)) }
	require.Zero(t, count(bundle.LintOptions{Now: now}))
	require.Equal(t, 1, count(bundle.LintOptions{Now: now, ExpiresSoon: 101 * day}))
	require.Equal(t, 1, count(bundle.LintOptions{Now: now.Add(50 * day)}))
	f := find(bundle.LintBundle(b, nil, bundle.LintOptions{Now: now.Add(100*day - 90*time.Minute)}), bundle.CodeExpiresSoon)
	require.Contains(t, f[0].Message, "in 1h30m")
}

// show and merge judge certificates that stand in no text yet.
func TestLintBundleSaysWhatProxiesWouldSkip(t *testing.T) {
	odd := newLab().Root("x", unknownCritical())
	f := find(bundle.LintBundle(bundleOf(t, odd), nil, bundle.LintOptions{Now: now}), bundle.CodeSkippedByProxy)
	require.Len(t, f, 1)
	require.Contains(t, f[0].Message, "2.18, 2.19")
	require.NotContains(t, f[0].Message, "2.20")
	require.Len(t, find(bundle.LintBundle(bundle.New(), nil, bundle.LintOptions{Now: now}), bundle.CodeEmpty), 1)
}

func TestWorst(t *testing.T) {
	f := func(levels ...bundle.Level) (out []bundle.Finding) {
		for _, l := range levels {
			out = append(out, bundle.Finding{Level: l})
		}
		return out
	}
	require.Equal(t, bundle.Level(""), bundle.Worst(nil))
	require.Equal(t, bundle.LevelInfo, bundle.Worst(f(bundle.LevelInfo)))
	require.Equal(t, bundle.LevelWarning, bundle.Worst(f(bundle.LevelWarning, bundle.LevelInfo)))
	require.Equal(t, bundle.LevelError, bundle.Worst(f(bundle.LevelInfo, bundle.LevelError, bundle.LevelWarning)))
}
