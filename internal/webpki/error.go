package webpki

// A Kind is the name of a variant of webpki::Error (src/error.rs), or of one of
// the two messages with which a proxy refuses to start. A Kind is an error, so
// that errors.Is(err, webpki.CertExpired) asks for the reason.
type Kind string

// Error returns the name of the variant.
func (k Kind) Error() string { return string(k) }

// The kinds that this package reports. Their meaning is that of the variants of
// webpki::Error with the same names.
const (
	BadDer                                   Kind = "BadDer"
	BadDerTime                               Kind = "BadDerTime"
	CaUsedAsEndEntity                        Kind = "CaUsedAsEndEntity"
	CertExpired                              Kind = "CertExpired"
	CertNotValidYet                          Kind = "CertNotValidYet"
	EmptyEkuExtension                        Kind = "EmptyEkuExtension"
	EndEntityCertHasCertSignKeyUsage         Kind = "EndEntityCertHasCertSignKeyUsage"
	EndEntityUsedAsCa                        Kind = "EndEntityUsedAsCa"
	ExtensionValueInvalid                    Kind = "ExtensionValueInvalid"
	InvalidCertValidity                      Kind = "InvalidCertValidity"
	InvalidNetworkMaskConstraint             Kind = "InvalidNetworkMaskConstraint"
	InvalidSignatureForPublicKey             Kind = "InvalidSignatureForPublicKey"
	IssuerNotCertSigner                      Kind = "IssuerNotCertSigner"
	MalformedDnsIdentifier                   Kind = "MalformedDnsIdentifier"
	MalformedNameConstraint                  Kind = "MalformedNameConstraint"
	MaximumNameConstraintComparisonsExceeded Kind = "MaximumNameConstraintComparisonsExceeded"
	MaximumPathBuildCallsExceeded            Kind = "MaximumPathBuildCallsExceeded"
	MaximumPathDepthExceeded                 Kind = "MaximumPathDepthExceeded"
	MaximumSignatureChecksExceeded           Kind = "MaximumSignatureChecksExceeded"
	NameConstraintViolation                  Kind = "NameConstraintViolation"
	PathLenConstraintViolated                Kind = "PathLenConstraintViolated"
	RequiredEkuNotFound                      Kind = "RequiredEkuNotFound"        // Linkerd 2.18
	RequiredEkuNotFoundContext               Kind = "RequiredEkuNotFoundContext" // later
	SignatureAlgorithmMismatch               Kind = "SignatureAlgorithmMismatch"
	TrailingData                             Kind = "TrailingData"
	UnknownIssuer                            Kind = "UnknownIssuer"
	UnsupportedCertVersion                   Kind = "UnsupportedCertVersion"
	UnsupportedCriticalExtension             Kind = "UnsupportedCriticalExtension"

	UnsupportedSignatureAlgorithm                    Kind = "UnsupportedSignatureAlgorithm"                    // Linkerd 2.18
	UnsupportedSignatureAlgorithmContext             Kind = "UnsupportedSignatureAlgorithmContext"             // later
	UnsupportedSignatureAlgorithmForPublicKey        Kind = "UnsupportedSignatureAlgorithmForPublicKey"        // Linkerd 2.18
	UnsupportedSignatureAlgorithmForPublicKeyContext Kind = "UnsupportedSignatureAlgorithmForPublicKeyContext" // later

	// NoRootsInPEM and NoRootsLoaded are no variants but the messages in
	// linkerd/meshtls/src/creds.rs: no CERTIFICATE block at all, and none that
	// can be an anchor. A proxy does not start then.
	NoRootsInPEM  Kind = "no trust roots in PEM file"
	NoRootsLoaded Kind = "no trust roots loaded"
)

// A Stage tells how far a proxy came before it failed.
type Stage string

// The stages, in the order in which a proxy passes them.
const (
	StagePEM     Stage = "pem"     // the text of the trust set could not be read
	StageEmpty   Stage = "empty"   // the text holds no CERTIFICATE block
	StageAnchors Stage = "anchors" // no anchor could be loaded, or this one could not
	StageLeaf    Stage = "leaf"    // the leaf could not be parsed
	StageVerify  Stage = "verify"  // no path from the leaf to an anchor
)

