package issuer_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/issuer"
)

func TestCrossSignedRootByDefault(t *testing.T) {
	old, oldKey := newRoot(t, issuer.RootOptions{CommonName: "old"})
	root, rootKey := newRoot(t, issuer.RootOptions{CommonName: "new"})
	iss, err := issuer.Intermediate(newKey(t).Public(), root, rootKey, now, issuer.IntermediateOptions{})
	require.NoError(t, err)

	got, err := issuer.CrossSign(root, old, oldKey, now, issuer.CrossSignOptions{Issuer: iss.Certificate})
	require.NoError(t, err)
	require.Empty(t, got.Warnings)
	x := got.Certificate
	require.Equal(t, root.RawSubject, x.RawSubject)
	require.Equal(t, root.RawSubjectPublicKeyInfo, x.RawSubjectPublicKeyInfo)
	require.Equal(t, extensionOf(root, extSKI), extensionOf(x, extSKI))
	require.Equal(t, old.RawSubject, x.RawIssuer)
	require.Equal(t, old.SubjectKeyId, x.AuthorityKeyId)
	require.Len(t, x.AuthorityKeyId, 20)
	require.Contains(t, extensionOf(x, extAKI), "30168014", "the key id and nothing else")
	require.Equal(t, -1, x.MaxPathLen)
	require.Empty(t, extensionOf(x, extEKU))
	require.Equal(t, iss.Certificate.NotAfter, x.NotAfter, "it ends with the issuer below it")
	require.Equal(t, x509.ECDSAWithSHA256, x.SignatureAlgorithm)
}

func TestCrossSignedRootLeadsFromTheOldAnchor(t *testing.T) {
	for name, old := range map[string]*testca.Cert{
		"P-256":    testca.New(now).Root("old"),
		"RSA 2048": testca.New(now).Root("old", testca.Kind("RSA 2048")),
		"P-384":    testca.New(now).Root("old", testca.Kind("P-384")),
		"Ed25519":  testca.New(now).Root("old", testca.Kind("Ed25519")),
		"made by linkerd, anchor and issuer at once": testca.New(now).Root("identity.linkerd.cluster.local",
			testca.EKU(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)),
	} {
		t.Run(name, func(t *testing.T) {
			root, rootKey := newRoot(t, issuer.RootOptions{})
			key := newKey(t)
			iss, err := issuer.Intermediate(key.Public(), root, rootKey, now, issuer.IntermediateOptions{})
			require.NoError(t, err)
			x, err := issuer.CrossSign(root, old.Certificate, old.Key, now, issuer.CrossSignOptions{AllowUnusual: true})
			require.NoError(t, err)
			chain, err := issuer.NewChain(iss.Certificate, x.Certificate)
			require.NoError(t, err)

			leaf := as(iss.Certificate, key).Leaf("web.emojivoto").Certificate
			for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
				require.NoError(t, accepts(leaf, chain.Certificates, old.Certificate, usage))
				require.NoError(t, accepts(leaf, chain.Certificates, root, usage))
				require.Error(t, accepts(leaf, chain.Certificates[:1], old.Certificate, usage))
			}
			for _, roots := range [][]*x509.Certificate{{old.Certificate}, {root}, {old.Certificate, root}} {
				_, err := issuer.CheckPair(chain.Certificates, key, roots, now, issuer.CheckOptions{AllowUnusual: true})
				require.NoError(t, err)
			}
		})
	}
}

func TestCrossSignKeepsPathLengthAndNameConstraints(t *testing.T) {
	lab := testca.New(now)
	by := lab.Root("by")
	root := lab.Root("root", testca.PathLen(1), testca.Permit("cluster.local"), testca.EKU(x509.ExtKeyUsageServerAuth))
	got, err := issuer.CrossSign(root.Certificate, by.Certificate, by.Key, now, issuer.CrossSignOptions{})
	require.NoError(t, err)
	require.Equal(t, 1, got.Certificate.MaxPathLen)
	require.Equal(t, extensionOf(root.Certificate, extNC), extensionOf(got.Certificate, extNC))
	require.Empty(t, extensionOf(got.Certificate, extEKU))
}

