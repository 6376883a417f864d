package health

import (
	"fmt"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
)

// CheckOptions tune a check. The zero value works.
type CheckOptions struct {
	// Outside are targets of Links that are no members, as their credentials
	// show them.
	Outside Outside
	// Namespace is the control plane to judge where a cluster has several; "" is
	// all.
	Namespace string
}

// Check judges a fleet.
func Check(f *mesh.Fleet, at time.Time, o CheckOptions) *Report {
	c := &checker{Judge: NewJudge(at), out: &Report{}}
	twice := f.Twice()
	for _, s := range f.Surveys {
		c.survey = s
		if contains(twice, s) {
			c.add(bundle.LevelWarning, CodeClusterTwice, s.Name, "leave one of the contexts out", "this cluster is in the fleet under another name already; it is judged once")
			continue
		}
		c.cluster(o)
	}
	c.survey = nil
	c.out.Links = c.Links(f, o.Outside, 0)
	c.links(f)
	c.out.sort(f)
	return c.out
}

func contains(list []*mesh.Survey, s *mesh.Survey) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// checker is a check in the making, at one cluster at a time.
type checker struct {
	*Judge
	survey *mesh.Survey
	out    *Report
}

func (c *checker) add(level bundle.Level, code bundle.Code, subject, hint, format string, args ...any) {
	f := Finding{Finding: bundle.Finding{Level: level, Code: code, Subject: subject, Hint: hint, Message: fmt.Sprintf(format, args...)}}
	if c.survey != nil {
		f.Cluster = c.survey.Name
	}
	c.out.Findings = append(c.out.Findings, f)
}

func (c *checker) cluster(o CheckOptions) {
	for _, u := range c.survey.Unknowns {
		c.unknown(u, o)
	}
	for _, i := range c.survey.Installations {
		if o.Namespace != "" && i.Namespace != o.Namespace {
			continue
		}
		for _, u := range i.Unknowns {
			c.unknown(u, o)
		}
		if i.IdentityDisabled {
			continue // there is nothing to judge, and that is said
		}
		c.stored(i)
		c.peers(i)
	}
}

// hints for what could not be seen.
var unknownHints = map[mesh.Code]string{
	mesh.CodeForbidden:    "give the account the right to read it; `windlass survey` names all that is missing",
	mesh.CodeUnauthorized: "log in again, or see the user of this context: `kubectl auth whoami`",
	mesh.CodeUnreachable:  "see the server of this context: `kubectl cluster-info`",
	mesh.CodeTimeout:      "see whether the API server is well: `kubectl get --raw /readyz`; --timeout waits longer",
	mesh.CodeThrottled:    "the API server is busy: try again later",
	mesh.CodeServerError:  "see whether the API server is well: `kubectl get --raw /readyz`",
	mesh.CodeNoLinkerd:    "leave its --context out, or install Linkerd",
	mesh.CodeMissingCopy:  "put it back: `linkerd upgrade`, the Helm release, or trust-manager's Bundle makes it",
	mesh.CodeIdentityOff:  "without identity there is no mutual TLS; turn it on with `linkerd upgrade`",
	mesh.CodeNoPlane:      "restart these pods, or take their proxies out: nobody issues certificates to them",
	mesh.CodeUnexplained:  "add the cluster that uses it as a --context, or delete it",
	mesh.CodeUnreadable:   "`windlass bundle lint` shows what is wrong with a text",
}

// unknown makes a finding of what could not be seen. What the verdict rests on
// is an error; the rest a warning.
func (c *checker) unknown(u mesh.Unknown, o CheckOptions) {
	level := bundle.LevelError
	switch u.Code {
	case mesh.CodeDisagreement:
		return // judged by what differs, see stored
	case mesh.CodeTwoInstalls:
		if o.Namespace != "" {
			return
		}
		level = bundle.LevelInfo
	case mesh.CodeUnexplained:
		level = bundle.LevelWarning
	case mesh.CodeNotObserved, mesh.CodeOutside, mesh.CodeInterrupted, mesh.CodeNotRunning, mesh.CodeHandshake, mesh.CodeAddress:
		level = bundle.LevelWarning
	case mesh.CodeForbidden, mesh.CodeNotFound:
		if !essential(u.About) {
			level = bundle.LevelWarning
		}
	}
	c.add(level, bundle.Code(u.Code), u.About, unknownHints[u.Code], "%s", strings.TrimPrefix(u.Reason, u.About+": "))
}