// An Error tells why a proxy refuses.
type Error struct {
	// Kind is the reason. It is the most specific one that the search for a
	// path met, which is not always the last one.
	Kind Kind

	// Detail is the whole error where it says more than its name, such as
	// "TrailingData(Certificate)", or "".
	Detail string

	// Stage tells how far the proxy came.
	Stage Stage

	// Cert is the certificate that the error is about: 0 for the leaf, i+1 for
	// rest[i], or -1 where it is about none or an anchor.
	Cert int
}

// Error returns the detail if there is one, and else the name of the variant.
func (e *Error) Error() string {
	if e.Detail != "" {
		return e.Detail
	}
	return string(e.Kind)
}

// Is makes errors.Is(err, CertExpired) work.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// at returns e as an error about certificate i; a certificate that was named
// already stays.
func (e *Error) at(i int) *Error {
	if e == nil || e.Cert >= 0 {
		return e
	}
	c := *e
	c.Cert = i
	return &c
}

func (e *Error) in(s Stage) *Error {
	if e == nil {
		return nil
	}
	c := *e
	c.Stage = s
	return &c
}

func fail(k Kind) *Error {
	return &Error{Kind: k, Stage: StageVerify, Cert: -1}
}

// trailing is TrailingData for the DerTypeId id.
func trailing(id string) *Error {
	e := fail(TrailingData)
	e.Detail = "TrailingData(" + id + ")"
	return e
}

// Errors that a search may meet very often. Errors are never changed once they
// are made: at and in copy.
var (
	errBadDer           = fail(BadDer)
	errVersion          = fail(UnsupportedCertVersion)
	errUnknownIssuer    = fail(UnknownIssuer)
	trailingBitString   = trailing("BitString")
	trailingBool        = trailing("Bool")
	trailingCertificate = trailing("Certificate")
	trailingExtension   = trailing("Extension")
	trailingExtensions  = trailing("CertificateExtensions")
	trailingGeneralName = trailing("GeneralName")
	trailingSignedData  = trailing("SignedData")
	trailingSPKI        = trailing("SubjectPublicKeyInfo")
	trailingTBS         = trailing("CertificateTbsCertificate")
	trailingTime        = trailing("Time")
)

// fatal tells whether the error ends the whole search (Error::is_fatal).
func (e *Error) fatal() bool {
	switch e.Kind {
	case MaximumSignatureChecksExceeded, MaximumPathBuildCallsExceeded, MaximumNameConstraintComparisonsExceeded:
		return true
	}
	return false
}

// mostSpecific returns the one of two errors that says more; of two of the same
// rank, the one that came first (Error::most_specific).
func mostSpecific(first, second *Error) *Error {
	if first.rank() >= second.rank() {
		return first
	}
	return second
}

// rank orders errors by how much they say (Error::rank). Where a number for the
// two kinds of main is not known, they stand beside the kinds that they resemble.
func (e *Error) rank() int {
	switch e.Kind {
	case CertNotValidYet, CertExpired:
		return 290
	case InvalidSignatureForPublicKey:
		return 260
	case SignatureAlgorithmMismatch:
		return 250
	case EmptyEkuExtension:
		return 245
	case RequiredEkuNotFound, RequiredEkuNotFoundContext:
		return 240
	case NameConstraintViolation:
		return 230
	case PathLenConstraintViolated:
		return 220
	case CaUsedAsEndEntity, EndEntityUsedAsCa, EndEntityCertHasCertSignKeyUsage:
		return 210
	case IssuerNotCertSigner:
		return 200
	case InvalidCertValidity:
		return 190
	case InvalidNetworkMaskConstraint:
		return 180
	case UnsupportedSignatureAlgorithmForPublicKey, UnsupportedSignatureAlgorithmForPublicKeyContext:
		return 150
	case UnsupportedSignatureAlgorithm, UnsupportedSignatureAlgorithmContext:
		return 140
	case UnsupportedCriticalExtension, UnsupportedCertVersion:
		return 130
	case MaximumPathDepthExceeded:
		return 61
	case MalformedDnsIdentifier:
		return 60
	case MalformedNameConstraint:
		return 50
	case TrailingData:
		return 40
	case ExtensionValueInvalid:
		return 30
	case BadDerTime:
		return 20
	case BadDer:
		return 10
	}
	return 0 // UnknownIssuer, and the fatal ones, which are never compared
}
