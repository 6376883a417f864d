package webpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// An algorithm is one way to sign a certificate. webpki picks it by comparing
// AlgorithmIdentifiers byte for byte with those that it knows, so that RSA
// without the NULL parameter, or ECDSA with one, is another algorithm, and an
// unknown one (src/signed_data.rs; rustls/pki-types src/alg_id.rs).
type algorithm struct {
	signatureID string // contents of the AlgorithmIdentifier of the signature
	keyID       string // contents of the AlgorithmIdentifier of the key
	verify      func(key, message, signature []byte) bool
}

const (
	oidECDSAWithSHA256 = "\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
	oidECDSAWithSHA384 = "\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"
	oidECDSAWithSHA512 = "\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04"
	oidECPublicKey     = "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"
	oidP256            = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
	oidP384            = "\x06\x05\x2b\x81\x04\x00\x22"
	oidP521            = "\x06\x05\x2b\x81\x04\x00\x23"
	oidEd25519         = "\x06\x03\x2b\x65\x70"
	null               = "\x05\x00"
	oidRSAEncryption   = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" + null
	oidRSAWithSHA256   = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b" + null
	oidRSAWithSHA384   = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c" + null
	oidRSAWithSHA512   = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d" + null
)

var (
	p256SHA256 = algorithm{oidECDSAWithSHA256, oidECPublicKey + oidP256, ecdsaVerifier(elliptic.P256(), crypto.SHA256)}
	p256SHA384 = algorithm{oidECDSAWithSHA384, oidECPublicKey + oidP256, ecdsaVerifier(elliptic.P256(), crypto.SHA384)}
	p256SHA512 = algorithm{oidECDSAWithSHA512, oidECPublicKey + oidP256, ecdsaVerifier(elliptic.P256(), crypto.SHA512)}
	p384SHA256 = algorithm{oidECDSAWithSHA256, oidECPublicKey + oidP384, ecdsaVerifier(elliptic.P384(), crypto.SHA256)}
	p384SHA384 = algorithm{oidECDSAWithSHA384, oidECPublicKey + oidP384, ecdsaVerifier(elliptic.P384(), crypto.SHA384)}
	p384SHA512 = algorithm{oidECDSAWithSHA512, oidECPublicKey + oidP384, ecdsaVerifier(elliptic.P384(), crypto.SHA512)}
	p521SHA256 = algorithm{oidECDSAWithSHA256, oidECPublicKey + oidP521, ecdsaVerifier(elliptic.P521(), crypto.SHA256)}
	p521SHA384 = algorithm{oidECDSAWithSHA384, oidECPublicKey + oidP521, ecdsaVerifier(elliptic.P521(), crypto.SHA384)}
	p521SHA512 = algorithm{oidECDSAWithSHA512, oidECPublicKey + oidP521, ecdsaVerifier(elliptic.P521(), crypto.SHA512)}
	ed25519Any = algorithm{oidEd25519, oidEd25519, verifyEd25519}
	rsaSHA256  = algorithm{oidRSAWithSHA256, oidRSAEncryption, rsaVerifier(crypto.SHA256)}
	rsaSHA384  = algorithm{oidRSAWithSHA384, oidRSAEncryption, rsaVerifier(crypto.SHA384)}
	rsaSHA512  = algorithm{oidRSAWithSHA512, oidRSAEncryption, rsaVerifier(crypto.SHA512)}
)

// The lists of linkerd/rustls/src/crypto.rs in linkerd2-proxy. They hold
// RSA_PKCS1_3072_8192_SHA384 besides; it has the identifiers of
// RSA_PKCS1_2048_8192_SHA384, which stands before it, and so is never reached.
var (
	// release/v2.294.0
	algorithms218 = []algorithm{
		p256SHA256, p256SHA384, p384SHA256, p384SHA384, ed25519Any,
		rsaSHA256, rsaSHA384, rsaSHA512,
	}
	// release/v2.326.0
	algorithms219 = []algorithm{
		p256SHA256, p256SHA384, p384SHA256, p384SHA384, p521SHA256, p521SHA384, p521SHA512, ed25519Any,
		rsaSHA256, rsaSHA384, rsaSHA512,
	}
	// release/v2.359.0 and release/v2.366.0
	algorithms220 = []algorithm{
		p256SHA256, p256SHA384, p256SHA512, p384SHA256, p384SHA384, p384SHA512,
		p521SHA256, p521SHA384, p521SHA512, ed25519Any,
		rsaSHA256, rsaSHA384, rsaSHA512,
	}
)

func digest(h crypto.Hash, message []byte) []byte {
	d := h.New()
	d.Write(message)
	return d.Sum(nil)
}

