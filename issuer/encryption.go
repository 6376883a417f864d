package issuer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// Encrypted PKCS#8 (RFC 5958) by PBES2 (RFC 8018) is put together here from the
// standard library's primitives rather than taken from go.step.sm/crypto's
// pemutil: that one trusts the parameters in the file, so that it panics on a
// length that is no multiple of the block, works for hours on a huge number of
// rounds, and takes every pseudo-random function it does not know for
// HMAC-SHA1, calling the right passphrase wrong.

type encryptedKey struct {
	Algorithm algorithm
	Data      []byte
}

type algorithm struct {
	ID     asn1.ObjectIdentifier
	Params asn1.RawValue `asn1:"optional"`
}

type pbes2Params struct{ KDF, Cipher algorithm }

type pbkdf2Params struct {
	Salt      []byte
	Rounds    int
	KeyLength int       `asn1:"optional"`
	PRF       algorithm `asn1:"optional"`
}

var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

var prfs = map[string]func() hash.Hash{
	"":                     sha1.New, // the default of RFC 8018, appendix A.2
	"1.2.840.113549.2.7":   sha1.New,
	"1.2.840.113549.2.10":  sha512.New384,
	"1.2.840.113549.2.11":  sha512.New,
	oidHMACSHA256.String(): sha256.New,
}

type blockCipher struct {
	keySize, blockSize int
	block              func([]byte) (cipher.Block, error)
}

var ciphers = map[string]blockCipher{
	"2.16.840.1.101.3.4.1.2":  {16, aes.BlockSize, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.BlockSize, aes.NewCipher},
	oidAES256CBC.String():     {32, aes.BlockSize, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.BlockSize, des.NewTripleDESCipher}, // what OpenSSL wrote up to 1.0
}

const (
	// rounds of PBKDF2 for keys written here: OWASP's figure for HMAC-SHA256,
	// as go.step.sm/crypto has it.
	rounds = 600_000
	// maxRounds bounds the work that a file can ask for before anything in it
	// is known to be true: some seconds.
	maxRounds = 10_000_000
)

// encryptPKCS8 draws salt and IV from the system's secure source.
func encryptPKCS8(der, passphrase []byte) ([]byte, error) {
	random := make([]byte, 16+aes.BlockSize)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	salt, iv := random[:16], random[16:]
	key, err := pbkdf2.Key(sha256.New, string(passphrase), salt, rounds, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(der)%aes.BlockSize
	data := append([]byte(nil), der...)
	for range pad {
		data = append(data, byte(pad))
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data)

	var failed error
	params := func(v any) asn1.RawValue {
		b, err := asn1.Marshal(v)
		failed = errors.Join(failed, err)
		return asn1.RawValue{FullBytes: b}
	}
	out := params(encryptedKey{
		Algorithm: algorithm{oidPBES2, params(pbes2Params{
			KDF: algorithm{oidPBKDF2, params(struct {
				Salt   []byte
				Rounds int
				PRF    algorithm
			}{salt, rounds, algorithm{oidHMACSHA256, asn1.NullRawValue}})},
			Cipher: algorithm{oidAES256CBC, params(iv)},
		})},
		Data: data,
	})
	return out.FullBytes, failed
}

// decryption is an encrypted key whose parameters were found to be sane.
type decryption struct {
	data, iv, salt []byte
	rounds         int
	prf            func() hash.Hash
	cipher         blockCipher
}

// judgeEncryption reads the parameters; errors are ErrNotKey.
func judgeEncryption(der []byte) (*decryption, error) {
	malformed := fmt.Errorf("its encryption is malformed: %w", ErrNotKey)
	other := func(what string) error {
		return fmt.Errorf("encrypted with %s, which cannot be read (`openssl pkcs8` can convert it): %w", what, ErrNotKey)
	}
	var key encryptedKey
	var params pbes2Params
	var kdf pbkdf2Params
	if !unmarshal(der, &key) {
		return nil, malformed
	}
	if !key.Algorithm.ID.Equal(oidPBES2) {
		return nil, other("something else than PBES2")
	}
	if !unmarshal(key.Algorithm.Params.FullBytes, &params) {
		return nil, malformed
	}
	if !params.KDF.ID.Equal(oidPBKDF2) {
		return nil, other("a key derivation other than PBKDF2")
	}
	if !unmarshal(params.KDF.Params.FullBytes, &kdf) {
		return nil, malformed
	}
	d := &decryption{data: key.Data, salt: kdf.Salt, rounds: kdf.Rounds}
	if d.rounds < 1 || d.rounds > maxRounds {
		return nil, other(fmt.Sprintf("%d rounds of PBKDF2", d.rounds))
	}
	var ok bool
	if d.prf, ok = prfs[kdf.PRF.ID.String()]; !ok {
		return nil, other("an unusual hash in PBKDF2")
	}
	if d.cipher, ok = ciphers[params.Cipher.ID.String()]; !ok {
		return nil, other("an unusual cipher")
	}
	if !unmarshal(params.Cipher.Params.FullBytes, &d.iv) || len(d.iv) != d.cipher.blockSize ||
		kdf.KeyLength != 0 && kdf.KeyLength != d.cipher.keySize ||
		len(d.data) == 0 || len(d.data)%d.cipher.blockSize != 0 {
		return nil, malformed
	}
	return d, nil
}

func unmarshal(der []byte, into any) bool {
	rest, err := asn1.Unmarshal(der, into)
	return err == nil && len(rest) == 0
}

// open decrypts. A wrong passphrase shows in the padding, but only 255 times in
// 256; the rest shows when the key is parsed.
func (d *decryption) open(passphrase []byte) ([]byte, error) {
	key, err := pbkdf2.Key(d.prf, string(passphrase), d.salt, d.rounds, d.cipher.keySize)
	if err != nil {
		return nil, fmt.Errorf("its encryption cannot be undone here: %w", ErrNotKey)
	}
	block, err := d.cipher.block(key)
	if err != nil {
		return nil, fmt.Errorf("its encryption cannot be undone here: %w", ErrNotKey)
	}
	out := make([]byte, len(d.data))
	cipher.NewCBCDecrypter(block, d.iv).CryptBlocks(out, d.data)
	pad := int(out[len(out)-1])
	if pad == 0 || pad > block.BlockSize() || pad > len(out) {
		return nil, ErrWrongPassphrase
	}
	for _, b := range out[len(out)-pad:] {
		if int(b) != pad {
			return nil, ErrWrongPassphrase
		}
	}
	return out[:len(out)-pad], nil
}
