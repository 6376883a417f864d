// Package issuer makes what signs in a service mesh: roots (trust anchors),
// reissued and cross-signed roots, identity issuers, the requests for them, the
// chains that Linkerd's identity service loads, and the key files behind it all.
//
// # A new root and its issuer
//
// Keys come first and are stored first; certificates are made for keys that
// exist. Nothing here makes a key behind your back.
//
//	rootKey, err := issuer.GenerateKey()
//	err = issuer.WriteKey("root.key", rootKey, issuer.WriteKeyOptions{})
//	root, err := issuer.Root(rootKey, now, issuer.RootOptions{})
//
//	key, err := issuer.GenerateKey()
//	signed, err := issuer.Intermediate(key.Public(), root, rootKey, now, issuer.IntermediateOptions{})
//	warnings, err := issuer.CheckPair([]*x509.Certificate{signed.Certificate}, key, []*x509.Certificate{root}, now, issuer.CheckOptions{})
//
// Where the root's key stays offline, [Request] is the half that holds the
// issuer's key and [SignRequest] the half that holds the root's.
//
// # From one root to the next
//
// [CrossSign] signs the new root with the old one's key. Sent along below the
// issuer (see [NewChain]) it lets a proxy that knows only the old root verify
// leaves under the new one. [Reissue] instead gives an old root new dates and
// leaves it the same anchor.
//
// # What it promises
//
//   - What Linkerd would refuse is refused here, before anything is written:
//     the constructors judge the signer and the result by the rules that
//     [CheckIssuer] applies to certificates made elsewhere. Every refusal wraps
//     one of the Err values and names the certificate. What works in Linkerd
//     but deserves attention comes back as a [Warning].
//   - Nothing here prints, logs, ends the process or looks at a clock: the
//     moment is a parameter. No error or warning holds anything secret.
//   - A key file is private (0600), whole or absent, durable when [WriteKey]
//     returns, and never overwritten unless that was asked for.
//
// # Traps it keeps you out of
//
//   - Proxies know an anchor by subject, key and name constraints only
//     (rustls-webpki; its dates, path length and signature are ignored), so a
//     subject written again in another string type is another anchor. [Reissue]
//     and [CrossSign] copy bytes.
//   - Anchors that share a subject cost a proxy one signature check each, and
//     about 100 of them exceed its budget, so by default every subject made
//     here is unique: a root's common name ends with its key id, an identity
//     issuer's subject carries it as serialNumber attribute. The key id is the
//     first 4 bytes of the subject key identifier in hex.
//   - Linkerd's identity ends leaves with the earliest end in its chain, the
//     cross-signed root included: see [Chain.NotAfter].
//   - It signs leaves with ECDSA and SHA-256 whatever the issuer's key is, so an
//     RSA issuer fails only when the first proxy asks.
//   - crypto/x509 leaves out the authority key identifier where subject and
//     issuer are the same bytes, and OpenSSL then fails. Identity issuers that
//     share their signer's subject are refused.
//   - Libraries write a key in clear when the passphrase is empty
//     (go.step.sm/crypto does). Here that is [ErrEmptyPassphrase].
package issuer