// essential reports whether no verdict can be reached without something: the
// pods, the control planes, and what these trust and sign with.
func essential(about string) bool {
	for _, s := range []string{"meshed pods", "control planes", "linkerd-config", "linkerd-identity-trust-roots", "linkerd-identity-issuer", "ExternalWorkloads", "Links"} {
		if strings.HasSuffix(about, s) {
			return true
		}
	}
	return false
}

// links makes findings of the verdicts on Links.
func (c *checker) links(f *mesh.Fleet) {
	for i := range c.out.Links {
		r := &c.out.Links[i]
		for _, s := range f.Surveys {
			if s.Name == r.Cluster {
				c.survey = s
			}
		}
		subject := "Link " + r.Namespace + "/" + r.Name
		hint := "`windlass link check` says more"
		if len(r.Hints) > 0 {
			hint = r.Hints[0]
		}
		switch r.Verdict {
		case Broken:
			c.add(bundle.LevelError, CodeLinkBroken, subject, hint, "%s", r.why())
		case Unknown:
			c.add(bundle.LevelError, CodeLinkUnknown, subject, hint, "%s", r.why())
		case Expiring:
			c.add(bundle.LevelWarning, CodeLinkExpiring, subject, hint, "sound until %s, no longer", r.Until)
		}
		if r.OnlyExpired {
			c.add(bundle.LevelWarning, CodeLinkOnlyExpired, subject, r.Hints[len(r.Hints)-1], "it works by anchors that have expired only")
		}
		if !r.End.IsZero() && r.Via != ViaMember { // members' issuers are noted themselves
			c.out.Endings = append(c.out.Endings, Ending{Cluster: r.Cluster, What: subject, At: r.End})
		}
	}
	for _, s := range f.Surveys {
		c.survey = s
		for _, l := range s.Links {
			c.credentials(l)
		}
		c.strangers(f, s)
	}
}

// strangers names what lets in clusters that are not in the fleet.
func (c *checker) strangers(f *mesh.Fleet, s *mesh.Survey) {
	const hint = "add the cluster that uses it as a --context; it trusts, and is trusted by, this one"
	for _, r := range f.Unexplained(s) {
		used := "when it was last used is not known"
		if !r.LastUsed.IsZero() {
			used = "last used on " + r.LastUsed.Format(time.DateOnly)
		}
		c.add(bundle.LevelWarning, bundle.Code(mesh.CodeUnexplained), r.Secret.String(), hint, "a token for Links of other clusters that no Link of the fleet uses (%s)", used)
	}
	for _, g := range f.UnexplainedGateways(s) {
		c.add(bundle.LevelInfo, bundle.Code(mesh.CodeUnexplained), g.Object.String(), hint, "a gateway that no Link of the fleet leads to")
	}
}

// why words the first direction that is not proved.
func (r *LinkReport) why() string {
	to, from := r.ToTarget, r.FromTarget
	switch {
	case to.Known && !to.OK, !from.Known && !to.OK && from.OK:
		return to.Reason
	case from.Known && !from.OK:
		return from.Reason
	case !to.OK:
		return to.Reason
	}
	return from.Reason
}

func (c *checker) credentials(l *mesh.Link) {
	const hint = "`linkerd multicluster link-gen` makes new credentials"
	for _, cr := range l.Credentials {
		switch {
		case cr.Refused != nil:
			c.add(bundle.LevelWarning, CodeLinkCredentials, cr.Secret.String(), hint, "%v", cr.Refused)
		case cr.TargetErr != nil:
			c.add(bundle.LevelWarning, CodeLinkCredentials, cr.Secret.String(), hint, "they do not work: %v", cr.TargetErr)
		case !cr.TokenExpires.IsZero() && cr.TokenExpires.Before(c.at):
			c.add(bundle.LevelError, CodeLinkCredentials, cr.Secret.String(), hint, "their token expired %s", stamp(cr.TokenExpires))
		}
		if !cr.TokenExpires.IsZero() {
			c.out.Endings = append(c.out.Endings, Ending{Cluster: c.survey.Name, What: "token in " + cr.Secret.String(), At: cr.TokenExpires})
		}
	}
}