func TestCrossSignDates(t *testing.T) {
	lab := testca.New(now)
	short := lab.Root("by", testca.From(-30*time.Minute), testca.Until(30*day))
	root := lab.Root("root", testca.Until(10*year))
	for name, c := range map[string]struct {
		opts  issuer.CrossSignOptions
		by    *testca.Cert
		root  *testca.Cert
		from  time.Duration
		until time.Duration
		warns string
	}{
		"a year by default":           {until: year, from: -time.Hour, warns: "outlives-signer"},
		"with the issuer below":       {opts: issuer.CrossSignOptions{Issuer: root.Issuer("i", testca.Until(20*day)).Certificate}, from: -time.Hour, until: 20 * day},
		"as asked":                    {opts: issuer.CrossSignOptions{NotAfter: now.Add(7*day + 1)}, from: -time.Hour, until: 7 * day},
		"the date beats the issuer":   {opts: issuer.CrossSignOptions{NotAfter: now.Add(7 * day), Issuer: root.Issuer("i").Certificate}, from: -time.Hour, until: 7 * day},
		"within the signer":           {opts: issuer.CrossSignOptions{WithinSigner: true}, from: -30 * time.Minute, until: 30 * day, warns: "validity-clamped"},
		"never beyond the new root":   {root: lab.Root("root", testca.Until(5*day)), from: -time.Hour, until: 5 * day, warns: "validity-clamped"},
		"no backdating":               {opts: issuer.CrossSignOptions{Backdate: -1, NotAfter: now.Add(day)}, until: day},
		"by an expired root":          {opts: issuer.CrossSignOptions{AllowExpiredSigner: true}, by: lab.Root("by", testca.From(-2*day), testca.Until(-day)), from: -time.Hour, until: year, warns: "signer-expired"},
		"more backdating than signer": {opts: issuer.CrossSignOptions{Backdate: 2 * time.Hour, NotAfter: now.Add(day)}, from: -2 * time.Hour, until: day},
	} {
		t.Run(name, func(t *testing.T) {
			by, subject := short, root
			if c.by != nil {
				by = c.by
			}
			if c.root != nil {
				subject = c.root
			}
			got, err := issuer.CrossSign(subject.Certificate, by.Certificate, by.Key, now, c.opts)
			require.NoError(t, err)
			require.Equal(t, now.Add(c.from), got.Certificate.NotBefore)
			require.Equal(t, now.Add(c.until), got.Certificate.NotAfter)
			require.Equal(t, c.warns, codes(got.Warnings))
		})
	}
}

