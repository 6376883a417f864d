package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/issuer"
)

func (a *app) rootCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "root",
		Short: "Create, re-issue and cross-sign trust anchors",
		Long: `Create, re-issue and cross-sign trust anchors.

A root's key decides over a whole mesh: keep it out of the clusters. Its file is
PKCS#8 with mode 0600, encrypted where a passphrase is given.`,
	}
	c.AddCommand(a.rootCreateCmd(), a.rootReissueCmd(), a.rootCrossSignCmd())
	return c
}

func (a *app) rootCreateCmd() *cobra.Command {
	var (
		opts     issuer.RootOptions
		out      string
		files    outputs
		key      keyFlags
		validity = durationFlag{issuer.DefaultRootValidity}
		backdate = backdateFlag{durationFlag{issuer.DefaultBackdate}}
	)
	c := &cobra.Command{
		Use:   "create --name CN --out-cert FILE --out-key FILE",
		Short: "Create a root: a trust anchor of its own",
		Long: `Create a root: a self-signed CA with an ECDSA P-256 key, no path length limit, and
a validity that begins an hour ago to bear the skew of clocks.

The common name gets a short key id behind it, because proxies look anchors up by
subject alone: a subject of its own keeps handshakes cheap, and more than 99
anchors of one subject break them. --exact-name leaves it as given.`,
		Example: example(
			"windlass root create --name root.linkerd.cluster.local --out-cert ca.crt --out-key ca.key",
			"windlass root create --name root.linkerd.cluster.local --out-cert ca.crt --out-key ca.key --out-key-passphrase-file pass.txt"),
		Args: args(cobra.NoArgs, "it takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := key.checkNew(); err != nil {
				return err
			}
			if err := files.check([]string{key.ref, out}, key.secrets()...); err != nil {
				return err
			}
			opts.Validity, opts.Backdate, opts.Rand = validity.d, backdate.d, a.Rand
			signer, keyText, err := key.newKey(a)
			if err != nil {
				return err
			}
			root, err := issuer.Root(signer, a.Now(), opts)
			if err != nil {
				return explainIssuer(cmd, err)
			}
			if err := files.commit(file{key.ref, keyText, 0o600}, file{out, issuer.EncodePEM(root), 0o644}); err != nil {
				return err
			}
			return a.made("root", root, nil, time.Time{}, madeFile{"certificate", out, ""}, madeFile{"key", key.ref, key.note()})
		},
	}
	fl := c.Flags()
	fl.StringVar(&opts.CommonName, "name", "", "common `NAME` of the root")
	fl.BoolVar(&opts.ExactName, "exact-name", false, "use the name as it is, without a key id behind it")
	fl.Var(&validity, "validity", "how long it is valid, such as 87600h or 3650d")
	fl.Var(&backdate, "backdate", "how long ago the validity begins; 0 is now")
	fl.IntVar(&opts.MaxPathLen, "max-path-len", 0, "limit the CAs below it; 0 is no limit, else at least 2")
	fl.StringVar(&out, "out-cert", "", "`FILE` for the certificate")
	fl.BoolVar(&files.force, "force", false, "overwrite the files")
	key.add(c, "out-key", "`FILE` for the private key", true)
	_ = c.MarkFlagRequired("name")
	_ = c.MarkFlagRequired("out-cert")
	return c
}

func (a *app) rootReissueCmd() *cobra.Command {
	var (
		cert, out string
		files     outputs
		key       keyFlags
		validity  = durationFlag{issuer.DefaultRootValidity}
		backdate  = durationFlag{issuer.DefaultBackdate}
	)
	c := &cobra.Command{
		Use:   "reissue --cert OLD --key FILE --out-cert FILE",
		Short: "Give a root new dates; subject and key stay, byte for byte",
		Long: `Give a root new dates and a new serial number. Subject, key and name constraints
stay the same bytes, so that for a proxy both certificates are one anchor. Works
for a root that has expired.

Keep both certificates in the bundle until the issuers are renewed: see
` + "`windlass bundle merge --compact`" + `.`,
		Example: example("windlass root reissue --cert ca.crt --key ca.key --out-cert ca-renewed.crt"),
		Args:    args(cobra.NoArgs, "it takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := files.check([]string{out}, key.secrets()...); err != nil {
				return err
			}
			old, err := a.readOne("cert", cert)
			if err != nil {
				return err
			}
			signer, err := key.open(a)
			if err != nil {
				return err
			}
			signed, err := issuer.Reissue(old, signer, a.Now(), issuer.ReissueOptions{Validity: validity.d, Backdate: backdate.d, Rand: a.Rand})
			if err != nil {
				return explainIssuer(cmd, err)
			}
			if err := files.commit(file{out, issuer.EncodePEM(signed.Certificate), 0o644}); err != nil {
				return err
			}
			return a.made("re-issued root", signed.Certificate, signed.Warnings, time.Time{}, madeFile{"certificate", out, ""})
		},
	}
	fl := c.Flags()
	fl.StringVar(&cert, "cert", "", "the root (`SOURCE` that holds one certificate)")
	fl.StringVar(&out, "out-cert", "", "`FILE` for the re-issued certificate")
	fl.Var(&validity, "validity", "how long it is valid, such as 87600h or 3650d")
	fl.Var(&backdate, "backdate", "how long ago the validity begins; 0 is now")
	fl.BoolVar(&files.force, "force", false, "overwrite the file")
	key.add(c, "key", "the root's private key: `FILE` in PEM; a passphrase that no flag gives is asked for at the terminal", false)
	_ = c.MarkFlagRequired("cert")
	_ = c.MarkFlagRequired("out-cert")
	return c
}

