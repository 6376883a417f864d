package cli

import (
	"crypto/x509"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/issuer"
)

// madeJSON is what the commands that make a certificate print. Add, never
// rename.
type madeJSON struct {
	Certificate anchorJSON `json:"certificate"`
	// ChainEnds is the earliest end in the chain that was written, RFC3339.
	ChainEnds string        `json:"chainEnds,omitempty"`
	Warnings  []warningJSON `json:"warnings"`
	Files     []string      `json:"files"`
}

type warningJSON struct {
	Code    issuer.WarningCode `json:"code"`
	Message string             `json:"message"`
}

// madeFile is a file that was written, for the report.
type madeFile struct{ what, path, note string }

// made reports a new certificate.
func (a *app) made(what string, cert *x509.Certificate, warnings []issuer.Warning, chainEnds time.Time, files ...madeFile) error {
	c := mustCertificate(cert)
	j := madeJSON{Certificate: toJSON(c, nil), Warnings: []warningJSON{}, Files: []string{}}
	a.warn(warnings)
	for _, w := range a.warnings {
		j.Warnings = append(j.Warnings, warningJSON{w.Code, w.Message})
	}
	for _, f := range files {
		j.Files = append(j.Files, f.path)
	}
	if !chainEnds.IsZero() {
		j.ChainEnds = chainEnds.UTC().Format(time.RFC3339)
	}
	err := a.print(j, func(w io.Writer) error {
		_, end := c.Validity()
		rows := []row{
			{cells: []string{what, c.Subject()}},
			{cells: []string{"signed by", c.Issuer()}},
			{cells: []string{"valid until", until(end, a.Now())}},
		}
		if !chainEnds.IsZero() && until(chainEnds, a.Now()) != until(end, a.Now()) {
			rows = append(rows, row{cells: []string{"chain ends", until(chainEnds, a.Now()) + ": leaves are cut to this"}})
		}
		rows = append(rows, row{cells: []string{"sha256", c.Fingerprint().String()}})
		for _, f := range files {
			rows = append(rows, row{cells: []string{f.what, f.path + f.note}})
		}
		return table(w, nil, rows)
	})
	if err != nil {
		return written(err, j.Files...)
	}
	return nil
}

func mustCertificate(c *x509.Certificate) *bundle.Certificate {
	out, err := bundle.FromX509(c)
	if err != nil {
		panic(err) // the certificate was parsed before
	}
	return out
}

// explainIssuer adds what can be done about a refusal of package issuer, as far
// as the command has the flags for it.
func explainIssuer(c *cobra.Command, err error) error {
	hints := []struct {
		is   error
		flag string // that the command has to have
		hint string
	}{
		{issuer.ErrKeyMismatch, "", "check that the key is the one of that certificate; nothing was written"},
		{issuer.ErrExpired, "", "`windlass root reissue` gives a root new dates, also an expired one"},
		{issuer.ErrNotYetValid, "", "check the clock of this machine"},
		{issuer.ErrPathLen, "allow-path-len", "--allow-path-len does it all the same"},
		{issuer.ErrPathLen, "max-path-len", "leave --max-path-len out for no limit"},
		{issuer.ErrUnsupportedKey, "allow-unusual-key", "Linkerd wants ECDSA P-256; --allow-unusual-key accepts what proxies take"},
		{issuer.ErrUnsupportedKey, "", "Linkerd wants ECDSA P-256"},
		{issuer.ErrSameSubject, "exact-name", "give the issuer another --name, or leave --exact-name out"},
		{issuer.ErrName, "csr", "what the request asks for and --trust-domain, --linkerd-namespace and --name have to agree; nothing was written"},
		{issuer.ErrRequest, "", "`windlass issuer request` makes one that is accepted; nothing was written"},
		{issuer.ErrNotCA, "", "name a root or intermediate CA"},
	}
	for _, h := range hints {
		if errors.Is(err, h.is) && (h.flag == "" || c.Flags().Lookup(h.flag) != nil) {
			return withHints(err, h.hint)
		}
	}
	return err
}
