package webpki

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Usage tells which side of a connection the judged leaf is on.
type Usage int

const (
	// Server: a proxy that connects judges the side that it connects to
	// (AnySanVerifier in linkerd2-proxy, KeyUsage::server_auth).
	Server Usage = iota
	// Client: a proxy that is connected to judges its caller
	// (WebPkiClientVerifier of rustls, KeyUsage::client_auth).
	Client
)

// String returns "server" or "client".
func (u Usage) String() string {
	if u == Client {
		return "client"
	}
	return "server"
}

// eku is the object identifier, id-kp-serverAuth or id-kp-clientAuth.
func (u Usage) eku() []byte {
	if u == Client {
		return []byte{0x2b, 6, 1, 5, 5, 7, 3, 2}
	}
	return []byte{0x2b, 6, 1, 5, 5, 7, 3, 1}
}

// The limits of a search (Budget and MAX_SUB_CA_COUNT in src/verify_cert.rs).
const (
	maxSignatures    = 100
	maxPathBuilds    = 200_000
	maxComparisons   = 250_000
	maxIntermediates = 6
)

// A Chain is a presented chain, parsed once for the rules of one release, to be
// judged many times. It is safe for concurrent use, and remembers which
// signatures it has found good.
type Chain struct {
	release Release
	certs   []parsed // the leaf, then everything else that is presented

	// checked holds the outcome of signature checks: map[checkedKey]bool. A
	// search adds maxSignatures at most.
	checked sync.Map
}

type parsed struct {
	cert *cert
	err  *Error

	// signer, where it is set, marks a leaf that ParseIssuer thought up: the key
	// that signed it. Nothing else is asked of such a leaf.
	signer []byte
}

type checkedKey struct {
	cert int
	spki string
}

// ParseChain takes a presented chain apart: the leaf, and all else in the order
// in which it is presented. It does not fail: a leaf that cannot be parsed is
// what [Chain.Verify] reports, and anything else that cannot be parsed matters
// only if the search for a path comes to it.
//
// The Chain keeps no reference to its arguments. It panics if rel is not one of
// the constants.
func ParseChain(rel Release, leaf []byte, rest [][]byte) *Chain {
	c := &Chain{release: rel, certs: make([]parsed, 0, 1+len(rest))}
	for i, der := range append([][]byte{leaf}, rest...) {
		crt, err := parseCert(bytes.Clone(der), rel.rules(), false)
		c.certs = append(c.certs, parsed{cert: crt, err: err.at(i)})
	}
	return c
}

// Release returns the release whose rules the chain was parsed by.
func (c *Chain) Release() Release { return c.release }

// A Result tells how a verdict was reached.
type Result struct {
	// SignatureChecks is how many signatures were really checked. It is set
	// beside an error too. A search ends when it would need more than 100; a
	// signature by an algorithm that is not known counts towards these 100, but
	// not here.
	SignatureChecks int

	// Path is the path that was found, from the leaf up: indexes into what is
	// presented after the leaf. It is empty where the anchor signed the leaf, and
	// nil if there is none.
	Path []int

	// Anchor is the index of the anchor at the end of the path, or -1.
	Anchor int
}

// Verify judges a presented chain: shorthand for [ParseChain] and [Chain.Verify].
func Verify(rel Release, leaf []byte, rest [][]byte, anchors []*Anchor, usage Usage, at time.Time) (Result, error) {
	return ParseChain(rel, leaf, rest).Verify(anchors, usage, at)
}

// Verify tells whether a proxy that trusts anchors accepts the chain at that
// time (to the second). The error is an [*Error].
//
// The order of anchors and of the presented certificates counts, since the
// search goes through them in order and its budget is limited: every anchor is
// tried before the next intermediate. An anchor fits if its subject equals the
// issuer's name byte for byte; then the signatures are checked from the anchor
// down, then name constraints. No path holds more than 6 intermediates, or twice
// the same subject and key. (build_chain in src/verify_cert.rs.)
func (c *Chain) Verify(anchors []*Anchor, usage Usage, at time.Time) (Result, error) {
	res := Result{Anchor: -1}
	if err := c.certs[0].err; err != nil {
		if err.Cert > 0 { // see ParseIssuer
			return res, err.in(StageVerify)
		}
		return res, err.in(StageLeaf)
	}
	s := search{
		chain:       c,
		rules:       c.release.rules(),
		anchors:     anchors,
		eku:         usage.eku(),
		usage:       usage,
		at:          at.Unix(),
		signatures:  maxSignatures,
		builds:      maxPathBuilds,
		comparisons: maxComparisons,
		path:        make([]int, 1, 1+maxIntermediates),
		below:       make([]*cert, 0, 1+maxIntermediates),
	}
	anchor, err := s.extend()
	res.SignatureChecks = s.checks
	if err != nil {
		return res, err.in(StageVerify)
	}
	res.Anchor = anchor
	res.Path = make([]int, 0, len(s.path)-1)
	for _, i := range s.path[1:] {
		res.Path = append(res.Path, i-1)
	}
	return res, nil
}

