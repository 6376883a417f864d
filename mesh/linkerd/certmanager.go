package linkerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
)

const certManagerGroup = "cert-manager.io"

// certificate is a Certificate of cert-manager.
type certificate struct {
	mesh.Object
	Spec struct {
		SecretName  string `json:"secretName"`
		IsCA        bool   `json:"isCA"`
		CommonName  string `json:"commonName"`
		Duration    string `json:"duration"`
		RenewBefore string `json:"renewBefore"`
		Renewal     struct {
			Policy string `json:"policy"`
		} `json:"renewal"`
		PrivateKey struct {
			RotationPolicy string `json:"rotationPolicy"`
		} `json:"privateKey"`
		IssuerRef struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"issuerRef"`
	} `json:"spec"`
	Status struct {
		NotBefore   time.Time `json:"notBefore"`
		NotAfter    time.Time `json:"notAfter"`
		RenewalTime time.Time `json:"renewalTime"`
	} `json:"status"`
}

// readCertificates reads the Certificates that make anchors and issuers, where
// cert-manager is installed: one list, of which most is dropped as it arrives.
func (s *survey) readCertificates() {
	if len(s.out.Installations) == 0 {
		return
	}
	var found []certificate
	r, err := s.served(certManagerGroup, "certificates", "v1")
	switch {
	case errors.Is(err, mesh.ErrNoCRD):
		return
	case err == nil:
		err = s.c.ListJSON(s.ctx, r, mesh.ListOptions{}, func() { found = nil }, func(raw json.RawMessage) error {
			var c certificate
			if err := json.Unmarshal(raw, &c); err != nil {
				return fmt.Errorf("an item does not parse: %w", err)
			}
			if c.Spec.IsCA {
				found = append(found, c)
			}
			return nil
		})
	}
	if errors.Is(err, mesh.ErrNotFound) {
		return // the group is served, with other kinds
	}
	if err != nil && (!errors.Is(err, mesh.ErrForbidden) || s.certManaged()) {
		s.unknown("Certificates of cert-manager", err)
	}
	for _, i := range s.out.Installations {
		for _, c := range found {
			if m := managed(i, c); m.Issuer || m.Anchor != nil {
				i.Certificates = append(i.Certificates, m)
			}
		}
	}
}

// certManaged reports whether anything that was seen belongs to cert-manager or
// its trust-manager.
func (s *survey) certManaged() bool {
	of := func(owners []mesh.Owner) bool {
		for _, o := range owners {
			if o.Tool == mesh.ToolCertManager || o.Tool == mesh.ToolTrustManager {
				return true
			}
		}
		return false
	}
	for _, i := range s.out.Installations {
		if i.Issuer != nil && of(i.Issuer.Owners) {
			return true
		}
		for n := range i.Copies {
			if of(i.Copies[n].Owners) {
				return true
			}
		}
	}
	return false
}

func managed(i *mesh.Installation, c certificate) mesh.ManagedCertificate {
	m := mesh.ManagedCertificate{
		Object: c.Metadata.Ref("Certificate"), Secret: c.Spec.SecretName, IsCA: c.Spec.IsCA, CommonName: c.Spec.CommonName,
		IssuerKind: c.Spec.IssuerRef.Kind, IssuerName: c.Spec.IssuerRef.Name,
		RenewalPolicy: c.Spec.Renewal.Policy, RotationPolicy: c.Spec.PrivateKey.RotationPolicy,
		NotBefore: c.Status.NotBefore, NotAfter: c.Status.NotAfter, RenewalTime: c.Status.RenewalTime,
		Issuer: c.Metadata.Namespace == i.Namespace && c.Spec.SecretName == issuerName,
	}
	if m.IssuerKind == "" {
		m.IssuerKind = "Issuer"
	}
	// What does not parse cert-manager does not take either.
	m.Duration, _ = time.ParseDuration(c.Spec.Duration)
	m.RenewBefore, _ = time.ParseDuration(c.Spec.RenewBefore)
	for n := range i.Copies {
		cp := &i.Copies[n]
		if cp.Trust == nil || len(cp.Uses) == 0 || len(cp.Uses) == 1 && cp.For(mesh.ManualInjection) {
			continue
		}
		for _, a := range cp.Trust.Anchors {
			if m.Anchor == nil && madeBy(a, &m) {
				m.Anchor = a
			}
		}
	}
	return m
}

// madeBy reports whether an anchor has the subject and the dates of what a
// Certificate made last.
func madeBy(a *bundle.Certificate, m *mesh.ManagedCertificate) bool {
	from, until := a.Validity()
	if m.NotAfter.IsZero() || !until.Equal(m.NotAfter) || !from.Equal(m.NotBefore) {
		return false
	}
	if m.CommonName == "" {
		return true
	}
	x, err := a.X509()
	return err == nil && x.Subject.CommonName == m.CommonName
}
