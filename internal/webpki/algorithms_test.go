package webpki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIdentifiersAreThoseOfX509(t *testing.T) {
	for curve, alg := range map[elliptic.Curve]algorithm{
		elliptic.P256(): p256SHA256, elliptic.P384(): p384SHA384, elliptic.P521(): p521SHA512,
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		checkIdentifiers(t, alg, key)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	checkIdentifiers(t, rsaSHA256, key)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	checkIdentifiers(t, ed25519Any, edKey)
}

// checkIdentifiers makes a self-signed certificate and looks whether every
// release that has the algorithm finds it and the signature good.
func checkIdentifiers(t *testing.T, alg algorithm, key crypto.Signer) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	c, fault := parseCert(der, Linkerd220.rules(), false)
	require.Nil(t, fault)
	assert.Equal(t, alg.signatureID, string(c.algorithm))
	check, fault := Linkerd220.rules().prepare(c, c.spki)
	require.Nil(t, fault)
	assert.Equal(t, alg.keyID, check.alg.keyID)
	assert.True(t, check.ok(c))
	c.tbs = append([]byte{}, c.tbs...)
	c.tbs[len(c.tbs)-1] ^= 1
	assert.False(t, check.ok(c))
}

func TestFormsOfAPoint(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		require.NoError(t, err)
		plain, err := key.PublicKey.Bytes()
		require.NoError(t, err)
		size := (len(plain) - 1) / 2
		odd := plain[len(plain)-1] & 1
		change := func(head byte, rest []byte) []byte { return append([]byte{head}, rest...) }

		for name, form := range map[string][]byte{
			"uncompressed": plain,
			"compressed":   change(2+odd, plain[1:1+size]),
			"hybrid":       change(6+odd, plain[1:]),
		} {
			pub := ecdsaKey(curve, form)
			require.NotNil(t, pub, name)
			assert.True(t, pub.Equal(&key.PublicKey), name)
		}
		off := change(4, plain[1:])
		off[len(off)-1] ^= 1
		for name, form := range map[string][]byte{
			"none":                    {},
			"infinity":                {0},
			"not on the curve":        off,
			"hybrid, the wrong half":  change(7-odd, plain[1:]),
			"a byte too few":          plain[:len(plain)-1],
			"a byte too many":         append(change(4, plain[1:]), 0),
			"compressed and too long": change(2+odd, plain[1:]),
		} {
			assert.Nil(t, ecdsaKey(curve, form), name)
		}
	}
}

func TestLimitsOfRSAKeys(t *testing.T) {
	encode := func(bits uint, e *big.Int) []byte {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		n.SetBit(n, 0, 1)
		der, err := asn1.Marshal(struct{ N, E *big.Int }{n, e})
		require.NoError(t, err)
		return der
	}
	f4 := big.NewInt(65537)
	for bits, want := range map[uint]bool{1024: false, 2047: false, 2048: true, 3072: true, 8192: true, 8193: false} {
		assert.Equal(t, want, rsaKey(encode(bits, f4)) != nil, "%d bits", bits)
	}
	good := encode(2048, f4)
	for name, der := range map[string][]byte{
		"nothing":           {},
		"a byte too many":   append(append([]byte{}, good...), 0),
		"exponent zero":     encode(2048, new(big.Int)),
		"exponent negative": encode(2048, big.NewInt(-3)),
		"exponent too big":  encode(2048, new(big.Int).Lsh(big.NewInt(1), 33)),
	} {
		assert.Nil(t, rsaKey(der), name)
	}
}

func TestSmallExponentsAreAccepted(t *testing.T) {
	// Keys with an exponent of 3 exist; find primes for one.
	three := big.NewInt(3)
	var p [2]*big.Int
	for i := range p {
		for {
			prime, err := rand.Prime(rand.Reader, 1024)
			require.NoError(t, err)
			if new(big.Int).Mod(prime, three).Int64() == 2 {
				p[i] = prime
				break
			}
		}
	}
	one := big.NewInt(1)
	n := new(big.Int).Mul(p[0], p[1])
	phi := new(big.Int).Mul(new(big.Int).Sub(p[0], one), new(big.Int).Sub(p[1], one))
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: n, E: 3},
		D:         new(big.Int).ModInverse(three, phi),
		Primes:    p[:],
	}
	key.Precompute()
	digest := sha256.Sum256([]byte("signed"))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	require.NoError(t, err)
	assert.True(t, rsaSHA256.verify(x509.MarshalPKCS1PublicKey(&key.PublicKey), []byte("signed"), sig))
	assert.False(t, rsaSHA256.verify(x509.MarshalPKCS1PublicKey(&key.PublicKey), []byte("other"), sig))
}
