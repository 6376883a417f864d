package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/issuer"
)

func (a *app) issuerCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "issuer",
		Short: "Create identity issuers, in one place or split over two",
		Long: `Create identity issuers: the intermediate CA that signs the workload certificates
of one cluster.

Where the root's key is kept offline, ` + "`request`" + ` runs where the issuer's key is to be
and ` + "`sign`" + ` where the root's key is; no key ever travels.`,
	}
	c.AddCommand(a.issuerCreateCmd(), a.issuerRequestCmd(), a.issuerSignCmd())
	return c
}

// issuerFlags are the flags that create, request and sign share.
type issuerFlags struct {
	opts        issuer.IntermediateOptions
	validity    durationFlag
	backdate    backdateFlag
	crossSigned string
}

func (f *issuerFlags) addName(c *cobra.Command, usage string) {
	fl := c.Flags()
	fl.StringVar(&f.opts.TrustDomain, "trust-domain", issuer.DefaultTrustDomain, "trust `DOMAIN` of the mesh")
	fl.StringVar(&f.opts.Namespace, "linkerd-namespace", issuer.DefaultNamespace, "`NAMESPACE` of Linkerd's control plane")
	fl.StringVar(&f.opts.CommonName, "name", "", usage)
}

const newName = "common `NAME` (default identity.<namespace>.<trust domain>)"

// namedBy repeats the flags that a request was named by: who signs has to say
// them too, since the request is not trusted.
func namedBy(c *cobra.Command) (flags string) {
	for _, n := range []string{"trust-domain", "linkerd-namespace"} {
		if fl := c.Flags().Lookup(n); fl.Value.String() != fl.DefValue {
			flags += " --" + n + " " + fl.Value.String()
		}
	}
	return flags
}

func (f *issuerFlags) addSigning(c *cobra.Command) {
	fl := c.Flags()
	f.validity.d, f.backdate.d = issuer.DefaultIssuerValidity, issuer.DefaultBackdate
	fl.Var(&f.validity, "validity", "how long it is valid, such as 8760h or 365d; cut at the root's end")
	fl.Var(&f.backdate, "backdate", "how long ago the validity begins; 0 is now")
	fl.BoolVar(&f.opts.AllowPathLen, "allow-path-len", false, "sign although the root's path length limit is 0")
	fl.BoolVar(&f.opts.AllowUnusual, "allow-unusual-key", false, "sign with a root that proxies take and linkerd check refuses")
	fl.StringVar(&f.crossSigned, "cross-signed", "", "PEM `FILE` of cross-signed roots to append, for peers that trust only the old root")
}

// chain puts the issuer and the cross-signed roots together as text.
func (f *issuerFlags) chain(a *app, signed *issuer.Signed) (text []byte, ends time.Time, err error) {
	if f.crossSigned == "" {
		return issuer.EncodePEM(signed.Certificate), signed.Certificate.NotAfter, nil
	}
	certs, err := a.readIssuer(f.crossSigned)
	if err != nil {
		return nil, ends, err
	}
	above, err := parsed(certs)
	if err != nil {
		return nil, ends, err
	}
	chain, err := issuer.NewChain(signed.Certificate, above...)
	if err != nil {
		return nil, ends, withHints(err, "a cross-signed root carries the name and key of --root: see `windlass root cross-sign --cert`")
	}
	now := a.Now()
	if !chain.NotAfter.After(now) {
		return nil, ends, withHints(fmt.Errorf("put a chain together: %s ended on %s: %w", mustCertificate(chain.EndsFirst), chain.NotAfter.UTC().Format(time.DateOnly), issuer.ErrExpired),
			"`windlass root cross-sign` makes a new one; nothing was written")
	}
	return chain.PEM(), chain.NotAfter, nil
}

func (a *app) issuerCreateCmd() *cobra.Command {
	var (
		f            issuerFlags
		root, out    string
		files        outputs
		rootKey, key keyFlags
	)
	c := &cobra.Command{
		Use:   "create --root CERT --root-key FILE --out-cert FILE --out-key FILE",
		Short: "Create an issuer under a root",
		Long: `Create an identity issuer under a root: ECDSA P-256, path length 0, inside the dates
of the root, with the DNS name identity.<namespace>.<trust domain>. What Linkerd
would refuse is refused before anything is written.

The issuer's key has to be in clear for Linkerd to read it.`,
		Example: example(
			"windlass issuer create --root ca.crt --root-key ca.key --out-cert issuer.crt --out-key issuer.key",
			"windlass issuer create --root ca-new.crt --root-key ca-new.key --cross-signed cross-signed.crt --out-cert issuer.crt --out-key issuer.key"),
		Args: args(cobra.NoArgs, "it takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := key.checkNew(); err != nil {
				return err
			}
			if err := files.check([]string{key.ref, out}, append(rootKey.secrets(), key.secrets()...)...); err != nil {
				return err
			}
			by, err := a.readOne("root", root)
			if err != nil {
				return err
			}
			byKey, err := rootKey.open(a)
			if err != nil {
				return err
			}
			signer, keyText, err := key.newKey(a)
			if err != nil {
				return err
			}
			f.opts.Validity, f.opts.Backdate, f.opts.Rand = f.validity.d, f.backdate.d, a.Rand
			signed, err := issuer.Intermediate(signer.Public(), by, byKey, a.Now(), f.opts)
			if err != nil {
				return explainIssuer(cmd, err)
			}
			text, ends, err := f.chain(a, signed)
			if err != nil {
				return err
			}
			if err := files.commit(file{key.ref, keyText, 0o600}, file{out, text, 0o644}); err != nil {
				return err
			}
			return a.made("issuer", signed.Certificate, signed.Warnings, ends, madeFile{"certificate", out, ""}, madeFile{"key", key.ref, key.note()})
		},
	}
	f.addName(c, newName)
	f.addSigning(c)
	fl := c.Flags()
	fl.StringVar(&root, "root", "", "the root (`SOURCE` that holds one certificate)")
	fl.StringVar(&out, "out-cert", "", "`FILE` for the issuer's certificate or chain")
	fl.BoolVar(&f.opts.ExactName, "exact-name", false, "use the common name as the whole subject, without a key id beside it")
	fl.BoolVar(&files.force, "force", false, "overwrite the files")
	rootKey.add(c, "root-key", "the root's private key: `FILE` in PEM; a passphrase that no flag gives is asked for at the terminal", false)
	key.add(c, "out-key", "`FILE` for the issuer's private key", true)
	_ = c.MarkFlagRequired("root")
	_ = c.MarkFlagRequired("out-cert")
	return c
}

