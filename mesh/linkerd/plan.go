package linkerd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
)

var (
	// ErrEmptyBundle: a bundle is never written empty.
	ErrEmptyBundle = errors.New("an empty bundle is never written")
	// ErrUnreadable: one of Linkerd's readers would not take all of what is to be
	// written.
	ErrUnreadable = errors.New("not readable as a whole")
	// ErrRefused: the plan has refusals.
	ErrRefused = errors.New("refused")
	// ErrOwned: a reconciler would put back what was there.
	ErrOwned = errors.New("owned by a reconciler")
)

// Plan is what a change takes in one control plane. It is made from a survey
// alone; nothing is read or written for it.
type Plan struct {
	Namespace string
	// Writes in the order in which they are made: first what a next upgrade
	// would apply, so that one in between carries the change forward instead of
	// back, then what counts now.
	Writes []Write
	// Refusals are why the change cannot be made. Apply wants none.
	Refusals []Refusal
	// Commit is what has to be put where the owner keeps its values, before it
	// next upgrades.
	Commit []Values
}

// Write is one object to be changed.
type Write struct {
	Object mesh.ObjectRef // as it was seen
	Store  string
	// Restarts is true where the change by itself makes pods be replaced: it is
	// in the template of a workload.
	Restarts bool

	edit   layout.Edit
	issuer *IssuerPair
	scheme string
	olds   []string // texts that a workload may hold
	expiry string
}

// String names the object and nothing of what is to be written: that may be a
// private key.
func (w Write) String() string { return w.Object.String() + " (" + w.Store + ")" }

// GoString is String.
func (w Write) GoString() string { return w.String() }

// Refusal is an object that cannot be changed, and why.
type Refusal struct {
	Object string
	Owner  *mesh.Owner // nil where no owner is the reason
	Reason string
}

// Values is a piece of YAML that an owner has to take over.
type Values struct {
	Tool mesh.Tool
	Name string // the owner's own name, such as a Helm release
	YAML string
	// NeedsKey is true where the issuer's private key belongs to it as well. It is
	// left out: it must come from where the key is kept.
	NeedsKey bool
}

func (p *Plan) refuse(object string, owner *mesh.Owner, format string, args ...any) {
	p.Refusals = append(p.Refusals, Refusal{object, owner, fmt.Sprintf(format, args...)})
}

// Err returns an error that wraps ErrRefused, and ErrOwned where an owner is the
// reason, if the plan has refusals.
func (p *Plan) Err() error {
	if len(p.Refusals) == 0 {
		return nil
	}
	r := p.Refusals[0]
	err := fmt.Errorf("%w: %s: %s", ErrRefused, r.Object, r.Reason)
	if r.Owner != nil {
		err = fmt.Errorf("%w: %w: %s: %s", ErrRefused, ErrOwned, r.Object, r.Reason)
	}
	if n := len(p.Refusals); n > 1 {
		err = fmt.Errorf("%w (and %d more)", err, n-1)
	}
	return err
}

// writeOrder is described at Plan.Writes.
var writeOrder = []layout.Store{
	layout.StoreOverrides, layout.StoreLinkerdConfig, layout.StoreIssuer, layout.StoreTrustRoots,
	layout.StoreIdentityFlag, layout.StoreIdentityEnv, layout.StoreProxyEnv,
}

func (p *Plan) sort() {
	slices.SortStableFunc(p.Writes, func(a, b Write) int {
		return slices.Index(writeOrder, layout.Store(a.Store)) - slices.Index(writeOrder, layout.Store(b.Store))
	})
}

// unseen refuses where a copy could not be read: it would be left behind.
func (p *Plan) unseen(inst *mesh.Installation, issuer bool) {
	for _, u := range inst.Unknowns {
		isIssuer := strings.HasSuffix(u.About, "/"+issuerName)
		if u.Err != nil && (issuer || !isIssuer) {
			p.refuse(u.About, nil, "it could not be read (%s), and would be left behind", u.Reason)
		}
	}
	if inst.IdentityDisabled {
		p.refuse("control plane "+inst.Namespace, nil, "identity is turned off")
	}
}

func (p *Plan) owned(object mesh.ObjectRef, owners []mesh.Owner) bool {
	o := mesh.ActiveOwner(owners)
	if o == nil {
		return false
	}
	p.refuse(object.String(), o, "%s would put back what was there (%s): change its source instead%s", o.Tool, o.Why, named(o.Name))
	return true
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return ", " + name
}

// PlanBundle plans to write a bundle into every copy of a control plane's
// anchors. Copies that hold these certificates already are left alone.
func PlanBundle(inst *mesh.Installation, b *bundle.Bundle) (*Plan, error) {
	if b.Len() == 0 {
		return nil, ErrEmptyBundle
	}
	text := b.Marshal()
	if err := readable(text, b.Len(), inst.Release); err != nil {
		return nil, err
	}
	p := &Plan{Namespace: inst.Namespace}
	p.unseen(inst, false)
	counts := false
	workloads := map[string]bool{} // by UID
	for i := range inst.Copies {
		c := &inst.Copies[i]
		counts = counts || c.For(mesh.NewPods)
		if c.Trust == nil && inst.ExternalCA && layout.Store(c.Store) != layout.StoreTrustRoots {
			continue // empty by design, and nothing reads it
		}
		if workloads[c.Object.UID] || holds(c, b) || p.owned(c.Object, c.Owners) {
			continue
		}
		w := Write{Object: c.Object, Store: c.Store, edit: layout.Edit{Anchors: string(text)}, scheme: inst.Scheme}
		if c.Container != "" {
			w.Restarts, w.olds = true, textsOf(inst, c.Object.UID)
			workloads[c.Object.UID] = true
		}
		p.Writes = append(p.Writes, w)
	}
	if !counts {
		p.refuse("ConfigMap "+inst.Namespace+"/"+rootsName, nil, "the place that new pods get their anchors from is not there")
	}
	p.sort()
	if !inst.ExternalCA {
		p.commit(inst, layout.Edit{Anchors: string(text)}, false)
	}
	return p, nil
}