// A search looks for a path from the leaf to an anchor, depth first.
type search struct {
	chain   *Chain
	rules   *rules
	anchors []*Anchor
	eku     []byte
	usage   Usage
	at      int64

	signatures, builds, comparisons int // what is left of the budget

	checks int     // signatures really checked
	path   []int   // indexes into chain.certs, the leaf first
	below  []*cert // scratch: certs of the path, the one next to the anchor first
}

// extend completes the path, whose last certificate was just added. It returns
// the anchor, or the most specific of the errors met.
func (s *search) extend() (int, *Error) {
	head := s.path[len(s.path)-1]
	cert := s.chain.certs[head].cert
	if s.chain.certs[head].signer == nil {
		if err := s.checkAlone(cert); err != nil {
			return -1, err.at(head)
		}
	}

	failure := errUnknownIssuer
	for i, a := range s.anchors {
		if !bytes.Equal(cert.issuer, a.Subject) {
			continue
		}
		err := s.checkSigned(a)
		if err == nil {
			return i, nil
		}
		if err.fatal() {
			return -1, err
		}
		failure = mostSpecific(failure, err)
	}

	for i := 1; i < len(s.chain.certs); i++ {
		anchor, err := s.tryIssuer(cert, i)
		if err == nil {
			return anchor, nil
		}
		if err.fatal() {
			return -1, err
		}
		failure = mostSpecific(failure, err)
	}
	return -1, failure
}

// tryIssuer goes on with certificate i as the issuer of child, the last one of
// the path.
func (s *search) tryIssuer(child *cert, i int) (int, *Error) {
	issuer := s.chain.certs[i]
	if issuer.err != nil {
		return -1, issuer.err
	}
	if !bytes.Equal(issuer.cert.subject, child.issuer) {
		return -1, errUnknownIssuer
	}
	for _, j := range s.path { // no loops
		prev := s.chain.certs[j].cert
		if bytes.Equal(issuer.cert.spki, prev.spki) && bytes.Equal(issuer.cert.subject, prev.subject) {
			return -1, errUnknownIssuer
		}
	}
	if s.builds == 0 {
		return -1, fail(MaximumPathBuildCallsExceeded)
	}
	s.builds--
	if len(s.path) > maxIntermediates {
		return -1, fail(MaximumPathDepthExceeded)
	}
	s.path = append(s.path, i)
	anchor, err := s.extend()
	if err != nil {
		s.path = s.path[:len(s.path)-1]
	}
	return anchor, err
}

// checkSigned checks the whole path under an anchor: all signatures from the top
// down, then the name constraints of the anchor and of each intermediate.
func (s *search) checkSigned(a *Anchor) *Error {
	spki := a.SPKI
	for _, i := range slices.Backward(s.path) {
		if err := s.checkSignature(i, spki); err != nil {
			return err.at(i)
		}
		spki = s.chain.certs[i].cert.spki
	}

	s.below = s.below[:0]
	for _, i := range slices.Backward(s.path) {
		s.below = append(s.below, s.chain.certs[i].cert)
	}
	constraints := a.NameConstraints
	for n, c := range s.below {
		if constraints != nil {
			if err := s.checkNameConstraints(constraints, s.below[n:]); err != nil {
				return err
			}
		}
		constraints = c.nameConstraints
	}
	return nil
}