func (a *app) issuerRequestCmd() *cobra.Command {
	var (
		f     issuerFlags
		out   string
		files outputs
		key   keyFlags
	)
	c := &cobra.Command{
		Use:     "request --out-csr FILE --out-key FILE",
		Short:   "Make an issuer's key and a request for its certificate",
		Long:    "Make an issuer's key and a certificate request, where that key is to stay. The root's\nholder answers it with `windlass issuer sign`.",
		Example: example("windlass issuer request --out-csr issuer.csr --out-key issuer.key"),
		Args:    args(cobra.NoArgs, "it takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := key.checkNew(); err != nil {
				return err
			}
			if err := files.check([]string{key.ref, out}, key.secrets()...); err != nil {
				return err
			}
			signer, keyText, err := key.newKey(a)
			if err != nil {
				return err
			}
			csr, err := issuer.Request(signer, issuer.RequestOptions{
				Namespace: f.opts.Namespace, TrustDomain: f.opts.TrustDomain, CommonName: f.opts.CommonName,
				ExactName: f.opts.ExactName, Rand: a.Rand,
			})
			if err != nil {
				return explainIssuer(cmd, err)
			}
			if err := files.commit(file{key.ref, keyText, 0o600}, file{out, csr, 0o644}); err != nil {
				return err
			}
			paths := []string{out, key.ref}
			err = a.print(struct {
				Files []string `json:"files"`
			}{paths}, func(w io.Writer) error {
				return table(w, nil, []row{
					{cells: []string{"request", out}},
					{cells: []string{"key", key.ref + key.note()}},
					{cells: []string{"next", "windlass issuer sign --csr " + out + namedBy(cmd) + ", where the root's key is"}},
				})
			})
			if err != nil {
				return written(err, paths...)
			}
			return nil
		},
	}
	f.addName(c, newName)
	fl := c.Flags()
	fl.StringVar(&out, "out-csr", "", "`FILE` for the request")
	fl.BoolVar(&f.opts.ExactName, "exact-name", false, "use the common name as the whole subject, without a key id beside it")
	fl.BoolVar(&files.force, "force", false, "overwrite the files")
	key.add(c, "out-key", "`FILE` for the issuer's private key", true)
	_ = c.MarkFlagRequired("out-csr")
	return c
}

func (a *app) issuerSignCmd() *cobra.Command {
	var (
		f              issuerFlags
		csr, root, out string
		files          outputs
		rootKey        keyFlags
	)
	c := &cobra.Command{
		Use:   "sign --csr FILE --root CERT --root-key FILE --out-cert FILE",
		Short: "Sign a request for an issuer, where the root's key is",
		Long: `Sign a certificate request for an identity issuer. The request is not trusted: its
signature is checked, its key and subject are judged, and nothing else is taken
from it.`,
		Example: example("windlass issuer sign --csr issuer.csr --root ca.crt --root-key ca.key --out-cert issuer.crt"),
		Args:    args(cobra.NoArgs, "it takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := files.check([]string{out}, rootKey.secrets()...); err != nil {
				return err
			}
			request, name, err := a.readData(csr)
			if err != nil {
				return err
			}
			by, err := a.readOne("root", root)
			if err != nil {
				return err
			}
			byKey, err := rootKey.open(a)
			if err != nil {
				return err
			}
			f.opts.Validity, f.opts.Backdate, f.opts.Rand = f.validity.d, f.backdate.d, a.Rand
			signed, err := issuer.SignRequest(request, by, byKey, a.Now(), f.opts)
			if err != nil {
				return explainIssuer(cmd, fmt.Errorf("%s: %w", name, err))
			}
			text, ends, err := f.chain(a, signed)
			if err != nil {
				return err
			}
			if err := files.commit(file{out, text, 0o644}); err != nil {
				return err
			}
			return a.made("issuer", signed.Certificate, signed.Warnings, ends, madeFile{"certificate", out, ""})
		},
	}
	f.addName(c, "common `NAME` that the request has to have (default any)")
	f.addSigning(c)
	fl := c.Flags()
	fl.StringVar(&csr, "csr", "", "the request (PEM or DER `FILE`, or -)")
	fl.StringVar(&root, "root", "", "the root (`SOURCE` that holds one certificate)")
	fl.StringVar(&out, "out-cert", "", "`FILE` for the issuer's certificate or chain")
	fl.BoolVar(&files.force, "force", false, "overwrite the file")
	rootKey.add(c, "root-key", "the root's private key: `FILE` in PEM; a passphrase that no flag gives is asked for at the terminal", false)
	for _, n := range []string{"csr", "root", "out-cert"} {
		_ = c.MarkFlagRequired(n)
	}
	return c
}
