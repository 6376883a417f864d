package issuer_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/issuer"
)

func pass(s string) issuer.Passphrase { return func() ([]byte, error) { return []byte(s), nil } }

func never(t *testing.T) issuer.Passphrase {
	return func() ([]byte, error) { t.Error("asked for a passphrase"); return nil, nil }
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func sec1(t testing.TB, key crypto.Signer) []byte {
	der, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	return pemOf("EC PRIVATE KEY", der)
}

func TestKeyRoundTrip(t *testing.T) {
	for _, kind := range []string{"P-256", "P-384", "Ed25519", "RSA 2048"} {
		t.Run(kind, func(t *testing.T) {
			key := testca.Key(kind)
			plain, err := issuer.EncodeKey(key, nil)
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(plain, []byte("-----BEGIN PRIVATE KEY-----\n")))
			back, err := issuer.ParseKey(plain, never(t))
			require.NoError(t, err)
			require.Equal(t, key, back)

			sealed, err := issuer.EncodeKey(key, pass("opensesame"))
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(sealed, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")))
			back, err = issuer.ParseKey(sealed, pass("opensesame"))
			require.NoError(t, err)
			require.Equal(t, key, back)

			_, err = issuer.ParseKey(sealed, nil)
			require.ErrorIs(t, err, issuer.ErrPassphraseRequired)
			_, err = issuer.ParseKey(sealed, pass("opensesam"))
			require.ErrorIs(t, err, issuer.ErrWrongPassphrase)
			_, err = issuer.ParseKey(sealed, pass(""))
			require.ErrorIs(t, err, issuer.ErrEmptyPassphrase)
		})
	}
}

func TestAnEmptyPassphraseIsNeverNone(t *testing.T) {
	text, err := issuer.EncodeKey(newKey(t), pass(""))
	require.ErrorIs(t, err, issuer.ErrEmptyPassphrase)
	require.Empty(t, text)

	path := filepath.Join(t.TempDir(), "key")
	require.ErrorIs(t, issuer.WriteKey(path, newKey(t), issuer.WriteKeyOptions{Passphrase: pass("")}), issuer.ErrEmptyPassphrase)
	require.NoFileExists(t, path)

	noTerminal := errors.New("no terminal")
	err = issuer.WriteKey(path, newKey(t), issuer.WriteKeyOptions{Passphrase: func() ([]byte, error) { return nil, noTerminal }})
	require.ErrorIs(t, err, noTerminal)
	require.NoFileExists(t, path)
}

func TestParseKeyForms(t *testing.T) {
	key, rsaKey := newKey(t), testca.Key("RSA 2048")
	pkcs8, err := issuer.EncodeKey(key, nil)
	require.NoError(t, err)
	params := pemOf("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	pkcs1 := pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey.(*rsa.PrivateKey)))
	der, _ := pem.Decode(sec1(t, key))
	//lint:ignore SA1019 old keys are encrypted so
	old, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der.Bytes, []byte("pw"), x509.PEMCipherAES256)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		text []byte
		pass issuer.Passphrase
		want crypto.Signer
	}{
		"PKCS#8":                    {text: pkcs8, want: key},
		"SEC 1":                     {text: sec1(t, key), want: key},
		"SEC 1 with parameters":     {text: append(params, sec1(t, key)...), want: key},
		"PKCS#1":                    {text: pkcs1, want: rsaKey},
		"text before, blanks after": {text: slicesConcat([]byte("Bag Attributes\n  friendlyName: x\n"), pkcs8, []byte("\n \r\n")), want: key},
		"byte order mark":           {text: append([]byte("\xef\xbb\xbf"), pkcs8...), want: key},
		"CRLF":                      {text: bytes.ReplaceAll(pkcs8, []byte("\n"), []byte("\r\n")), want: key},
		"Proc-Type header":          {text: pem.EncodeToMemory(old), pass: pass("pw"), want: key},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := issuer.ParseKey(c.text, c.pass)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
	_, err = issuer.ParseKey(pem.EncodeToMemory(old), pass("wrong"))
	require.ErrorIs(t, err, issuer.ErrWrongPassphrase)
	_, err = issuer.ParseKey(pem.EncodeToMemory(old), nil)
	require.ErrorIs(t, err, issuer.ErrPassphraseRequired)
}

func slicesConcat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestParseKeyRefusals(t *testing.T) {
	key := newKey(t)
	good, err := issuer.EncodeKey(key, nil)
	require.NoError(t, err)
	sealed, err := issuer.EncodeKey(key, pass("pw"))
	require.NoError(t, err)
	block, _ := pem.Decode(sealed)
	cert := testca.New(now).Root("root")
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	x25519DER, err := x509.MarshalPKCS8PrivateKey(x25519)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		text []byte
		want error
	}{
		"empty":             {text: nil},
		"noise":             {text: []byte("correct horse")},
		"a certificate":     {text: []byte(cert.PEM())},
		"key and cert":      {text: slicesConcat(good, []byte(cert.PEM()))},
		"two keys":          {text: slicesConcat(good, good)},
		"text after":        {text: slicesConcat(good, []byte("more"))},
		"a second, cut off": {text: slicesConcat(good, good[:60])},
		"cut off":           {text: good[:len(good)-10]},
		"parameters after":  {text: slicesConcat(good, pemOf("EC PARAMETERS", []byte{5, 0}))},
		"parameters only":   {text: pemOf("EC PARAMETERS", []byte{5, 0})},
		"wrong label":       {text: bytes.ReplaceAll(good, []byte("PRIVATE KEY"), []byte("RSA PRIVATE KEY"))},
		"too large":         {text: append(bytes.Repeat([]byte(" "), 64<<10), good...)},
		"cannot sign":       {text: pemOf("PRIVATE KEY", x25519DER), want: issuer.ErrUnsupportedKey},
		"sealed, cut off":   {text: pemOf("ENCRYPTED PRIVATE KEY", block.Bytes[:len(block.Bytes)-5])},
		"sealed, noise":     {text: pemOf("ENCRYPTED PRIVATE KEY", []byte("noise"))},
		"sealed, PRF":       {text: pemOf("ENCRYPTED PRIVATE KEY", bytes.Replace(block.Bytes, []byte{0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 9}, []byte{0x86, 0x48, 0x86, 0xf7, 0x0d, 2, 99}, 1))},
		"sealed, rounds":    {text: pemOf("ENCRYPTED PRIVATE KEY", bytes.Replace(block.Bytes, []byte{2, 3, 9, 0x27, 0xc0}, []byte{2, 3, 0x7f, 0xff, 0xff}, 1)), want: issuer.ErrWrongPassphrase},
		"sealed, no rounds": {text: pemOf("ENCRYPTED PRIVATE KEY", bytes.Replace(block.Bytes, []byte{2, 3, 9, 0x27, 0xc0}, []byte{2, 3, 0x80, 0, 0}, 1))},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want == nil {
				c.want = issuer.ErrNotKey
			}
			_, err := issuer.ParseKey(c.text, pass("pw"))
			require.ErrorIs(t, err, c.want)
		})
	}
}

