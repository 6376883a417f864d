// Package webpki predicts what a Linkerd proxy decides about certificates.
//
// A Linkerd proxy verifies its peers with rustls and rustls-webpki, whose rules
// differ from those of crypto/x509 in many places: an anchor is no more than a
// subject, a key and name constraints (its dates, its CA flag, its path length
// and its extensions do not count), key identifiers play no part, names compare
// byte for byte, and a search ends after 100 signature checks. A plan for
// changing trust anchors that is proved by other rules is not proved. This
// package follows the proxies' rules, release by release:
//
//	sections, err := webpki.ReadPEM(text)         // what the PEM reader takes
//	anchor, err := webpki.ParseAnchor(der, rel)   // what is kept of one anchor
//	set, err := webpki.ReadTrustSet(text, rel)    // both, as a proxy does at its start
//	chain := webpki.ParseChain(rel, leaf, rest)   // parse once ...
//	res, err := chain.Verify(anchors, webpki.Server, at) // ... judge many times
//	id := webpki.Identity(leaf)                   // who a proxy thinks that is
//
// # What is promised
//
// The verdict, the reason and the number of signatures checked are those of the
// real code; the test data in internal/testdata/vectors was made by running it.
// The reason is the name of a variant of webpki::Error, as a [Kind].
//
// Everything here is pure: no clock, no network, no files, no log. Parsed values
// are immutable and safe for concurrent use. Hostile input cannot make a
// judgement run long: the budgets of the real code hold here too.
//
// # What is not covered
//
// Revocation (Linkerd uses none), TLS itself (a proxy also needs a leaf whose
// key can sign a TLS 1.3 handshake, and rustls limits a handshake message to
// 64 KiB), and the check that a leaf carries the expected name, which proxies
// make after the chain was found good; see [MatchesIdentity].
//
// # Sources
//
// The rules were learned from rustls/webpki (src/cert.rs, src/der.rs,
// src/x509.rs, src/signed_data.rs, src/trust_anchor.rs, src/verify_cert.rs,
// src/subject_name/, src/error.rs) at 0.103.1, 0.103.8 and 0.103.13, from
// rustls/pki-types (src/pem.rs, src/base64.rs) at 1.14.0, and from
// linkerd/linkerd2-proxy (linkerd/rustls/src/crypto.rs,
// linkerd/meshtls/src/creds.rs, linkerd/meshtls/verifier/src/lib.rs,
// linkerd/identity/src/lib.rs, linkerd/dns/name/src/name.rs). Comments name the
// file where a rule is theirs; the code is our own.
package webpki
