package issuer

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"

	"go.step.sm/crypto/pemutil"
)

// Keys are encrypted as PKCS#8 (RFC 5958) by PBES2 (RFC 8018): AES-256-CBC with
// a key from PBKDF2 over HMAC-SHA256, 600,000 rounds (pemutil.PBKDF2Iterations).

func encryptPKCS8(random io.Reader, der, passphrase []byte) ([]byte, error) {
	block, err := pemutil.EncryptPKCS8PrivateKey(random, der, passphrase, x509.PEMCipherAES256)
	if err != nil {
		return nil, err
	}
	return block.Bytes, nil
}

// decryptPKCS8 decrypts what judgeEncryption found sane. A wrong passphrase
// shows in the padding, but only 255 times in 256; the rest shows when the key
// is parsed.
func decryptPKCS8(der, passphrase []byte) ([]byte, error) {
	// pemutil decrypts in place.
	out, err := pemutil.DecryptPKCS8PrivateKey(append([]byte(nil), der...), passphrase)
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, ErrWrongPassphrase
	case err != nil:
		return nil, fmt.Errorf("its encryption cannot be undone here: %w", ErrNotKey)
	}
	return out, nil
}

// maxRounds of PBKDF2 bounds the work that a file can ask for before anything
// in it is known to be true: some seconds.
const maxRounds = 10_000_000

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

// prfs are the pseudo-random functions that pemutil reads: none named (the
// default of RFC 8018, appendix A.2, which is HMAC-SHA1), HMAC-SHA1,
// HMAC-SHA256. Any other it would take for HMAC-SHA1, and call the right
// passphrase wrong.
var prfs = map[string]bool{"": true, "1.2.840.113549.2.7": true, "1.2.840.113549.2.9": true}

// blockSizes of the ciphers that pemutil reads, in bytes. Triple DES is what
// OpenSSL wrote up to 1.0.
var blockSizes = map[string]int{
	"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 16, "2.16.840.1.101.3.4.1.42": 16, // AES-128, 192, 256
	"1.2.840.113549.3.7": 8,
}

type algorithm struct {
	ID     asn1.ObjectIdentifier
	Params asn1.RawValue `asn1:"optional"`
}

// judgeEncryption looks at the parameters of an encrypted key before pemutil
// does, which takes them on trust: it panics on data or an initialization
// vector of an odd length, and works for hours on a huge number of rounds.
// Errors are ErrNotKey.
func judgeEncryption(der []byte) error {
	malformed := fmt.Errorf("its encryption is malformed: %w", ErrNotKey)
	other := func(what string) error {
		return fmt.Errorf("encrypted with %s, which cannot be read (`openssl pkcs8 -topk8 -v2 aes-256-cbc` writes what can): %w", what, ErrNotKey)
	}
	var key struct {
		Algorithm algorithm
		Data      []byte
	}
	var params struct{ KDF, Cipher algorithm }
	var kdf struct {
		Salt      []byte
		Rounds    int
		KeyLength int       `asn1:"optional"`
		PRF       algorithm `asn1:"optional"`
	}
	var iv []byte
	switch {
	case !unmarshal(der, &key):
		return malformed
	case !key.Algorithm.ID.Equal(oidPBES2):
		return other("something else than PBES2")
	case !unmarshal(key.Algorithm.Params.FullBytes, &params):
		return malformed
	case !params.KDF.ID.Equal(oidPBKDF2):
		return other("a key derivation other than PBKDF2")
	case !unmarshal(params.KDF.Params.FullBytes, &kdf):
		return malformed
	case kdf.Rounds < 1 || kdf.Rounds > maxRounds:
		return other(fmt.Sprintf("%d rounds of PBKDF2", kdf.Rounds))
	case kdf.KeyLength != 0:
		return other("a key length named in PBKDF2")
	case !prfs[kdf.PRF.ID.String()]:
		return other("an unusual hash in PBKDF2")
	}
	size, known := blockSizes[params.Cipher.ID.String()]
	switch {
	case !known:
		return other("an unusual cipher")
	case !unmarshal(params.Cipher.Params.FullBytes, &iv) || len(iv) != size || len(key.Data) == 0 || len(key.Data)%size != 0:
		return malformed
	}
	return nil
}

func unmarshal(der []byte, into any) bool {
	rest, err := asn1.Unmarshal(der, into)
	return err == nil && len(rest) == 0
}
