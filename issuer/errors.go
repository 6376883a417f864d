package issuer

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Refusals. Every error of this package that a caller could act on wraps one
// of these (compare with errors.Is) and says which certificate, key or request
// is meant. Where several things are wrong, one error wraps them all.
var (
	// ErrKeyMismatch: the private key does not belong to the certificate.
	ErrKeyMismatch = errors.New("the key does not belong to the certificate")
	// ErrNotCA: basic constraints or key usage do not let the certificate sign others.
	ErrNotCA = errors.New("not a CA certificate")
	// ErrExpired: the validity ended before the given moment.
	ErrExpired = errors.New("expired")
	// ErrNotYetValid: the validity begins after the given moment.
	ErrNotYetValid = errors.New("not valid yet")
	// ErrValidity: the dates asked for make no sense, or no moment was given.
	ErrValidity = errors.New("impossible validity")
	// ErrUnsupportedKey: a kind of key that Linkerd cannot use in this place.
	ErrUnsupportedKey = errors.New("unsupported kind of key")
	// ErrSignatureAlgorithm: signed in a way that Linkerd does not accept.
	ErrSignatureAlgorithm = errors.New("unsupported signature algorithm")
	// ErrPathLen: a path length limit leaves no room for what must stand below.
	ErrPathLen = errors.New("path length too small")
	// ErrSameSubject: the certificate would carry its signer's subject.
	ErrSameSubject = errors.New("same subject as its signer")
	// ErrSameAnchor: a root cannot be cross-signed by itself (same subject and key).
	ErrSameAnchor = errors.New("both are the same anchor")
	// ErrSameKey: the certificate would carry its signer's key.
	ErrSameKey = errors.New("same key as its signer")
	// ErrUsage: an extended key usage shuts out what Linkerd needs.
	ErrUsage = errors.New("extended key usage does not allow it")
	// ErrUntrusted: no path to the given roots.
	ErrUntrusted = errors.New("does not verify under the roots")
	// ErrNotSigner: a certificate of a chain did not sign what stands below it.
	ErrNotSigner = errors.New("did not sign what stands below it")
	// ErrName: a name that is malformed, too long, or missing.
	ErrName = errors.New("unusable name")
	// ErrRequest: a certificate request that is malformed or asks for what
	// would not be granted.
	ErrRequest = errors.New("certificate request refused")

	// ErrKMS: the reference names a key management system that is not built in.
	ErrKMS = errors.New("key management system not built in")
	// ErrNotKey: the text is not exactly one private key that can be read.
	ErrNotKey = errors.New("not a private key")
	// ErrPassphraseRequired: the key is encrypted and no passphrase was offered.
	ErrPassphraseRequired = errors.New("the key is encrypted and needs a passphrase")
	// ErrWrongPassphrase: the key does not decrypt with the passphrase given.
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// ErrEmptyPassphrase: an empty passphrase protects nothing.
	ErrEmptyPassphrase = errors.New("empty passphrase")
)

// Warning is something the user should hear about, though nothing was refused.
type Warning struct {
	Code    WarningCode
	Message string // one sentence without a final stop, nothing secret in it
}

// String returns the message.
func (w Warning) String() string { return w.Message }

// WarningCode tells warnings apart; the values are stable.
type WarningCode string

// The warnings.
const (
	WarnClamped           WarningCode = "validity-clamped"    // the validity asked for was cut at the signer's
	WarnOutlivesSigner    WarningCode = "outlives-signer"     // identity stops accepting the chain when the signer ends
	WarnSignerExpired     WarningCode = "signer-expired"      // proxies accept it, identity does not
	WarnPathLen           WarningCode = "path-length"         // enough for Linkerd, not for verifiers that judge leaves strictly
	WarnUsage             WarningCode = "usage"               // an extended or plain key usage that strict verifiers refuse
	WarnNameConstraints   WarningCode = "name-constraints"    // leaves outside the signer's name constraints will fail
	WarnSameSubject       WarningCode = "same-subject"        // proxies try one signature more, OpenSSL may fail
	WarnUnusualKey        WarningCode = "unusual-key"         // works in proxies, `linkerd check` and `upgrade` refuse it
	WarnSignature         WarningCode = "signature-algorithm" // likewise, for how a certificate was signed
	WarnIgnoredExtensions WarningCode = "ignored-extensions"  // a request asked for extensions that were not granted
	WarnName              WarningCode = "unusual-name"        // a request's common name is not what Linkerd calls its issuers
	WarnNotRoot           WarningCode = "not-a-root"          // what was reissued had been signed by another CA
	WarnKeyReadable       WarningCode = "key-file-readable"   // others than the owner can read the key file
)

// Signed is a new certificate with what there is to say about it.
type Signed struct {
	Certificate *x509.Certificate
	Warnings    []Warning
}

func warnf(code WarningCode, format string, args ...any) Warning {
	return Warning{Code: code, Message: fmt.Sprintf(format, args...)}
}

// describe names a certificate in messages: its common name or subject, cut to
// a decent length and quoted (it may be hostile), and its fingerprint.
func describe(c *x509.Certificate) string {
	if c == nil {
		return "no certificate"
	}
	name := c.Subject.CommonName
	if name == "" {
		name = c.Subject.String()
	}
	return fmt.Sprintf("%s (SHA-256 %s)", quote(name), fingerprint(c.Raw)[:16])
}

func quote(s string) string {
	if runes := []rune(s); len(runes) > 80 {
		s = string(runes[:77]) + "..."
	}
	return fmt.Sprintf("%q", s)
}

func fingerprint(der []byte) string {
	sum := sha256Sum(der)
	return hex.EncodeToString(sum)
}

// findings collects what is wrong and what is merely odd.
type findings struct {
	problems problems
	warnings []Warning
}

func (f *findings) refuse(sentinel error, format string, args ...any) {
	f.problems = append(f.problems, fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), sentinel))
}

func (f *findings) warn(code WarningCode, format string, args ...any) {
	f.warnings = append(f.warnings, warnf(code, format, args...))
}

// either is for what the caller may choose to allow.
func (f *findings) either(allowed bool, code WarningCode, sentinel error, format string, args ...any) {
	if allowed {
		f.warn(code, format, args...)
	} else {
		f.refuse(sentinel, format, args...)
	}
}

func (f *findings) err() error {
	switch len(f.problems) {
	case 0:
		return nil
	case 1:
		return f.problems[0]
	}
	return f.problems
}

// problems is errors.Join on one line.
type problems []error

func (p problems) Error() string {
	texts := make([]string, len(p))
	for i, err := range p {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (p problems) Unwrap() []error { return p }