// No error quotes from a key, whatever is wrong with it.
func TestErrorsKeepSecrets(t *testing.T) {
	key := newKey(t)
	good, err := issuer.EncodeKey(key, nil)
	require.NoError(t, err)
	lines := strings.Split(string(good), "\n")
	for _, text := range []string{
		string(good) + string(good),
		strings.Replace(string(good), "-----END", "----END", 1),
		strings.Replace(string(good), "BEGIN PRIVATE KEY", "BEGIN EC PRIVATE KEY", 1),
		lines[1],
	} {
		_, err := issuer.ParseKey([]byte(text), nil)
		require.Error(t, err)
		require.NotContains(t, err.Error(), lines[1][10:30])
	}
	type odd struct{ crypto.Signer }
	_, err = issuer.EncodeKey(odd{key}, nil)
	require.ErrorIs(t, err, issuer.ErrUnsupportedKey)
	require.Less(t, len(err.Error()), 150)
	_, err = issuer.EncodeKey(nil, nil)
	require.ErrorIs(t, err, issuer.ErrUnsupportedKey)
}

func TestWriteAndOpenKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "root.key")
	key := newKey(t)
	require.NoError(t, issuer.WriteKey(path, key, issuer.WriteKeyOptions{}))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	got, warnings, err := issuer.OpenKey(path, issuer.OpenKeyOptions{Passphrase: never(t)})
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, key, got)

	before, err := os.ReadFile(path)
	require.NoError(t, err)
	err = issuer.WriteKey(path, newKey(t), issuer.WriteKeyOptions{Passphrase: never(t)})
	require.ErrorIs(t, err, fs.ErrExist)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)

	require.NoError(t, issuer.WriteKey(path, newKey(t), issuer.WriteKeyOptions{Force: true, Passphrase: pass("pw")}))
	_, _, err = issuer.OpenKey(path, issuer.OpenKeyOptions{})
	require.ErrorIs(t, err, issuer.ErrPassphraseRequired)
	require.ErrorContains(t, err, path)
	_, _, err = issuer.OpenKey(path, issuer.OpenKeyOptions{Passphrase: pass("pw")})
	require.NoError(t, err)

	require.NoError(t, os.Chmod(path, 0o640))
	_, warnings, err = issuer.OpenKey(path, issuer.OpenKeyOptions{Passphrase: pass("pw")})
	require.NoError(t, err)
	require.Equal(t, "key-file-readable", codes(warnings))
	require.Contains(t, warnings[0].Message, "0640")

	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
	_, _, err = issuer.OpenKey(filepath.Join(dir, "none"), issuer.OpenKeyOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, issuer.WriteKey(filepath.Join(dir, "none", "key"), key, issuer.WriteKeyOptions{}), fs.ErrNotExist)
}

func TestOfManyKeysForOneFileOneIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	var winner atomic.Value
	var all sync.WaitGroup
	for range 16 {
		key := newKey(t)
		all.Go(func() {
			if err := issuer.WriteKey(path, key, issuer.WriteKeyOptions{}); err == nil {
				if winner.Swap(key) != nil {
					t.Error("two writers were told that theirs is the file")
				}
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got, _, err := issuer.OpenKey(path, issuer.OpenKeyOptions{})
	require.NoError(t, err)
	require.Equal(t, winner.Load(), got)
}

func TestKMSReferencesAreRecognised(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, ref := range []string{"softkms:path=key", "pkcs11:token=t;object=o?pin-value=1234", "awskms:key-id=1", "cloudkms:projects/p", "azurekms:name=n", "tpmkms:name=k", "yubikey:slot-id=9a", "AWSKMS:key-id=1"} {
		scheme, _, _ := strings.Cut(strings.ToLower(ref), ":")
		_, _, err := issuer.OpenKey(ref, issuer.OpenKeyOptions{})
		require.ErrorIs(t, err, issuer.ErrKMS)
		require.ErrorContains(t, err, scheme+":")
		require.NotContains(t, err.Error(), "1234", "a URI can carry a PIN")
		require.ErrorIs(t, issuer.WriteKey(ref, newKey(t), issuer.WriteKeyOptions{}), issuer.ErrKMS)
	}
	require.NoError(t, issuer.WriteKey("./awskms:x", newKey(t), issuer.WriteKeyOptions{}))
	_, _, err := issuer.OpenKey("./awskms:x", issuer.OpenKeyOptions{})
	require.NoError(t, err)
}

func TestPassphraseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pass")
	for text, want := range map[string]string{"a\n": "a", "a\r\n": "a", "a": "a", "a\n\n": "a\n", " a \n": " a ", "a\r": "a\r", strings.Repeat("x", 4096) + "\n": strings.Repeat("x", 4096)} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := issuer.PassphraseFile(path)()
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	for _, text := range []string{"", "\n", "\r\n"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := issuer.PassphraseFile(path)()
		require.ErrorIs(t, err, issuer.ErrEmptyPassphrase)
	}
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 5000), 0o600))
	_, err := issuer.PassphraseFile(path)()
	require.ErrorContains(t, err, "more than")
	_, err = issuer.PassphraseFile(path + "none")()
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// OpenSSL reads what is written here, and the other way round.
func TestKeysOfOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl")
	}
	run := func(in []byte, args ...string) []byte {
		cmd := exec.Command(openssl, args...)
		cmd.Stdin = bytes.NewReader(in)
		out, err := cmd.Output()
		require.NoError(t, err)
		return out
	}
	key := newKey(t)
	sealed, err := issuer.EncodeKey(key, pass("pw"))
	require.NoError(t, err)
	back, err := issuer.ParseKey(run(sealed, "pkey", "-passin", "pass:pw"), nil)
	require.NoError(t, err)
	require.Equal(t, key, back)

	plain := sec1(t, key)
	for _, args := range [][]string{
		{"-v2", "aes-256-cbc"}, {"-v2", "aes-128-cbc"}, {"-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"}, {"-v2", "des3"},
	} {
		theirs := run(plain, append([]string{"pkcs8", "-topk8", "-passout", "pass:pw"}, args...)...)
		back, err := issuer.ParseKey(theirs, pass("pw"))
		require.NoError(t, err, "%v", args)
		require.Equal(t, key, back)
		_, err = issuer.ParseKey(theirs, pass("wp"))
		require.ErrorIs(t, err, issuer.ErrWrongPassphrase)
	}
	for args, why := range map[string]string{"-scrypt": "PBKDF2", "-v2prf hmacWithSHA512": "unusual hash"} {
		_, err = issuer.ParseKey(run(plain, append([]string{"pkcs8", "-topk8", "-passout", "pass:pw"}, strings.Fields(args)...)...), pass("pw"))
		require.ErrorIs(t, err, issuer.ErrNotKey)
		require.ErrorContains(t, err, why)
		require.ErrorContains(t, err, "openssl pkcs8")
	}

	parameters := run(nil, "ecparam", "-name", "prime256v1", "-genkey")
	require.Contains(t, string(parameters), "EC PARAMETERS")
	_, err = issuer.ParseKey(parameters, nil)
	require.NoError(t, err)
}

func FuzzParseKey(f *testing.F) {
	key := newKey(f)
	plain, err := issuer.EncodeKey(key, nil)
	require.NoError(f, err)
	f.Add(plain)
	f.Add(sec1(f, key))
	sealed, err := issuer.EncodeKey(key, pass("pw"))
	require.NoError(f, err)
	f.Add(bytes.Clone(sealed))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, p := range []issuer.Passphrase{nil, pass("pw")} {
			got, err := issuer.ParseKey(text, p)
			if err != nil {
				require.Nil(t, got)
				continue
			}
			_, err = issuer.EncodeKey(got, nil)
			require.NoError(t, err)
		}
	})
}
