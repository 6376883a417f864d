package linkerd

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/mesh"
)

func TestCertificatesThatMakeAnAnchorOrTheIssuerAreRead(t *testing.T) {
	f := newFake(t, "testdata/cert-manager.yaml")
	f.release("linkerd-2.18")
	s := f.survey(Options{})
	require.Len(t, s.Installations, 1)
	got := s.Installations[0].Certificates
	require.Len(t, got, 2)
	anchor, issuer := got[0], got[1]
	require.NotNil(t, anchor.Anchor)
	assert.Equal(t, "root", anchor.Anchor.Subject())
	assert.Equal(t, "Certificate cert-manager/linkerd-trust-anchor", anchor.Object.String())
	assert.Equal(t, []string{"linkerd-trust-anchor", "Issuer", "linkerd-trust-root-issuer", "Always", ""},
		[]string{anchor.Secret, anchor.IssuerKind, anchor.IssuerName, anchor.RotationPolicy, anchor.RenewalPolicy})
	assert.Equal(t, []time.Duration{8760 * time.Hour, 7320 * time.Hour}, []time.Duration{anchor.Duration, anchor.RenewBefore})
	assert.Equal(t, "2027-01-19", anchor.RenewalTime.Format(time.DateOnly))
	assert.True(t, anchor.Renews() && anchor.NewKey() && anchor.IsCA && !anchor.Issuer)
	assert.True(t, issuer.Issuer && issuer.Anchor == nil)
	for _, r := range f.requests {
		assert.NotContains(t, r, "secrets/linkerd-trust-anchor", "it holds a key that nothing here needs")
	}
}

func TestWithoutCertManagerNothingIsMissed(t *testing.T) {
	f := newFake(t)
	f.release("linkerd-2.18")
	s := f.survey(Options{})
	assert.Empty(t, s.Unknowns)
	for _, r := range f.requests {
		assert.NotContains(t, r, "/certificates", "what is not served is not asked for")
	}
}

func TestCertificatesThatMayNotBeReadAreMissedWhereTheyMatter(t *testing.T) {
	for _, owned := range []bool{false, true} {
		f := newFake(t, "testdata/cert-manager.yaml")
		f.release("linkerd-2.18")
		f.fault = func(r *http.Request) (int, string) {
			if strings.HasSuffix(r.URL.Path, "/certificates") {
				return http.StatusForbidden, "no"
			}
			return 0, ""
		}
		if owned {
			meta := f.objects["/api/v1/namespaces/linkerd/secrets/linkerd-identity-issuer"]["metadata"].(map[string]any)
			meta["annotations"] = map[string]any{"cert-manager.io/certificate-name": "linkerd-identity-issuer"}
		}
		s := f.survey(Options{})
		assert.Empty(t, s.Installations[0].Certificates)
		if !owned {
			assert.Empty(t, s.Unknowns)
			continue
		}
		require.Len(t, s.Unknowns, 1)
		assert.Equal(t, mesh.CodeForbidden, s.Unknowns[0].Code)
		assert.Equal(t, "Certificates of cert-manager", s.Unknowns[0].About)
	}
}
