package issuer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// GenerateKey makes an ECDSA P-256 key, the kind that Linkerd accepts
// everywhere. It draws from the system's secure source always: since Go 1.26
// crypto/ecdsa ignores any other (tests use testing/cryptotest).
func GenerateKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// Passphrase yields the passphrase of a key when it is needed, and is called at
// most once per key; nil stands for none. An empty result is ErrEmptyPassphrase.
// See PassphraseFile; an environment variable or a prompt is the caller's.
type Passphrase func() ([]byte, error)

func (p Passphrase) get() ([]byte, error) {
	secret, err := p()
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	if len(secret) == 0 {
		return nil, ErrEmptyPassphrase
	}
	return secret, nil
}

// EncodeKey returns a private key as PKCS#8 PEM: in clear where passphrase is
// nil, else encrypted (PBES2: PBKDF2 with HMAC-SHA256 and 600,000 rounds,
// AES-256-CBC), which takes about a tenth of a second. Linkerd's identity reads
// keys in clear only.
func EncodeKey(key crypto.Signer, passphrase Passphrase) ([]byte, error) {
	if key == nil {
		return nil, fmt.Errorf("no key: %w", ErrUnsupportedKey)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("a key of type %T cannot be written: %w", key, ErrUnsupportedKey)
	}
	block := &pem.Block{Type: "PRIVATE KEY", Bytes: der}
	if passphrase != nil {
		secret, err := passphrase.get()
		if err != nil {
			return nil, err
		}
		block.Type = "ENCRYPTED PRIVATE KEY"
		if block.Bytes, err = encryptPKCS8(rand.Reader, der, secret); err != nil {
			return nil, fmt.Errorf("encrypt the key: %w", err)
		}
	}
	return pem.EncodeToMemory(block), nil
}

// maxKey bounds key files; RSA 8192 takes 6 KB.
const maxKey = 64 << 10

// ParseKey reads exactly one private key in PEM: PKCS#8, SEC 1 (with or without
// the EC PARAMETERS block that `openssl ecparam -genkey` writes before it) or
// PKCS#1, of kind ECDSA, RSA or Ed25519, in clear or encrypted (PBES2 with
// PBKDF2, or the older Proc-Type header). Text before it is fine, anything
// after it is not. At most 64 KiB.
//
// Errors: ErrNotKey, ErrUnsupportedKey, ErrPassphraseRequired,
// ErrEmptyPassphrase, ErrWrongPassphrase, or what the passphrase function
// returned. None quotes from the key.
func ParseKey(text []byte, passphrase Passphrase) (crypto.Signer, error) {
	block, err := keyBlock(text)
	if err != nil {
		return nil, err
	}
	der, encrypted, err := keyDER(block, passphrase)
	if err != nil {
		return nil, err
	}
	key, err := parseKeyDER(block.Type, der)
	if err != nil && encrypted {
		return nil, fmt.Errorf("%w, or a damaged key", ErrWrongPassphrase)
	}
	return key, err
}

// keyDER decrypts the block where needed.
func keyDER(block *pem.Block, passphrase Passphrase) (der []byte, encrypted bool, err error) {
	legacy := strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
	switch {
	case legacy:
	case block.Type == "ENCRYPTED PRIVATE KEY":
		if err := judgeEncryption(block.Bytes); err != nil {
			return nil, true, err
		}
	default:
		return block.Bytes, false, nil
	}
	if passphrase == nil {
		return nil, true, ErrPassphraseRequired
	}
	secret, err := passphrase.get()
	if err != nil {
		return nil, true, err
	}
	if !legacy {
		der, err = decryptPKCS8(block.Bytes, secret)
		return der, true, err
	}
	//lint:ignore SA1019 old keys are encrypted so; none is written so
	der, err = x509.DecryptPEMBlock(block, secret)
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, true, ErrWrongPassphrase
	} else if err != nil {
		return nil, true, fmt.Errorf("its encryption is malformed or of a kind that cannot be read: %w", ErrNotKey)
	}
	return der, true, nil
}

// keyBlock finds the one block that holds the key.
func keyBlock(text []byte) (*pem.Block, error) {
	if len(text) > maxKey {
		return nil, fmt.Errorf("more than %d bytes: %w", maxKey, ErrNotKey)
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	begins := bytes.Count(text, []byte("-----BEGIN "))
	var key *pem.Block
	for rest := text; ; {
		block, after := pem.Decode(rest)
		if block == nil {
			switch {
			case begins > 0:
				return nil, fmt.Errorf("a malformed or truncated PEM block: %w", ErrNotKey)
			case key == nil:
				return nil, fmt.Errorf("no PEM block: %w", ErrNotKey)
			case len(bytes.TrimSpace(rest)) > 0:
				return nil, fmt.Errorf("something follows the key: %w", ErrNotKey)
			}
			return key, nil
		}
		begins--
		rest = after
		switch block.Type {
		case "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY":
			if key != nil {
				return nil, fmt.Errorf("more than one key: %w", ErrNotKey)
			}
			key = block
		case "EC PARAMETERS":
			if key != nil {
				return nil, fmt.Errorf("something follows the key: %w", ErrNotKey)
			}
		default:
			return nil, fmt.Errorf("a PEM block of type %s: %w", quote(block.Type), ErrNotKey)
		}
	}
}

func parseKeyDER(kind string, der []byte) (crypto.Signer, error) {
	var key any
	var err error
	switch kind {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(der)
	default:
		key, err = x509.ParsePKCS8PrivateKey(der)
	}
	if err != nil {
		return nil, fmt.Errorf("a malformed key in a block of type %s: %w", kind, ErrNotKey)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key that cannot sign: %w", ErrUnsupportedKey)
	}
	return signer, nil
}
