package cli

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/issuer"
)

// keyFlags are a flag that names a private key and the flags that say where
// its passphrase comes from.
type keyFlags struct {
	flag              string // name of the flag, such as "root-key"
	ref               string // FILE or KMS URI
	passFile, passEnv string
	fresh             bool // the key is yet to be made
	ask               bool // of a new key: ask for the passphrase at the terminal
}

func (k *keyFlags) add(c *cobra.Command, flag, usage string, fresh bool) {
	k.flag, k.fresh = flag, fresh
	fl := c.Flags()
	fl.StringVar(&k.ref, flag, "", usage)
	fl.StringVar(&k.passFile, flag+"-passphrase-file", "", "`FILE` with the passphrase of --"+flag+" (one final newline is not part of it)")
	fl.StringVar(&k.passEnv, flag+"-passphrase-env", "", "environment `VARIABLE` with the passphrase of --"+flag)
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
		pass = func() ([]byte, error) { return a.AskPassphrase("passphrase of " + visible(k.ref) + ": ") }
	}
	key, warnings, err := issuer.OpenKey(k.ref, issuer.OpenKeyOptions{Passphrase: pass})
	if err != nil {
		return nil, k.explain(err)
	}
	a.warn(warnings)
	return key, nil
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
		first, err := a.AskPassphrase("new passphrase of " + visible(k.ref) + ": ")
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
	passphrase := "--" + k.flag + "-passphrase-file or --" + k.flag + "-passphrase-env"
	hints := []struct {
		is   error
		hint string
	}{
		{issuer.ErrPassphraseRequired, "give it with " + passphrase},
		{issuer.ErrWrongPassphrase, "check " + passphrase + ": spaces count, and one final newline of a file is not part of it"},
		{issuer.ErrEmptyPassphrase, "an empty passphrase protects nothing; for a key in clear leave " + passphrase + " out"},
		{issuer.ErrKMS, "this build reads and writes keys as files only; for an offline root see `windlass issuer request` and `windlass issuer sign`"},
		{issuer.ErrNotKey, "--" + k.flag + " wants a file with one private key in PEM (PKCS#8, SEC 1 or PKCS#1)"},
		{fs.ErrNotExist, "check the path; nothing was written"},
		{fs.ErrPermission, "check who may read it; nothing was written"},
		{syscall.EISDIR, "name the file in it; nothing was written"},
	}
	for _, h := range hints {
		if errors.Is(err, h.is) {
			return withHints(err, h.hint)
		}
	}
	return err
}

// warn reports warnings: at once to people, with the result to programs.
func (a *app) warn(warnings []issuer.Warning) {
	if a.output != "text" {
		a.warnings = append(a.warnings, warnings...)
		return
	}
	for _, w := range warnings {
		fmt.Fprintf(a.Stderr, "%s %s\n", a.errStyle().warn("warning"), visible(fmt.Sprintf("%s: %s", w.Code, w)))
	}
}

// secrets are the files that the flags read from and that no output may
// replace.
func (k *keyFlags) secrets() []string {
	if k.fresh || issuer.IsKMS(k.ref) {
		return []string{k.passFile}
	}
	return []string{k.ref, k.passFile}
}

// checkNew refuses what no new key can be written to.
func (k *keyFlags) checkNew() error {
	if issuer.IsKMS(k.ref) {
		return k.explain(fmt.Errorf("write key %s: %w", k.ref, issuer.ErrKMS))
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

// note says how a key was stored, for the text output.
func (k *keyFlags) note() string {
	if k.encrypted() {
		return " (encrypted, mode 0600)"
	}
	return " (in clear, mode 0600)"
}
