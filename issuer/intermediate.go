package issuer

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"time"
)

// IntermediateOptions shape an identity issuer. The zero value is good for a
// default install of Linkerd.
type IntermediateOptions struct {
	// Namespace of Linkerd's control plane; "" means DefaultNamespace (linkerd).
	Namespace string
	// TrustDomain of the mesh; "" means DefaultTrustDomain (cluster.local).
	TrustDomain string
	// CommonName is IdentityName(Namespace, TrustDomain) by default, as Linkerd
	// names it. A serialNumber attribute with the key id makes the subject
	// unique: Linkerd's own root has that very common name too.
	CommonName string
	// ExactName leaves the serialNumber attribute out.
	ExactName bool
	// Validity counts from now; 0 means DefaultIssuerValidity (8760 h). It is
	// cut at the signer's end (WarnClamped).
	Validity time.Duration
	// Backdate is how far before now the validity begins, though not before
	// the signer's. 0 means DefaultBackdate (1 h), anything negative not at all.
	Backdate time.Duration
	// AllowPathLen signs although the signer's path length limit is 0. Linkerd
	// does not mind, verifiers that judge leaves strictly do.
	AllowPathLen bool
	// AllowUnusual signs with a key that `linkerd check` and `upgrade` refuse
	// in an anchor and proxies accept (P-384, Ed25519, RSA 3072, ...). An ECDSA
	// or RSA key signs with SHA-256 all the same, so that the issuer itself
	// passes; an issuer signed by Ed25519 is refused there as well.
	AllowUnusual bool
	// Rand feeds the serial number; nil means crypto/rand.Reader.
	Rand io.Reader
}

// Intermediate makes the identity issuer for a public key, which must be ECDSA
// P-256: a CA that signs leaves only (path length 0), with the DNS name that
// releases up to 2.8 demand, no extended key usage, inside the dates of its
// signer.
//
// Errors: ErrUnsupportedKey, ErrNotCA, ErrKeyMismatch, ErrExpired,
// ErrNotYetValid, ErrPathLen, ErrUsage, ErrSameSubject, ErrSameKey, ErrName,
// ErrValidity, ErrUntrusted (say, by the signer's name constraints). Warnings:
// WarnClamped, WarnPathLen, WarnUsage, WarnNameConstraints, WarnUnusualKey,
// WarnSignature.
func Intermediate(pub crypto.PublicKey, by *x509.Certificate, byKey crypto.Signer, now time.Time, opts IntermediateOptions) (*Signed, error) {
	identity, err := IdentityName(opts.Namespace, opts.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("make an identity issuer: %w", err)
	}
	if !isP256(pub) {
		return nil, fmt.Errorf("make an identity issuer: its key is %s, and Linkerd wants ECDSA P-256: %w", keyKind(pub), ErrUnsupportedKey)
	}
	if opts.CommonName == "" {
		opts.CommonName = identity
	}
	subject, err := issuerSubject(opts.CommonName, opts.ExactName, pub)
	if err != nil {
		return nil, fmt.Errorf("make an identity issuer: %w", err)
	}
	signed, err := signIssuer(subject, pub, identity, by, byKey, now, opts)
	if err != nil {
		return nil, fmt.Errorf("make an identity issuer: %w", err)
	}
	return signed, nil
}

// signIssuer is what Intermediate and SignRequest share.
func signIssuer(subject pkix.Name, pub crypto.PublicKey, identity string, by *x509.Certificate, byKey crypto.Signer, now time.Time, opts IntermediateOptions) (*Signed, error) {
	var f findings
	judgeSigner(&f, by, byKey, now, signerRules{below: 1, allowShort: opts.AllowPathLen, allowUnusual: opts.AllowUnusual})
	if err := f.err(); err != nil {
		return nil, err
	}
	if sameKey(pub, by.PublicKey) {
		return nil, fmt.Errorf("an issuer with the key of %s: %w", describe(by), ErrSameKey)
	}
	rawSubject, err := asn1.Marshal(subject.ToRDNSequence())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrName, err)
	}
	if sameName(rawSubject, by.RawSubject) {
		return nil, fmt.Errorf("subject %s of the issuer: %w", quote(subject.String()), ErrSameSubject)
	}
	from, until, err := dates(now, opts.Validity, DefaultIssuerValidity, opts.Backdate)
	if err != nil {
		return nil, err
	}
	if from.Before(by.NotBefore) {
		from = by.NotBefore
	}
	if until.After(by.NotAfter) {
		f.warn(WarnClamped, "the issuer ends at %s with its signer %s, not at %s as asked", rfc3339(by.NotAfter), describe(by), rfc3339(until))
		until = by.NotAfter
	}
	if _, ok := extension(by, oidNameConstraints); ok {
		f.warn(WarnNameConstraints, "%s has name constraints: leaves outside them will not verify", describe(by))
	}
	t := &x509.Certificate{
		RawSubject: rawSubject, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: 0, MaxPathLenZero: true, KeyUsage: caUsage,
		DNSNames: []string{identity}, AuthorityKeyId: by.SubjectKeyId,
	}
	c, err := create(t, by, pub, byKey, opts.Rand)
	if err != nil {
		return nil, err
	}
	warnings, err := CheckIssuer([]*x509.Certificate{c}, []*x509.Certificate{by}, now, CheckOptions{DNSName: identity, AllowUnusual: opts.AllowUnusual})
	if err != nil {
		return nil, err
	}
	return &Signed{Certificate: c, Warnings: mergeWarnings(f.warnings, warnings)}, nil
}

// mergeWarnings leaves out what was said about the signer already.
func mergeWarnings(first, second []Warning) []Warning {
	said := map[WarningCode]bool{}
	for _, w := range first {
		said[w.Code] = true
	}
	for _, w := range second {
		if !said[w.Code] {
			first = append(first, w)
		}
	}
	return first
}
