// Package layout knows where each release of a mesh keeps its trust anchors and
// issuer certificates in Kubernetes objects, and reads those texts out of
// manifests.
//
// It is pure: bytes in, texts out. It opens no file, talks to no cluster, reads
// no clock and parses no certificate. [Read] takes a manifest, in YAML or JSON,
// of one object, many documents or Lists, and returns a [Manifest]: every PEM
// text found, what it is for ([Role]), what kind of place held it ([Store]),
// in which object and field, and at which line.
//
// # Where Linkerd keeps anchors
//
// The place has moved three times, so an object is told apart by its kind, its
// name and its keys, never by the name of the file it came in:
//
//	release     what new proxies are given                    what linkerd-identity trusts
//	2.3 - 2.8   linkerd-config, key global (JSON)             the same
//	2.9         linkerd-config, key values, under global      an argument of its Deployment
//	2.10        linkerd-config, key values, top level         an env variable of its Deployment
//	2.11 -      linkerd-identity-trust-roots, ca-bundle.crt   the same
//
// Beside these stand copies: linkerd-config goes on repeating the anchors from
// 2.11 on; the Secret linkerd-config-overrides (command-line installs) is what
// the next "linkerd upgrade" applies; and every proxy carries what it was
// started with in the variable [ProxyAnchorsEnv]. All of them are reported, so
// that a caller can say which copies disagree.
//
// The issuer is a Secret in one of two schemes: linkerd.io/tls (crt.pem,
// key.pem) and kubernetes.io/tls (tls.crt, tls.key, ca.crt). Its ca.crt is what
// cert-manager believes the root to be: one root, possibly stale. It counts as
// an anchor only where nothing else stores any ([Manifest.Anchors]).
//
// # Istio
//
// The Secrets cacerts (both of its forms) and istio-ca-secret, and the ConfigMap
// istio-ca-root-cert.
//
// # What is promised
//
// A document that is not YAML, an object whose certificates cannot be decoded,
// a `values` text that does not parse: each is an [*Error] with document and
// line. Nothing that should have been read is skipped in silence. Objects of
// other kinds are passed over. Webhook serving certificates and their CA
// bundles are neither anchors nor chains.
//
// A text is what its consumer gets after decoding, untrimmed: kubelet does not
// trim either, and a trailing blank line is the difference between a working
// and a crashing linkerd-identity.
//
// No private key leaves this package. Fields of keys are never read, also those
// in the overrides Secret, and where somebody pasted a key into a certificate
// field the characters of its body are blanked out (see [Text]).
//
// Reading is linear in the size of the input. Aliases, nesting and the number
// of values in a document are bounded, so a hostile manifest is an error and
// not an outage; the total size is for the caller to bound.
package layout