func (a *app) rootCrossSignCmd() *cobra.Command {
	var (
		cert, by, below, out string
		files                outputs
		key                  keyFlags
		notAfter             timeFlag
		validity             durationFlag
		backdate             = durationFlag{issuer.DefaultBackdate}
		opts                 issuer.CrossSignOptions
	)
	c := &cobra.Command{
		Use:   "cross-sign --cert NEW --by OLD --by-key FILE --out FILE",
		Short: "Sign a new root with an old one, so that who trusts the old accepts the new",
		Long: `Sign a new root with the key of an old one. Presented below an issuer (see
` + "`windlass issuer create --cross-signed`" + `), the result lets a proxy that trusts only
the old root accept what the new root signed.

It ends with the issuer that will stand below it (--issuer), by default after a
year: identity cuts every leaf to the earliest end in its chain. It may outlive
the old root, whose dates proxies ignore; --within-signer keeps it inside, for
stricter verifiers.`,
		Example: example("windlass root cross-sign --cert ca-new.crt --by ca.crt --by-key ca.key --out cross-signed.crt"),
		Args:    args(cobra.NoArgs, "it takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := files.check([]string{out}, key.secrets()...); err != nil {
				return err
			}
			now := a.Now()
			switch {
			case !notAfter.t.IsZero():
				opts.NotAfter = notAfter.t
			case validity.d != 0:
				opts.NotAfter = now.Add(validity.d)
			}
			root, err := a.readOne("cert", cert)
			if err != nil {
				return err
			}
			old, err := a.readOne("by", by)
			if err != nil {
				return err
			}
			if below != "" {
				chain, err := a.readIssuer(below)
				if err != nil {
					return err
				}
				if opts.Issuer, err = chain[0].X509(); err != nil {
					return err
				}
			}
			signer, err := key.open(a)
			if err != nil {
				return err
			}
			opts.Backdate, opts.Rand = backdate.d, a.Rand
			signed, err := issuer.CrossSign(root, old, signer, now, opts)
			if err != nil {
				return explainIssuer(cmd, err)
			}
			if err := files.commit(file{out, issuer.EncodePEM(signed.Certificate), 0o644}); err != nil {
				return err
			}
			return a.made("cross-signed root", signed.Certificate, signed.Warnings, time.Time{}, madeFile{"certificate", out, ""})
		},
	}
	fl := c.Flags()
	fl.StringVar(&cert, "cert", "", "the new root (`SOURCE` that holds one certificate)")
	fl.StringVar(&by, "by", "", "the old root (`SOURCE` that holds one certificate)")
	fl.StringVar(&below, "issuer", "", "`SOURCE` of the issuer that will stand below it, whose end it takes")
	fl.StringVar(&out, "out", "", "`FILE` for the cross-signed certificate")
	fl.Var(&notAfter, "not-after", "its end, RFC3339")
	fl.Var(&validity, "validity", "how long it is valid, such as 8760h or 365d")
	fl.Var(&backdate, "backdate", "how long ago the validity begins; 0 is now")
	fl.BoolVar(&opts.WithinSigner, "within-signer", false, "keep its dates inside those of the old root")
	fl.BoolVar(&opts.AllowExpiredSigner, "allow-expired-signer", false, "sign with an old root that has expired: proxies accept that, identity does not")
	fl.BoolVar(&opts.AllowPathLen, "allow-path-len", false, "sign although a path length limit leaves no room for an issuer")
	fl.BoolVar(&opts.AllowUnusual, "allow-unusual-key", false, "accept keys that proxies take and linkerd check refuses")
	fl.BoolVar(&files.force, "force", false, "overwrite the file")
	key.add(c, "by-key", "the old root's private key: `FILE` in PEM; a passphrase that no flag gives is asked for at the terminal", false)
	c.MarkFlagsMutuallyExclusive("not-after", "validity")
	for _, f := range []string{"cert", "by", "out"} {
		_ = c.MarkFlagRequired(f)
	}
	return c
}
