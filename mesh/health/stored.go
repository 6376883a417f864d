package health

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
)

// stored judges what is stored: every copy of the anchors, and the issuer.
func (c *checker) stored(i *mesh.Installation) {
	c.copies(i)
	used := c.issuer(i)
	for _, copies := range texts(i) {
		c.text(i, copies, used)
	}
}

// texts groups the copies by what they hold.
func texts(i *mesh.Installation) (out [][]*mesh.Copy) {
	for n := range i.Copies {
		cp := &i.Copies[n]
		if cp.Trust == nil {
			continue
		}
		at := slices.IndexFunc(out, func(g []*mesh.Copy) bool { return g[0].Trust.PEM == cp.Trust.PEM })
		if at < 0 {
			at = len(out)
			out = append(out, nil)
		}
		out[at] = append(out[at], cp)
	}
	return out
}

// usesText says for people what copies count for.
var usesText = map[mesh.Use]string{
	mesh.NewPods: "new pods", mesh.IdentityRoots: "linkerd-identity", mesh.ControlPlane: "the control plane's proxies",
	mesh.NextUpgrade: "the next upgrade", mesh.ManualInjection: "manual injection",
}

// copies compares every copy with the one that new pods are given: as sets of
// certificates, whatever the order, wording and number of times.
func (c *checker) copies(i *mesh.Installation) {
	counts := i.CopiesFor(mesh.NewPods)
	if len(counts) == 0 || counts[0].Trust == nil {
		c.add(bundle.LevelError, CodeNoAnchors, "control plane "+i.Namespace, "put the anchors in place: `windlass bundle merge` makes the text",
			"no anchors are stored for new pods: they do not start")
		return
	}
	first := counts[0]
	for n := range i.Copies {
		cp := &i.Copies[n]
		if cp == first || cp.Trust == nil && i.ExternalCA || same(cp.Trust, first.Trust) {
			continue
		}
		level, hint := bundle.LevelWarning, "`windlass survey` shows what each holds; write one text to all: `windlass bundle merge`"
		switch {
		case len(cp.Uses) == 0, len(cp.Uses) == 1 && cp.For(mesh.ManualInjection):
			level = bundle.LevelInfo // what counts is elsewhere from 2.11 on
		case cp.For(mesh.NextUpgrade):
			hint = "put the anchors of " + first.Object.String() + " into the values too, before anybody upgrades"
		}
		uses := make([]string, len(cp.Uses))
		for n, u := range cp.Uses {
			uses[n] = usesText[u]
		}
		what := "holds no anchors, unlike"
		if cp.Trust != nil {
			what = fmt.Sprintf("holds other anchors (%s) than", difference(cp.Trust, first.Trust))
		}
		c.add(level, bundle.CodeCopiesDisagree, cp.Object.String(), hint, "%s counts for %s and %s %s", cp.Field, orNothing(uses), what, first.Object)
	}
}

func orNothing(uses []string) string {
	if len(uses) == 0 {
		return "nothing"
	}
	return strings.Join(uses, ", ")
}

// same reports whether two texts hold the same certificates.
func same(a, b *mesh.TrustSet) bool {
	if a == nil || b == nil {
		return a == b
	}
	return (a.Err == nil) == (b.Err == nil) && bundle.New(a.Anchors...).Equal(bundle.New(b.Anchors...))
}

func difference(a, b *mesh.TrustSet) string {
	more, less := bundle.New(a.Anchors...).Diff(bundle.New(b.Anchors...))
	var out []string
	for _, x := range more {
		out = append(out, "with "+x.String())
	}
	for _, x := range less {
		out = append(out, "without "+x.String())
	}
	if len(out) > 4 {
		out = append(out[:3], fmt.Sprintf("and %d more", len(out)-3))
	}
	if len(out) == 0 {
		return "one of both is not readable"
	}
	return strings.Join(out, ", ")
}