func (s *search) checkSignature(i int, spki []byte) *Error {
	if s.signatures == 0 {
		return fail(MaximumSignatureChecksExceeded)
	}
	s.signatures--
	if signer := s.chain.certs[i].signer; signer != nil {
		if err := s.rules.canSign(spki); err != nil {
			return err
		}
		s.checks++
		if !bytes.Equal(signer, spki) {
			return fail(InvalidSignatureForPublicKey)
		}
		return nil
	}
	cert := s.chain.certs[i].cert
	check, err := s.rules.prepare(cert, spki)
	if err != nil {
		return err
	}
	s.checks++
	key := checkedKey{i, string(spki)}
	good, done := s.chain.checked.Load(key)
	if !done {
		good = check.ok(cert)
		s.chain.checked.Store(key, good)
	}
	if !good.(bool) {
		return fail(InvalidSignatureForPublicKey)
	}
	return nil
}

// checkAlone checks what does not depend on the issuer of the last certificate
// of the path (check_issuer_independent_properties).
func (s *search) checkAlone(c *cert) *Error {
	if err := s.checkValidity(c); err != nil {
		return err
	}
	if err := s.checkBasicConstraints(c); err != nil {
		return err
	}
	if err := s.checkKeyUsage(c); err != nil {
		return err
	}
	return s.checkEKU(c)
}

// checkValidity: both ends are included, to the second.
func (s *search) checkValidity(c *cert) *Error {
	return readAll(c.validity, errBadDer, func(in *reader) *Error {
		notBefore, err := in.time()
		if err != nil {
			return err
		}
		notAfter, err := in.time()
		if err != nil {
			return err
		}
		switch {
		case notBefore > notAfter:
			return fail(InvalidCertValidity)
		case s.at < notBefore:
			err = fail(CertNotValidYet)
			err.Detail = fmt.Sprintf("CertNotValidYet { time: UnixTime(%d), not_before: UnixTime(%d) }", s.at, notBefore)
		case s.at > notAfter:
			err = fail(CertExpired)
			err.Detail = fmt.Sprintf("CertExpired { time: UnixTime(%d), not_after: UnixTime(%d) }", s.at, notAfter)
		}
		return err
	})
}

// checkBasicConstraints: an issuer is a CA, the leaf is none. A path length
// limits the number of intermediates between the certificate and the leaf;
// self-issued ones count, which RFC 5280 has otherwise.
func (s *search) checkBasicConstraints(c *cert) *Error {
	issuer, intermediates := len(s.path) > 1, len(s.path)-2
	judge := func(ca bool, pathLen int) *Error {
		switch {
		case !issuer && ca:
			return fail(CaUsedAsEndEntity)
		case issuer && !ca:
			return fail(EndEntityUsedAsCa)
		case issuer && pathLen >= 0 && intermediates > pathLen:
			return fail(PathLenConstraintViolated)
		}
		return nil
	}
	if c.basicConstraints == nil {
		return judge(false, -1)
	}
	return readAll(c.basicConstraints, errBadDer, func(in *reader) *Error {
		ca, err := in.boolean()
		if err != nil {
			return err
		}
		pathLen := -1
		if !in.empty() {
			if pathLen, err = in.small(); err != nil {
				return err
			}
		}
		return judge(ca, pathLen)
	})
}

// checkKeyUsage: shipped releases do not look at keyUsage. Main wants that an
// issuer may sign certificates, and that the leaf may not (rustls/webpki#510).
func (s *search) checkKeyUsage(c *cert) *Error {
	if !s.rules.keyCertSign || c.keyUsage == nil {
		return nil
	}
	const keyCertSign = 5
	return readAll(c.keyUsage, errBadDer, func(in *reader) *Error {
		val, err := in.expect(tagBitString)
		if err != nil {
			return err
		}
		may, err := bitFlag(val, keyCertSign)
		switch issuer := len(s.path) > 1; {
		case err != nil:
			return err
		case issuer && !may:
			return fail(IssuerNotCertSigner)
		case !issuer && may:
			return fail(EndEntityCertHasCertSignKeyUsage)
		}
		return nil
	})
}

// checkEKU: where there is an extended key usage, it has to name the usage;
// anyExtendedKeyUsage does not stand for it. What follows the usage is not read.
func (s *search) checkEKU(c *cert) *Error {
	if c.eku == nil {
		return nil
	}
	in := reader{c.eku}
	if in.empty() && !s.rules.plainErrors {
		return fail(EmptyEkuExtension)
	}
	for {
		id, err := in.expect(tagOID)
		if err != nil {
			return err
		}
		if bytes.Equal(id, s.eku) {
			return nil
		}
		if in.empty() {
			break
		}
	}
	if s.rules.plainErrors {
		return fail(RequiredEkuNotFound)
	}
	return fail(RequiredEkuNotFoundContext)
}
