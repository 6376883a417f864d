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

// CrossSignOptions shape a cross-signed root. The zero value works; set Issuer
// where it is known.
type CrossSignOptions struct {
	// NotAfter is the end of the cross-signed certificate. By default it is the
	// end of Issuer; without Issuer, one year from now (DefaultIssuerValidity).
	// Never later than the end of the new root.
	NotAfter time.Time
	// Issuer is the identity issuer that will stand below.
	Issuer *x509.Certificate
	// WithinSigner keeps the dates inside those of the signer, for verifiers
	// that ask for nested validity. By default they may go beyond: proxies
	// ignore an anchor's dates, and linkerd-identity judges each certificate by
	// its own.
	WithinSigner bool
	// Backdate is how far before now the validity begins. 0 means
	// DefaultBackdate (1 h), anything negative not at all.
	Backdate time.Duration
	// AllowExpiredSigner signs with a root that has expired. Proxies accept
	// that, linkerd-identity does not while it has only that root.
	AllowExpiredSigner bool
	// AllowPathLen signs although the path length limit of the signer, or of
	// the new root, leaves no room for an issuer below.
	AllowPathLen bool
	// AllowUnusual signs with, and for, a key that `linkerd check` and
	// `upgrade` refuse and proxies accept (P-384, Ed25519, RSA 3072, ...).
	AllowUnusual bool
	// Rand feeds the serial number; nil means crypto/rand.Reader.
	Rand io.Reader
}

// CrossSign signs the new root with the key of another one. The result has the
// subject, the public key, the subject key identifier and the name constraints
// of the new root byte for byte, is a CA with the new root's path length limit
// (usually none), and names its signer by key id only: an issuer and serial
// number there would tie it to one of several certificates of that anchor. It
// has no extended key usage, whatever the new root has.
//
// Presented below an issuer (see NewChain) it lets a verifier that trusts only
// `by` accept what the new root signed.
//
// Errors: ErrNotCA, ErrKeyMismatch, ErrExpired, ErrNotYetValid, ErrSameAnchor,
// ErrPathLen, ErrUsage, ErrUnsupportedKey, ErrValidity, ErrNotSigner (Issuer is
// not signed by the new root). Warnings: WarnClamped, WarnOutlivesSigner,
// WarnSignerExpired, WarnPathLen, WarnNameConstraints, WarnSameSubject,
// WarnUsage, WarnUnusualKey.
func CrossSign(root, by *x509.Certificate, byKey crypto.Signer, now time.Time, opts CrossSignOptions) (*Signed, error) {
	var f findings
	judgeSigner(&f, by, byKey, now, signerRules{
		below: 2, allowShort: opts.AllowPathLen, allowExpired: opts.AllowExpiredSigner, allowUnusual: opts.AllowUnusual,
	})
	judgeCrossSigned(&f, root, by, now, opts)
	if err := f.err(); err != nil {
		return nil, fmt.Errorf("cross-sign a root: %w", err)
	}
	from, until, err := crossSignDates(&f, root, by, now, opts)
	if err != nil {
		return nil, fmt.Errorf("cross-sign a root: %w", err)
	}
	t := &x509.Certificate{
		RawSubject: root.RawSubject, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1, KeyUsage: caUsage,
		SubjectKeyId:   root.SubjectKeyId,
		AuthorityKeyId: by.SubjectKeyId, // crypto/x509 omits it where both subjects are equal
	}
	if n, limited := pathLen(root); limited {
		t.MaxPathLen, t.MaxPathLenZero = n, n == 0
	}
	if nc, ok := extension(root, oidNameConstraints); ok {
		t.ExtraExtensions = []pkix.Extension{nc}
	}
	x, err := create(t, by, root.PublicKey, byKey, opts.Rand)
	if err != nil {
		return nil, fmt.Errorf("cross-sign a root: %w", err)
	}
	if !sameAnchor(root, x) {
		return nil, fmt.Errorf("cross-sign a root: the public key of %s is encoded in a way that cannot be repeated: %w", describe(root), ErrUnsupportedKey)
	}
	return &Signed{Certificate: x, Warnings: f.warnings}, nil
}

