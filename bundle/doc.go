// Package bundle knows what a service mesh trusts: it reads trust bundles from
// PEM and from Kubernetes manifests, merges and compares them, reports what
// their readers would stumble over, and proves whether a certificate chain
// verifies under them.
//
// It is for those who operate Linkerd, or write operators for it. It opens no
// file, talks to no cluster, reads no clock, prints nothing; data and the moment
// of judgement come in, and data goes out.
//
// # In short
//
//	src, err := bundle.ReadSource("old.yaml", data)   // PEM or manifest, told by content
//	anchors, err := src.Anchors()                     // strictly; an error names the line
//	union := bundle.Merge(anchors, others)            // by certificate, nothing is lost
//	os.Stdout.Write(union.Marshal())                  // text that every reader accepts
//	verdict := bundle.Verify(bundle.Query{...})       // and why not
//
// # What is promised
//
//   - Nothing is lost. [Parse] reads every certificate of a text or fails and says
//     in which line; [Merge] keeps every certificate of every bundle.
//   - One set, one text. [Bundle.Marshal] writes certificates only, in ascending
//     order of their SHA-256, with one newline at the end. Linkerd's readers take
//     exactly that set back, with the exception of certificates that they refuse
//     by themselves, which [Lint] reports.
//   - Every verdict is that of the real verifier, release by release, and has a
//     reason that names the certificate that has to change.
//   - No error, finding or reason repeats what may be a private key, or text that
//     could steer a terminal.
//   - Hostile input costs time in proportion to its size. [MaxSourceSize] bounds
//     that.
//
// # Two identities
//
// A certificate has two, and mixing them up is how bundles break:
//
//   - [Fingerprint], the SHA-256 of its DER: this very certificate. Merge, Equal
//     and Diff go by it.
//   - [AnchorID], over subject, key and name constraints: all that a proxy keeps of
//     an anchor. A root and its re-issue have one AnchorID. They are called twins.
//
// For a proxy it does not matter which twin is in the bundle. For
// linkerd-identity it does: it looks at dates and path lengths, and where an
// issuer is its own root it wants that very certificate. So twins stay in a
// union, and [Compact] takes one out only where it can be shown that no verdict
// changes.
//
// # Two readers
//
// The same text means different things to Linkerd's two readers; [ReadAs] tells
// what each takes from it.
//
//   - Identity: linkerd-identity, and the start of every sidecar. Text behind the
//     last certificate, a blank line even, is an error. A block of another kind
//     silently ends the bundle.
//   - Proxy: the proxy itself. It passes over text and foreign blocks, refuses
//     headers and damaged BEGIN lines, and skips certificates that it cannot load.
//
// [Parse] is neither: it is stricter than both, and reads what both would lose.
//
// # Two rule sets
//
// Whether a mesh works is decided in two places, by different [Rules]:
//
//   - [Proxy]: what a peer does with the chain presented to it (rustls-webpki).
//     An anchor's dates, CA flag and path length do not count: proxies go on
//     trusting an expired root.
//   - [Identity]: what linkerd-identity does with its issuer (Go's crypto/x509).
//     They all count, and an expired root stops every renewal.
//
// A chain is sound only if both accept, and for the proxies every release in use
// has to. That two clusters share an anchor ([Bundle.Shared]) proves nothing:
// each has to verify what the other presents.
//
// # Traps
//
//   - `cat` of two files without a final newline glues END to BEGIN; Linkerd's
//     readers fail on that or lose certificates. Merge mends it.
//   - A trust bundle is also an environment variable: [MaxEnvBytes].
//   - Roots that share a subject cost every handshake signature checks; with a
//     hundred of them proxies give up. Lint counts.
//   - The certificates of [Certificate.X509] are shared. Do not change them.
package bundle