func TestCrossSignRefusals(t *testing.T) {
	lab := testca.New(now)
	by, root := lab.Root("by"), lab.Root("root")
	expired := lab.Root("expired", testca.From(-2*day), testca.Until(-day))
	for name, c := range map[string]struct {
		root, by *testca.Cert
		opts     issuer.CrossSignOptions
		want     error
	}{
		"another's key":           {by: &testca.Cert{Certificate: by.Certificate, Key: root.Key}, want: issuer.ErrKeyMismatch},
		"no key":                  {by: &testca.Cert{Certificate: by.Certificate}, want: issuer.ErrKeyMismatch},
		"no signer":               {by: &testca.Cert{}, want: issuer.ErrNotCA},
		"no root":                 {root: &testca.Cert{}, want: issuer.ErrNotCA},
		"signer is no CA":         {by: by.Leaf("a.b"), want: issuer.ErrNotCA},
		"signer may not sign":     {by: lab.Root("by", testca.Usage(x509.KeyUsageCRLSign)), want: issuer.ErrNotCA},
		"new root is no CA":       {root: by.Leaf("a.b"), want: issuer.ErrNotCA},
		"by itself":               {root: by, want: issuer.ErrSameAnchor},
		"by its twin":             {root: by.Again(), want: issuer.ErrSameAnchor},
		"signer's path length 0":  {by: lab.Root("by", testca.PathLen(0)), want: issuer.ErrPathLen},
		"root's path length 0":    {root: lab.Root("root", testca.PathLen(0)), want: issuer.ErrPathLen},
		"signer expired":          {by: expired, want: issuer.ErrExpired},
		"signer not yet valid":    {by: lab.Root("by", testca.From(time.Second)), opts: issuer.CrossSignOptions{AllowExpiredSigner: true}, want: issuer.ErrNotYetValid},
		"new root expired":        {root: expired, want: issuer.ErrExpired},
		"would end in the past":   {opts: issuer.CrossSignOptions{NotAfter: now}, want: issuer.ErrValidity},
		"expired and within it":   {by: expired, opts: issuer.CrossSignOptions{AllowExpiredSigner: true, WithinSigner: true}, want: issuer.ErrValidity},
		"P-384 signs":             {by: lab.Root("by", testca.Kind("P-384")), want: issuer.ErrUnsupportedKey},
		"P-384 is signed":         {root: lab.Root("root", testca.Kind("P-384")), want: issuer.ErrUnsupportedKey},
		"P-224 signs":             {by: lab.Root("by", testca.Kind("P-224")), opts: issuer.CrossSignOptions{AllowUnusual: true}, want: issuer.ErrUnsupportedKey},
		"only for clients":        {by: lab.Root("by", testca.EKU(x509.ExtKeyUsageClientAuth)), want: issuer.ErrUsage},
		"issuer of another root":  {opts: issuer.CrossSignOptions{Issuer: by.Issuer("i").Certificate}, want: issuer.ErrNotSigner},
		"no moment":               {want: issuer.ErrValidity},
		"several at once, one by": {by: lab.Root("by", testca.PathLen(0), testca.Until(-time.Minute)), want: issuer.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			if c.by == nil {
				c.by = by
			}
			if c.root == nil {
				c.root = root
			}
			at := now
			if name == "no moment" {
				at = time.Time{}
			}
			got, err := issuer.CrossSign(c.root.Certificate, c.by.Certificate, c.by.Key, at, c.opts)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, got)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestCrossSignWarnings(t *testing.T) {
	lab := testca.New(now)
	for name, c := range map[string]struct {
		root, by *testca.Cert
		opts     issuer.CrossSignOptions
		want     string
	}{
		"step's root, path length 1":  {by: lab.Root("by", testca.PathLen(1)), want: "path-length"},
		"path length 0, allowed":      {by: lab.Root("by", testca.PathLen(0)), opts: issuer.CrossSignOptions{AllowPathLen: true}, want: "path-length"},
		"name constraints of signer":  {by: lab.Root("by", testca.Permit("cluster.local")), want: "name-constraints"},
		"one subject, two keys":       {root: lab.Root("by"), want: "same-subject"},
		"one subject in another case": {root: lab.Root("BY"), want: "same-subject"},
		"signer not for clients":      {by: lab.Root("by", testca.EKU(x509.ExtKeyUsageServerAuth)), want: "usage"},
		"RSA 3072":                    {by: lab.Root("by", testca.Kind("RSA 3072")), opts: issuer.CrossSignOptions{AllowUnusual: true}, want: "unusual-key"},
	} {
		t.Run(name, func(t *testing.T) {
			by, root := lab.Root("by"), lab.Root("root")
			if c.by != nil {
				by = c.by
			}
			if c.root != nil {
				root = c.root
			}
			got, err := issuer.CrossSign(root.Certificate, by.Certificate, by.Key, now, c.opts)
			require.NoError(t, err)
			require.Equal(t, c.want, codes(got.Warnings))
			require.Equal(t, by.SubjectKeyId, got.Certificate.AuthorityKeyId, "with a shared subject too")
		})
	}
}

// What we call too short for identity is what crypto/x509 refuses.
func TestPathLengthAsIdentityCounts(t *testing.T) {
	lab := testca.New(now)
	for n, ok := range map[int]bool{0: false, 1: true, 2: true, -1: true} {
		by, root := lab.Root("by", testca.PathLen(n)), lab.Root("root")
		iss := root.Issuer("identity.linkerd.cluster.local")
		x, err := issuer.CrossSign(root.Certificate, by.Certificate, by.Key, now, issuer.CrossSignOptions{AllowPathLen: true})
		require.NoError(t, err)
		_, err = issuer.CheckIssuer([]*x509.Certificate{iss.Certificate, x.Certificate}, testca.Certs(by), now, issuer.CheckOptions{})
		if ok {
			require.NoError(t, err, "path length %d", n)
		} else {
			require.ErrorIs(t, err, issuer.ErrPathLen, "path length %d", n)
			require.ErrorIs(t, err, issuer.ErrUntrusted)
		}
		_, err = issuer.CrossSign(root.Certificate, by.Certificate, by.Key, now, issuer.CrossSignOptions{})
		require.Equal(t, ok, err == nil, "path length %d", n)
	}
}
