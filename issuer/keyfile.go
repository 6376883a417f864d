package issuer

import (
	"bytes"
	"crypto"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/windlass-mesh/windlass/internal/atomicfile"
)

// OpenKeyOptions say how a key is opened. The zero value is for keys in clear.
type OpenKeyOptions struct {
	// Passphrase is asked when the key is encrypted, and only then.
	Passphrase Passphrase
}

// OpenKey returns the private key that ref names: the path of a file (for its
// contents see ParseKey), or the URI of a key in a key management system
// (`awskms:key-id=...`, `pkcs11:token=...`). Of the latter none is built in yet;
// they are recognised by their scheme and refused with ErrKMS. A file whose
// name looks like one is reached by `./awskms:...`.
//
// Where others than the owner can read the file, that is a warning
// (WarnKeyReadable): keys mounted from a Secret look so too.
//
// The signer may also be an io.Closer; then close it after use.
//
// Errors: ErrKMS, those of ParseKey, and those of the file system (fs.ErrNotExist
// and so on).
func OpenKey(ref string, opts OpenKeyOptions) (crypto.Signer, []Warning, error) {
	if scheme, ok := kmsScheme(ref); ok {
		return nil, nil, fmt.Errorf("open key: %s: %w", scheme, ErrKMS)
	}
	text, warnings, err := readKeyFile(ref)
	if err != nil {
		return nil, nil, fmt.Errorf("open key: %w", err)
	}
	key, err := ParseKey(text, opts.Passphrase)
	if err != nil {
		return nil, warnings, fmt.Errorf("open key %s: %w", ref, err)
	}
	return key, warnings, nil
}

// kmsSchemes are those of go.step.sm/crypto v0.91.1, kms/apiv1.
var kmsSchemes = []string{"softkms", "pkcs11", "awskms", "cloudkms", "azurekms", "tpmkms", "yubikey", "sshagentkms", "capi", "mackms", "kms"}

// IsKMS reports whether ref names a key in a key management system, built in or
// not, rather than a file.
func IsKMS(ref string) bool {
	_, ok := kmsScheme(ref)
	return ok
}

func kmsScheme(ref string) (string, bool) {
	scheme, _, ok := strings.Cut(ref, ":")
	scheme = strings.ToLower(scheme)
	return scheme, ok && slices.Contains(kmsSchemes, scheme)
}

func readKeyFile(path string) ([]byte, []Warning, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	var warnings []Warning
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		warnings = append(warnings, warnf(WarnKeyReadable, "key file %s has mode %04o and can be reached by others than its owner", path, info.Mode().Perm()))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	return text, warnings, err
}

// WriteKeyOptions say how a key is written. The zero value writes it in clear
// to a file that only its owner can read, and never overwrites.
type WriteKeyOptions struct {
	// Passphrase encrypts the key; nil leaves it in clear.
	Passphrase Passphrase
	// Force replaces a file that is there already, key or not.
	Force bool
}

// WriteKey writes a key to a new file with mode 0600, as EncodeKey shapes it.
// When it returns nil the key is on the disk, safe against a power cut: the
// moment from which its certificate may be published. When it fails nothing of
// the key is left. ref is a path; a KMS URI is ErrKMS.
//
// Errors: ErrKMS, ErrEmptyPassphrase, ErrUnsupportedKey, and those of the file
// system (fs.ErrExist where the file is there already).
func WriteKey(ref string, key crypto.Signer, opts WriteKeyOptions) error {
	if scheme, ok := kmsScheme(ref); ok {
		return fmt.Errorf("write key: %s: %w", scheme, ErrKMS)
	}
	if !opts.Force {
		// Before the passphrase is asked for; the writing itself does not
		// depend on this.
		if _, err := os.Lstat(ref); err == nil {
			return fmt.Errorf("write key: %w", &fs.PathError{Op: "write", Path: ref, Err: fs.ErrExist})
		}
	}
	text, err := EncodeKey(key, opts.Passphrase)
	if err != nil {
		return fmt.Errorf("write key %s: %w", ref, err)
	}
	if err := atomicfile.Write(ref, text, atomicfile.Options{Mode: 0o600, Force: opts.Force}); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

const maxPassphrase = 4 << 10

// PassphraseFile reads a passphrase from a file of at most 4 KiB. One newline
// at its end (\n or \r\n) is not part of it, everything else is, spaces too.
func PassphraseFile(path string) Passphrase {
	return func() ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		secret, err := io.ReadAll(io.LimitReader(f, maxPassphrase+3))
		if err != nil {
			return nil, err
		}
		if cut, ok := bytes.CutSuffix(secret, []byte("\n")); ok {
			secret = bytes.TrimSuffix(cut, []byte("\r"))
		}
		if len(secret) > maxPassphrase {
			return nil, fmt.Errorf("%s: more than %d bytes", path, maxPassphrase)
		}
		if len(secret) == 0 {
			return nil, fmt.Errorf("%s: %w", path, ErrEmptyPassphrase)
		}
		return secret, nil
	}
}