// issuer judges the stored issuer as linkerd-identity would when it starts, and
// returns the anchors that its chain leads to.
func (c *checker) issuer(i *mesh.Installation) (used map[bundle.AnchorID]bool) {
	used = map[bundle.AnchorID]bool{}
	is := i.Issuer
	if is == nil {
		return used // why stands among the unknowns
	}
	subject := is.Object.String()
	if is.Err != nil || len(is.Chain) == 0 {
		c.add(bundle.LevelError, CodeIssuerUnreadable, subject, "`windlass issuer create` makes a new one", "linkerd-identity does not take %s: %v", is.CertKey, is.Err)
		return used
	}
	if !is.HasKey {
		c.add(bundle.LevelError, CodeIssuerWithoutKey, subject, "put the key in place, or make a new issuer: `windlass issuer create`", "the private key is not there: linkerd-identity does not start")
	}
	if is.Scheme != i.Scheme && i.Scheme != "" {
		c.add(bundle.LevelWarning, bundle.CodeSourceNote, subject, "make both agree with `linkerd upgrade` or the Helm values",
			"it is of scheme %s, and linkerd-config says %s", is.Scheme, i.Scheme)
	}
	lifetime := i.IssuanceLifetime + i.ClockSkew
	for _, f := range bundle.LintBundle(bundle.New(), [][]*bundle.Certificate{is.Chain}, bundle.LintOptions{Now: c.at, LeafLifetime: lifetime}) {
		switch f.Code {
		case bundle.CodeEmpty, bundle.CodeExpiresSoon: // about the bundle; and see endings
			continue
		case bundle.CodeChainShortensLeaves:
			f.Hint = "renew it: `windlass issuer create` makes an issuer, `windlass root cross-sign` a cross-signed root"
		case bundle.CodeExpired:
			f.Hint = "`windlass issuer create` makes a new issuer"
		}
		c.add(f.Level, f.Code, subject+": "+f.Subject, f.Hint, "%s", f.Message)
	}
	c.ends(i, is)
	for _, cp := range i.CopiesFor(mesh.IdentityRoots) {
		if cp.Trust == nil {
			continue
		}
		v := bundle.Verify(bundle.Query{Issuer: is.Chain, Anchors: bundle.ReadAs([]byte(cp.Trust.PEM), bundle.Identity, mesh.RulesOf(i.Release)[0]).Certificates, Rules: bundle.Identity, At: c.at})
		if !v.OK {
			c.add(bundle.LevelError, CodeIssuerUntrusted, subject, "`windlass bundle verify --rules identity` tries a bundle before it is put in place; `windlass issuer create` makes an issuer under a root that is trusted",
				"linkerd-identity does not start with it under the anchors in %s: %s", cp.Object, v.Reason)
			continue
		}
		root := v.Path[len(v.Path)-1]
		used[root.AnchorID()] = true
		_, rootEnd := root.Validity()
		if _, end := is.Chain[0].Validity(); rootEnd.Before(end) && root.AnchorID() != is.Chain[0].AnchorID() {
			c.add(bundle.LevelWarning, CodeIssuerOutlives, subject, "`windlass root reissue` gives the root a later end under the same key",
				"its anchor %s ends on %s, before it does: linkerd-identity refuses to sign from then on", root, stamp(rootEnd))
		}
		c.out.Endings = append(c.out.Endings, Ending{Cluster: c.survey.Name, What: "anchor " + root.String(), At: rootEnd})
		c.expiresSoon(root, "anchor", cp.Object.String(), "begin the rotation to a new one: `windlass root create`, or `windlass root reissue` with the same key", false)
	}
	if !c.unattended(i, is) {
		c.renewals(i)
	}
	return used
}

// ends notes when the issuer and what stands above it end.
func (c *checker) ends(i *mesh.Installation, is *mesh.Issuer) {
	renewed := mesh.ActiveOwner(is.Owners) != nil && mesh.ActiveOwner(is.Owners).Tool == mesh.ToolCertManager
	for n, cert := range is.Chain {
		role := "issuer"
		if n > 0 {
			role = "certificate above the issuer"
		}
		_, end := cert.Validity()
		c.out.Endings = append(c.out.Endings, Ending{
			Cluster: c.survey.Name, What: role + " " + cert.String(), At: end, Renewed: renewed && n == 0 && !soon(cert, c.at)})
		c.expiresSoon(cert, role, is.Object.String(), "`windlass issuer create` makes a new issuer", renewed)
	}
}

func (c *checker) expiresSoon(cert *bundle.Certificate, role, subject, hint string, renewed bool) {
	_, end := cert.Validity()
	if end.Before(c.at) || !soon(cert, c.at) {
		return
	}
	late := ""
	if renewed {
		late = "; cert-manager should have renewed it by now"
	}
	c.add(bundle.LevelWarning, bundle.CodeExpiresSoon, subject, hint, "the %s %s ends %s%s", role, cert, stamp(end), late)
}

// unattended warns of an issuer that something renews by itself and that is its
// own anchor: its renewal is a rotation of the anchor that nobody prepared. It
// reports whether there is one.
func (c *checker) unattended(i *mesh.Installation, is *mesh.Issuer) bool {
	owner := mesh.ActiveOwner(is.Owners)
	if owner == nil || owner.Tool != mesh.ToolCertManager {
		return false
	}
	for _, cp := range i.CopiesFor(mesh.IdentityRoots) {
		if cp.Trust == nil {
			continue
		}
		for _, a := range cp.Trust.Anchors {
			if a.Fingerprint() == is.Chain[0].Fingerprint() || is.Chain[0].SelfSigned() && bytes.Equal(a.RawSubject(), is.Chain[0].RawSubject()) {
				c.add(bundle.LevelError, CodeUnattendedRotation, is.Object.String(),
					"have cert-manager sign an issuer below a root that it does not renew: `windlass root create`",
					"cert-manager (%s) renews it by itself, and it is its own trust anchor: with the renewal no pod trusts what is signed", ownerName(owner))
				return true
			}
		}
	}
	return false
}