// textsOf returns the texts that the containers of one workload hold.
func textsOf(inst *mesh.Installation, uid string) (texts []string) {
	for i := range inst.Copies {
		if c := &inst.Copies[i]; c.Object.UID == uid && c.Trust != nil {
			texts = append(texts, c.Trust.PEM)
		}
	}
	return texts
}

// readable holds a text against every reader that it will meet.
func readable(text []byte, want int, version string) error {
	rules := mesh.RulesOf(version)
	r := bundle.ReadAs(text, bundle.Identity, rules[0])
	switch {
	case r.Err != nil:
		return fmt.Errorf("%w: linkerd-identity: %w", ErrUnreadable, r.Err)
	case len(r.Certificates) != want:
		return fmt.Errorf("%w: linkerd-identity takes %d of %d certificates", ErrUnreadable, len(r.Certificates), want)
	}
	for _, release := range rules {
		if r := bundle.ReadAs(text, bundle.Proxy, release); r.Err != nil {
			return fmt.Errorf("%w: proxies of Linkerd %s: %w", ErrUnreadable, release, r.Err)
		}
	}
	return nil
}

// holds reports whether a copy holds just these certificates, in a text that
// its readers take.
func holds(c *mesh.Copy, b *bundle.Bundle) bool {
	if c.Trust == nil || c.Trust.Err != nil {
		return false
	}
	have, err := bundle.Parse([]byte(c.Trust.PEM))
	return err == nil && have.Equal(b)
}

// commit says what a passive owner has to take over. A command-line install has
// its values in the cluster, and they are written like the other copies.
func (p *Plan) commit(inst *mesh.Installation, e layout.Edit, needsKey bool) {
	if len(p.Writes) == 0 || inst.Installer.Tool != mesh.ToolHelm && hasOverrides(inst) {
		return
	}
	yaml, err := layout.EditValues("", e)
	if err != nil {
		return // the same text was accepted for the copies
	}
	if inst.Layout != layout.LayoutValuesFlat.String() && e.Anchors != "" {
		yaml = "global:\n" + indent(yaml)
	}
	p.Commit = append(p.Commit, Values{Tool: inst.Installer.Tool, Name: inst.Installer.Name, YAML: yaml, NeedsKey: needsKey})
}

func indent(text string) string {
	return "  " + strings.TrimSuffix(strings.ReplaceAll(text, "\n", "\n  "), "  ")
}

func hasOverrides(inst *mesh.Installation) bool {
	return slices.ContainsFunc(inst.Copies, func(c mesh.Copy) bool { return c.Store == string(layout.StoreOverrides) })
}

// IssuerPair is an issuer to be stored: PEM, the chain with the issuer first,
// and its private key. CAPEM is what ca.crt shall say, in the scheme that has
// one; "" leaves it.
type IssuerPair struct{ ChainPEM, KeyPEM, CAPEM string }

// String keeps the key out of every message.
func (IssuerPair) String() string { return "issuer pair" }

// GoString is String.
func (IssuerPair) GoString() string { return "issuer pair" }

// PlanIssuer plans to store an issuer, in every copy. Whether those who will
// meet its leaves trust it is for the caller to have proved.
func PlanIssuer(inst *mesh.Installation, pair IssuerPair) (*Plan, error) {
	chain, err := bundle.ReadIssuer([]byte(pair.ChainPEM))
	if err != nil {
		return nil, fmt.Errorf("%w: the issuer's chain: %w", ErrUnreadable, err)
	}
	if _, err := tls.X509KeyPair([]byte(pair.ChainPEM), []byte(pair.KeyPEM)); err != nil {
		return nil, fmt.Errorf("%w: the issuer's key: %w", ErrUnreadable, err)
	}
	_, expiry := chain[0].Validity()
	p := &Plan{Namespace: inst.Namespace}
	p.unseen(inst, true)
	if inst.Issuer == nil {
		p.refuse("Secret "+inst.Namespace+"/"+issuerName, nil, "it could not be read")
		return p, nil
	}
	if !p.owned(inst.Issuer.Object, inst.Issuer.Owners) {
		p.Writes = append(p.Writes, Write{Object: inst.Issuer.Object, Store: string(layout.StoreIssuer), issuer: &pair,
			scheme: inst.Issuer.Scheme, expiry: expiry.UTC().Format("2006-01-02T15:04:05Z")})
	}
	if inst.Issuer.Scheme == layout.SchemeLinkerd {
		p.issuerCopies(inst, pair)
		p.commit(inst, layout.Edit{IssuerCrt: pair.ChainPEM}, true)
	}
	p.sort()
	return p, nil
}

// issuerCopies adds what else holds the issuer where the chart makes its Secret.
func (p *Plan) issuerCopies(inst *mesh.Installation, pair IssuerPair) {
	for i := range inst.Copies {
		c := &inst.Copies[i]
		edit := layout.Edit{IssuerCrt: pair.ChainPEM}
		switch layout.Store(c.Store) {
		case layout.StoreOverrides:
			edit.IssuerKey = pair.KeyPEM
		case layout.StoreLinkerdConfig:
			if inst.Layout == layout.LayoutGlobal.String() {
				continue // holds none
			}
		default:
			continue
		}
		if !p.owned(c.Object, c.Owners) {
			p.Writes = append(p.Writes, Write{Object: c.Object, Store: c.Store, edit: edit})
		}
	}
}