func ecdsaVerifier(curve elliptic.Curve, h crypto.Hash) func(key, message, signature []byte) bool {
	return func(key, message, signature []byte) bool {
		pub := ecdsaKey(curve, key)
		return pub != nil && ecdsa.VerifyASN1(pub, digest(h, message), signature)
	}
}

// ecdsaKey reads a point in the forms that aws-lc and OpenSSL take: uncompressed,
// compressed, or hybrid.
func ecdsaKey(curve elliptic.Curve, key []byte) *ecdsa.PublicKey {
	if len(key) == 0 {
		return nil
	}
	switch key[0] {
	case 2, 3:
		x, y := elliptic.UnmarshalCompressed(curve, key)
		if x == nil {
			return nil
		}
		size := len(key) - 1
		key = make([]byte, 1+2*size)
		key[0] = 4
		x.FillBytes(key[1 : 1+size])
		y.FillBytes(key[1+size:])
	case 6, 7:
		if key[len(key)-1]&1 != key[0]&1 {
			return nil
		}
		key = append([]byte{4}, key[1:]...)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, key)
	if err != nil {
		return nil
	}
	return pub
}

func verifyEd25519(key, message, signature []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, signature)
}

func rsaVerifier(h crypto.Hash) func(key, message, signature []byte) bool {
	return func(key, message, signature []byte) bool {
		pub := rsaKey(key)
		return pub != nil && rsa.VerifyPKCS1v15(pub, h, digest(h, message), signature) == nil
	}
}

// rsaKey reads an RSAPublicKey with a modulus of 2048 to 8192 bits, the limits
// in the names of webpki's algorithms. (An exponent beyond 31 bits, which aws-lc
// takes up to 33 bits, is refused by crypto/rsa.)
func rsaKey(key []byte) *rsa.PublicKey {
	in := cryptobyte.String(key)
	var seq cryptobyte.String
	var n, e big.Int
	if !in.ReadASN1(&seq, asn1.SEQUENCE) || !in.Empty() ||
		!seq.ReadASN1Integer(&n) || !seq.ReadASN1Integer(&e) || !seq.Empty() {
		return nil
	}
	if n.Sign() <= 0 || n.BitLen() < 2048 || n.BitLen() > 8192 || e.Sign() <= 0 || e.BitLen() > 31 {
		return nil
	}
	return &rsa.PublicKey{N: &n, E: int(e.Int64())}
}

// A signatureCheck is a check that was found to be needed: the right algorithm
// is known, only the arithmetic is left.
type signatureCheck struct {
	alg *algorithm
	key []byte
}

// prepare finds the algorithm for the signature on c by the key in spki
// (verify_signed_data in src/signed_data.rs).
func (r *rules) prepare(c *cert, spki []byte) (signatureCheck, *Error) {
	known := false
	for i := range r.algorithms {
		alg := &r.algorithms[i]
		if alg.signatureID != string(c.algorithm) {
			continue
		}
		keyID, key, err := parseSPKI(spki)
		if err != nil {
			return signatureCheck{}, err
		}
		if alg.keyID == string(keyID) {
			return signatureCheck{alg, key}, nil
		}
		known = true
	}
	switch {
	case known:
		return signatureCheck{}, r.unsupportedKey()
	case r.plainErrors:
		return signatureCheck{}, fail(UnsupportedSignatureAlgorithm)
	}
	return signatureCheck{}, fail(UnsupportedSignatureAlgorithmContext)
}

func (r *rules) unsupportedKey() *Error {
	if r.plainErrors {
		return fail(UnsupportedSignatureAlgorithmForPublicKey)
	}
	return fail(UnsupportedSignatureAlgorithmForPublicKeyContext)
}

// canSign tells whether there is any algorithm by which the key in spki can sign
// a certificate.
func (r *rules) canSign(spki []byte) *Error {
	keyID, key, err := parseSPKI(spki)
	if err != nil {
		return err
	}
	for _, alg := range r.algorithms {
		switch {
		case alg.keyID != string(keyID):
		case alg.keyID == oidRSAEncryption && rsaKey(key) == nil:
			return fail(InvalidSignatureForPublicKey)
		default:
			return nil
		}
	}
	return r.unsupportedKey()
}

// parseSPKI returns the contents of the AlgorithmIdentifier, and the key.
func parseSPKI(spki []byte) (keyID, key []byte, err *Error) {
	err = readAll(spki, trailingSPKI, func(in *reader) (err *Error) {
		if keyID, err = in.expect(tagSequence); err != nil {
			return err
		}
		key, err = in.bitString()
		return err
	})
	return keyID, key, err
}

func (s signatureCheck) ok(c *cert) bool {
	return s.alg.verify(s.key, c.tbs, c.signature)
}