// renewals warns of anchors that cert-manager renews by itself, with a new key:
// the issuer below is signed by the new one at its own next renewal, and what
// runs by then trusts the old one.
func (c *checker) renewals(i *mesh.Installation) {
	for n := range i.Certificates {
		m := &i.Certificates[n]
		if m.Anchor == nil || !m.IsCA || !m.Renews() || !m.NewKey() {
			continue
		}
		level, when := bundle.LevelWarning, "when it is due"
		if !m.RenewalTime.IsZero() {
			when = "on " + stamp(m.RenewalTime)
			if m.RenewalTime.Before(c.at.Add(renewalNear)) {
				level = bundle.LevelError
			}
		}
		key := "with a new key"
		if m.RotationPolicy == "" {
			key = "with a new key (from cert-manager 1.18 on, as rotationPolicy is not set)"
		}
		c.add(level, CodeUnattendedRotation, m.Object.String(),
			"set spec.renewal.policy: Disabled (cert-manager 1.21), or a renewBefore that leaves you time, and rotate step by step: the new anchor into every bundle first, then restarts, then the issuer",
			"cert-manager renews the anchor %s by itself %s, %s: the next issuer is signed by an anchor that running proxies and linkerd-identity do not trust", m.Anchor, when, key)
	}
}

// renewalNear is how long before the unattended renewal of an anchor it is an
// error: less than it takes to restart everything.
const renewalNear = 30 * 24 * time.Hour

func ownerName(o *mesh.Owner) string {
	if o.Name != "" {
		return "Certificate " + o.Name
	}
	return o.Why
}

// text judges a text as its readers would, and the anchors in it. What no chain
// needs is not an error because of its dates.
func (c *checker) text(i *mesh.Installation, copies []*mesh.Copy, used map[bundle.AnchorID]bool) {
	subject := copies[0].Object.String()
	idle := !slices.ContainsFunc(copies, func(cp *mesh.Copy) bool {
		return len(cp.Uses) > 0 && !(len(cp.Uses) == 1 && cp.For(mesh.ManualInjection))
	})
	src, err := bundle.ReadSource(subject, []byte(copies[0].Trust.PEM))
	if err != nil {
		c.add(bundle.LevelError, bundle.CodeBrokenBlock, subject, "", "%v", err)
		return
	}
	for _, f := range bundle.Lint(src, bundle.LintOptions{Now: c.at}) {
		switch f.Code {
		case bundle.CodeTrustScope, bundle.CodeExpired, bundle.CodeExpiresSoon, bundle.CodeChainShortensLeaves:
			continue // the dates of anchors are judged by who needs them
		}
		if f.Subject != "" && f.Subject != subject {
			f.Message = f.Subject + ": " + f.Message
		}
		level := f.Level
		if idle && level == bundle.LevelError {
			level = bundle.LevelWarning
		}
		c.add(level, f.Code, subject, f.Hint, "%s", f.Message)
	}
	for _, a := range copies[0].Trust.Anchors {
		if _, end := a.Validity(); end.Before(c.at) && !used[a.AnchorID()] && !idle {
			c.add(bundle.LevelWarning, CodeExpiredTrusted, subject, "take it out once no chain leads to it; no proxy has to restart for that at once",
				"the anchor %s expired on %s and no issuer needs it, but every proxy that was given it trusts its key", a, stamp(end))
		}
	}
	if n := len(copies[0].Trust.PEM); n > bundle.MaxEnvBytes*8/10 && n <= bundle.MaxEnvBytes {
		c.add(bundle.LevelWarning, bundle.CodeTooLargeForEnv, subject, "drop anchors that no peer needs",
			"%d bytes are more than four fifths of what the environment of a proxy takes (%d)", n, bundle.MaxEnvBytes)
	}
}

// Agrees reports whether a copy holds the certificates that new pods are given,
// in whatever order and wording, or is empty because the anchors are managed
// from outside.
func Agrees(i *mesh.Installation, cp *mesh.Copy) bool {
	counts := i.CopiesFor(mesh.NewPods)
	return len(counts) == 0 || cp.Trust == nil && i.ExternalCA || same(cp.Trust, counts[0].Trust)
}

// SigningAnchors returns the anchors that the stored issuer leads to under any
// of the copies, by the rules of the proxies.
func SigningAnchors(i *mesh.Installation, at time.Time) (out []*bundle.Certificate) {
	if i.Issuer == nil || len(i.Issuer.Chain) == 0 {
		return nil
	}
	j := NewJudge(at)
	for n := range i.Copies {
		if t := i.Copies[n].Trust; t != nil {
			if a := j.Verifies(SignedBy(i.Issuer.Chain), t, i.Release); a.OK {
				out = append(out, a.Anchor)
			}
		}
	}
	return out
}