func judgeCrossSigned(f *findings, root, by *x509.Certificate, now time.Time, opts CrossSignOptions) {
	if root == nil {
		f.refuse(ErrNotCA, "no root to sign")
		return
	}
	judgeCA(f, root)
	judgeDates(f, root, now)
	switch {
	case !proxiesAccept(root.PublicKey):
		f.refuse(ErrUnsupportedKey, "%s has a key of kind %s, which proxies do not accept", describe(root), keyKind(root.PublicKey))
	case !cliAccepts(root.PublicKey):
		f.either(opts.AllowUnusual, WarnUnusualKey, ErrUnsupportedKey,
			"%s has a key of kind %s, and `linkerd check` and `upgrade` accept anchors with ECDSA P-256, RSA 2048 and RSA 4096 only", describe(root), keyKind(root.PublicKey))
	}
	if n, limited := pathLen(root); limited && n < 1 {
		// Unlike an anchor's, proxies do judge that of a certificate they are sent.
		f.either(opts.AllowPathLen, WarnPathLen, ErrPathLen, "%s allows no CA certificate below it, and the issuer must stand there", describe(root))
	}
	if opts.Issuer != nil && !didSign(root, opts.Issuer) {
		f.refuse(ErrNotSigner, "%s, for issuer %s,", describe(root), describe(opts.Issuer))
	}
	if by == nil {
		return
	}
	if sameName(root.RawSubject, by.RawSubject) {
		if bytes.Equal(root.RawSubjectPublicKeyInfo, by.RawSubjectPublicKeyInfo) {
			f.refuse(ErrSameAnchor, "%s and %s", describe(root), describe(by))
		} else {
			f.warn(WarnSameSubject, "%s and its signer %s share a subject: each handshake tries one signature more, and tools on OpenSSL may not find the path", describe(root), describe(by))
		}
	}
	if _, ok := extension(by, oidNameConstraints); ok {
		f.warn(WarnNameConstraints, "%s has name constraints: leaves outside them will not verify through the cross-signed root", describe(by))
	}
}

func crossSignDates(f *findings, root, by *x509.Certificate, now time.Time, opts CrossSignOptions) (from, until time.Time, err error) {
	from, until, err = dates(now, 0, DefaultIssuerValidity, opts.Backdate)
	if err != nil {
		return from, until, err
	}
	if opts.Issuer != nil {
		until = opts.Issuer.NotAfter
	}
	if !opts.NotAfter.IsZero() {
		until = opts.NotAfter.UTC().Truncate(time.Second)
	}
	clamp := func(whose string, end time.Time) {
		if until.After(end) {
			f.warn(WarnClamped, "the cross-signed root ends at %s with %s, not at %s as asked", rfc3339(end), whose, rfc3339(until))
			until = end
		}
	}
	clamp("the new root", root.NotAfter)
	if opts.WithinSigner {
		clamp("its signer", by.NotAfter)
		if from.Before(by.NotBefore) {
			from = by.NotBefore
		}
	} else if until.After(by.NotAfter) && !now.After(by.NotAfter) {
		f.warn(WarnOutlivesSigner, "the cross-signed root ends at %s, its signer %s at %s: from then on linkerd-identity refuses the chain where it has no other root",
			rfc3339(until), describe(by), rfc3339(by.NotAfter))
	}
	if !until.After(now) || !until.After(from) {
		return from, until, fmt.Errorf("it would end at %s, and it is %s: %w", rfc3339(until), rfc3339(now), ErrValidity)
	}
	return from, until, nil
}

// didSign tells whether the signer's subject and key stand behind c's signature.
func didSign(signer, c *x509.Certificate) bool {
	return bytes.Equal(signer.RawSubject, c.RawIssuer) &&
		signer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}
