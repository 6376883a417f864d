package issuer

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"time"
)

// RootOptions shape a new root. The zero value is good.
type RootOptions struct {
	// CommonName is the name people see, DefaultRootName by default. A space
	// and the key id are added, which makes the subject unique:
	// "root.linkerd.cluster.local 3b7e3f72". That leaves 55 of 64 characters.
	CommonName string
	// ExactName leaves the common name as it is. Then it is yours to keep
	// anchors apart.
	ExactName bool
	// Validity counts from now; 0 means DefaultRootValidity (87600 h).
	Validity time.Duration
	// Backdate is how far before now the validity begins. 0 means
	// DefaultBackdate (1 h), anything negative not at all.
	Backdate time.Duration
	// MaxPathLen limits the number of CA certificates below; 0 means no limit.
	// Less than 2 is ErrPathLen: a hand-over to the next root puts that root
	// and its issuer below this one.
	MaxPathLen int
	// Rand feeds the serial number; nil means crypto/rand.Reader.
	Rand io.Reader
}

// Root makes a self-signed root for the key, which must be ECDSA P-256: CA,
// key usage certSign and cRLSign (both critical), a subject key identifier, no
// authority key identifier, a random serial number of 128 bits.
//
// Errors: ErrUnsupportedKey, ErrName, ErrValidity, ErrPathLen.
func Root(key crypto.Signer, now time.Time, opts RootOptions) (*x509.Certificate, error) {
	if key == nil || !isP256(key.Public()) {
		return nil, fmt.Errorf("make a root: %s, and `linkerd check` wants ECDSA P-256: %w", signerKind(key), ErrUnsupportedKey)
	}
	subject, err := rootSubject(opts.CommonName, opts.ExactName, key.Public())
	if err != nil {
		return nil, fmt.Errorf("make a root: %w", err)
	}
	from, until, err := dates(now, opts.Validity, DefaultRootValidity, opts.Backdate)
	if err != nil {
		return nil, fmt.Errorf("make a root: %w", err)
	}
	t := &x509.Certificate{
		Subject: subject, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1, KeyUsage: caUsage,
	}
	if opts.MaxPathLen != 0 {
		if opts.MaxPathLen < 2 {
			return nil, fmt.Errorf("make a root: a limit of %d CA certificates below it, and a hand-over needs 2: %w", opts.MaxPathLen, ErrPathLen)
		}
		t.MaxPathLen = opts.MaxPathLen
	}
	root, err := create(t, t, key.Public(), key, opts.Rand)
	if err != nil {
		return nil, fmt.Errorf("make a root: %w", err)
	}
	return root, nil
}

func signerKind(key crypto.Signer) string {
	if key == nil {
		return "no key"
	}
	return "the key is " + keyKind(key.Public())
}

// ReissueOptions shape a reissued root. The zero value is good.
type ReissueOptions struct {
	// Validity counts from now; 0 means DefaultRootValidity (87600 h).
	Validity time.Duration
	// Backdate is how far before now the validity begins. 0 means
	// DefaultBackdate (1 h), anything negative not at all.
	Backdate time.Duration
	// Rand feeds the serial number; nil means crypto/rand.Reader.
	Rand io.Reader
}

// Reissue gives an old root new dates and a new serial number and leaves all
// else as it is: subject, public key and name constraints are the same bytes,
// so that proxies take both for one anchor, and the other extensions (subject
// key identifier, path length, ...) are the same bytes too, so that OpenSSL
// does. The old root may have expired, and its key may be of any kind that
// proxies accept.
//
// The authority key identifier is dropped where it points at the old serial
// number or at another certificate.
//
// Errors: ErrNotCA, ErrKeyMismatch, ErrUnsupportedKey, ErrValidity. Warnings:
// WarnNotRoot where another CA had signed it; WarnPathLen where the limit, kept, stands in the way of a hand-over;
// WarnUnusualKey.
func Reissue(old *x509.Certificate, key crypto.Signer, now time.Time, opts ReissueOptions) (*Signed, error) {
	var f findings
	judgeSigner(&f, old, key, now, signerRules{anyDate: true, allowUnusual: true, anyPathLen: true})
	if err := f.err(); err != nil {
		return nil, fmt.Errorf("reissue a root: %w", err)
	}
	if !bytes.Equal(old.RawSubject, old.RawIssuer) {
		f.warn(WarnNotRoot, "%s was signed by %s; the reissued one is a root, signed by itself", describe(old), quote(old.Issuer.String()))
	}
	if n, limited := pathLen(old); limited && n < 2 {
		f.warn(WarnPathLen, "%s allows %d CA certificates below it, and a hand-over needs 2 in the eyes of strict verifiers", describe(old), n)
	}
	from, until, err := dates(now, opts.Validity, DefaultRootValidity, opts.Backdate)
	if err != nil {
		return nil, fmt.Errorf("reissue a root: %w", err)
	}
	t := &x509.Certificate{
		RawSubject: old.RawSubject, NotBefore: from, NotAfter: until,
		SubjectKeyId: old.SubjectKeyId, IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1,
		ExtraExtensions: keptExtensions(old),
	}
	root, err := create(t, t, old.PublicKey, key, opts.Rand)
	if err != nil {
		return nil, fmt.Errorf("reissue a root: %w", err)
	}
	if !sameAnchor(old, root) {
		return nil, fmt.Errorf("reissue a root: the public key of %s is encoded in a way that cannot be repeated: %w", describe(old), ErrUnsupportedKey)
	}
	return &Signed{Certificate: root, Warnings: f.warnings}, nil
}

// keptExtensions are all, byte for byte, but an authority key identifier that
// would be wrong in the reissued root: one that says more than the key id of
// this very root, since it would name the old serial number.
func keptExtensions(old *x509.Certificate) []pkix.Extension {
	var kept []pkix.Extension
	for _, e := range old.Extensions {
		if e.Id.Equal(oidAuthorityKeyID) {
			// SEQUENCE { [0] key id } and nothing else
			own := append([]byte{0x30, byte(2 + len(old.SubjectKeyId)), 0x80, byte(len(old.SubjectKeyId))}, old.SubjectKeyId...)
			if len(old.SubjectKeyId) > 100 || string(own) != string(e.Value) {
				continue
			}
		}
		kept = append(kept, e)
	}
	return kept
}
