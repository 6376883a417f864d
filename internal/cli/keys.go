package cli

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/atomicfile"
	"github.com/windlass-mesh/windlass/issuer"
)

// keyFlags are a flag that names a private key and the flags that say where
// its passphrase comes from.
type keyFlags struct {
	flag              string // name of the flag, such as "root-key"
	ref               string // FILE or KMS URI
	passFile, passEnv string
	ask               bool // of a new key: ask for the passphrase at the terminal
}

func (k *keyFlags) add(c *cobra.Command, flag, usage string, fresh bool) {
	k.flag = flag
	fl := c.Flags()
	fl.StringVar(&k.ref, flag, "", usage)
	fl.StringVar(&k.passFile, flag+"-passphrase-file", "", "file with the passphrase of --"+flag+" (one final newline is not part of it)")
	fl.StringVar(&k.passEnv, flag+"-passphrase-env", "", "environment variable with the passphrase of --"+flag)
	exclusive := []string{flag + "-passphrase-file", flag + "-passphrase-env"}
	if fresh {
		fl.BoolVar(&k.ask, flag+"-passphrase-ask", false, "ask for the passphrase of --"+flag+" at the terminal")
		exclusive = append(exclusive, flag+"-passphrase-ask")
	}
	c.MarkFlagsMutuallyExclusive(exclusive...)
	_ = c.MarkFlagRequired(flag)
}

// given returns the passphrase that the flags name, nil when they name none.
func (k *keyFlags) given(a *app) issuer.Passphrase {
	switch {
	case k.passFile != "":
		return issuer.PassphraseFile(k.passFile)
	case k.passEnv != "":
		return func() ([]byte, error) {
			secret := []byte(a.Getenv(k.passEnv))
			if len(secret) == 0 {
				return nil, fmt.Errorf("environment variable %s: %w", k.passEnv, issuer.ErrEmptyPassphrase)
			}
			return secret, nil
		}
	}
	return nil
}

// open opens the key of an existing certificate.
func (k *keyFlags) open(a *app) (crypto.Signer, error) {
	pass := k.given(a)
	if pass == nil && a.AskPassphrase != nil {
		pass = func() ([]byte, error) { return a.AskPassphrase("passphrase of " + k.ref + ": ") }
	}
	key, warnings, err := issuer.OpenKey(k.ref, issuer.OpenKeyOptions{Passphrase: pass})
	a.warn(warnings)
	return key, k.explain(err)
}

// passphrase returns what a new key is to be encrypted with, nil for in clear.
func (k *keyFlags) passphrase(a *app) (issuer.Passphrase, error) {
	if !k.ask {
		return k.given(a), nil
	}
	if a.AskPassphrase == nil {
		return nil, withHints(fmt.Errorf("ask for the passphrase of %s: standard input is no terminal", k.ref),
			"use --"+k.flag+"-passphrase-file or --"+k.flag+"-passphrase-env")
	}
	return func() ([]byte, error) {
		first, err := a.AskPassphrase("new passphrase of " + k.ref + ": ")
		if err != nil {
			return nil, err
		}
		again, err := a.AskPassphrase("the same again: ")
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(first, again) {
			return nil, errors.New("the two entries differ")
		}
		return first, nil
	}, nil
}

func (k *keyFlags) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, issuer.ErrPassphraseRequired):
		return withHints(err, "give it with --"+k.flag+"-passphrase-file or --"+k.flag+"-passphrase-env")
	case errors.Is(err, issuer.ErrKMS):
		return withHints(err, "this build reads keys from files only; for an offline root see `windlass issuer request` and `windlass issuer sign`")
	case errors.Is(err, issuer.ErrEmptyPassphrase):
		return withHints(err, "an empty passphrase would leave the key in clear; leave the flag out if that is what you want")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist):
		return fileErrorHint(err)
	}
	return err
}

func fileErrorHint(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return withHints(err, "--force overwrites it; a key that is overwritten is lost")
	}
	return withHints(err, "check the path; nothing was written")
}

func (a *app) warn(warnings []issuer.Warning) {
	for _, w := range warnings {
		a.note("%s %s: %s", a.errStyle().warn("warning"), w.Code, w)
	}
}

// readOne reads the one certificate that a flag names: a PEM file, or any
// other SOURCE that holds exactly one.
func (a *app) readOne(flag, name string) (*x509.Certificate, error) {
	s, err := a.readSource(name)
	if err != nil {
		return nil, err
	}
	b, err := s.Anchors()
	if err != nil {
		return nil, explainSource(err)
	}
	if b.Len() != 1 {
		return nil, withHints(fmt.Errorf("read %s: --%s wants one certificate and it holds %d", name, flag, b.Len()),
			"`windlass bundle show` lists them; put the one that is meant into a file of its own")
	}
	return b.Certificates()[0].X509()
}

// output is a file that a command is about to make.
type output struct {
	path string
	data []byte
	mode fs.FileMode
}

// refuseExisting fails before any work is done for a file that may not be
// overwritten. The writing itself does not depend on it.
func refuseExisting(force bool, paths ...string) error {
	seen := make(map[string]bool)
	for _, p := range paths {
		if p == "" {
			return usagef("an output file has an empty name")
		}
		if seen[p] {
			return usagef("two outputs are to go to the same file %s", p)
		}
		seen[p] = true
		info, err := os.Lstat(p)
		switch {
		case err != nil:
		case info.IsDir():
			return fmt.Errorf("write %s: it is a directory", p)
		case !force:
			return fileErrorHint(fmt.Errorf("write %s: %w", p, fs.ErrExist))
		}
	}
	return nil
}

// commit writes all files or none, in order: a key before its certificate, so
// that no certificate is published whose key is not on the disk.
func commit(force bool, outputs ...output) error {
	var g atomicfile.Group
	for _, o := range outputs {
		g.Add(o.path, o.data, atomicfile.Options{Mode: o.mode, Force: force})
	}
	if err := g.Commit(); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fileErrorHint(err)
		}
		return withHints(err, "nothing was written")
	}
	return nil
}

// newKey makes a key and its encoding for a file.
func (k *keyFlags) newKey(a *app) (crypto.Signer, []byte, error) {
	pass, err := k.passphrase(a)
	if err != nil {
		return nil, nil, err
	}
	key, err := issuer.GenerateKey()
	if err != nil {
		return nil, nil, err
	}
	text, err := issuer.EncodeKey(key, pass)
	if err != nil {
		return nil, nil, k.explain(fmt.Errorf("write key %s: %w", k.ref, err))
	}
	return key, text, nil
}

func (k *keyFlags) encrypted() bool { return k.ask || k.passFile != "" || k.passEnv != "" }

// keyNote says how a key was stored, for the text output.
func (k *keyFlags) keyNote() string {
	if k.encrypted() {
		return k.ref + " (encrypted, mode 0600)"
	}
	return k.ref + " (in clear, mode 0600)"
}

func mustCertificate(c *x509.Certificate) *bundle.Certificate {
	out, err := bundle.FromX509(c)
	if err != nil {
		panic(err) // the certificate was parsed before
	}
	return out
}
