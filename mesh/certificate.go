package mesh

import (
	"time"

	"github.com/windlass-mesh/windlass/bundle"
)

// ManagedCertificate is a Certificate of cert-manager that makes something a
// control plane stands on: an anchor in use, or the issuer.
type ManagedCertificate struct {
	Object     ObjectRef
	Secret     string // its name; the Secret is in the Certificate's namespace
	IsCA       bool
	CommonName string
	IssuerKind string // Issuer, ClusterIssuer, or another's kind
	IssuerName string

	Duration, RenewBefore time.Duration // 0 where the spec leaves it to the default
	RenewalPolicy         string        // RenewBefore or Disabled; "" is RenewBefore
	RotationPolicy        string        // of the key, Always or Never; "" is Always since cert-manager 1.18, before that Never

	NotBefore, NotAfter time.Time // of what it made last
	RenewalTime         time.Time // when cert-manager will renew it by itself; zero is never, or not known

	// Issuer means that its Secret is the control plane's issuer.
	Issuer bool
	// Anchor is the anchor in use that it made last, nil for none. It is told by
	// subject and dates, which are to the second: the Secret, which holds the
	// anchor's key, is not read.
	Anchor *bundle.Certificate
}

// Renews reports whether cert-manager renews it without being asked.
func (c *ManagedCertificate) Renews() bool { return c.RenewalPolicy != "Disabled" }

// NewKey reports whether a renewal makes a new key.
func (c *ManagedCertificate) NewKey() bool { return c.RotationPolicy != "Never" }
