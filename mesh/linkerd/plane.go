package linkerd

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/internal/wire"
)

// plane is a control plane in the making.
type plane struct {
	*mesh.Installation
	config    *layout.Config // nil where linkerd-config does not parse
	hasRoots  bool           // the ConfigMap of 2.11 and later is there
	rootsLost bool           // whether it is there could not be learned
	overrides bool
	// since is when the ConfigMap of the trust roots was made, where its text was
	// never changed and none was there before; zero otherwise. Whatever takes its
	// anchors from there, in a pod that is no older, can only have taken that text.
	since   time.Time
	created time.Time // of linkerd-config
}

func (p *plane) know(code mesh.Code, about, reason string, err error) {
	p.Unknowns = append(p.Unknowns, mesh.Unknown{Code: code, About: about, Reason: reason, Err: err})
}

// readPlane reads what stands in one control plane's namespace.
func (s *survey) readPlane(cm configMap) *plane {
	ns := cm.Metadata.Namespace
	p := &plane{Installation: &mesh.Installation{Namespace: ns}, created: cm.Metadata.CreationTimestamp}
	if c, err := layout.LinkerdConfig(cm.Data); err != nil {
		p.know(mesh.CodeUnreadable, "ConfigMap "+ns+"/"+configName, err.Error(), err)
	} else {
		p.config = &c
		s.fromConfig(p, cm, c)
	}
	s.readRoots(p)
	s.readOverrides(p)
	s.readIssuer(p)
	p.Installer = installerOf(ownersOf(cm.Metadata, "data"), p.overrides)
	return p
}

// fromConfig takes over what linkerd-config says.
func (s *survey) fromConfig(p *plane, cm configMap, c layout.Config) {
	p.Release, p.Layout, p.TrustDomain, p.ClusterDomain = c.LinkerdVersion, c.Layout.String(), c.TrustDomain, c.ClusterDomain
	p.Scheme, p.ExternalCA, p.IdentityDisabled = c.Scheme, c.ExternalCA, c.IdentityDisabled
	p.IssuanceLifetime = p.duration("issuanceLifetime", c.IssuanceLifetime)
	p.ClockSkew = p.duration("clockSkewAllowance", c.ClockSkewAllowance)
	if c.IdentityDisabled {
		p.know(mesh.CodeIdentityOff, "identity", "the control plane runs with identity turned off: its proxies have no certificates", nil)
	}
	key, field := "values", "identityTrustAnchorsPEM"
	switch c.Layout {
	case layout.LayoutGlobal:
		key, field = "global", "identityContext.trustAnchorsPem"
	case layout.LayoutValuesNested:
		field = "global.identityTrustAnchorsPEM"
	}
	s.addCopy(p, copyOf(cm.Object, "ConfigMap", string(layout.StoreLinkerdConfig), `data["`+key+`"].`+field, "data", key), c.TrustAnchorsPEM)
}

func (p *plane) duration(name, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		if !p.IdentityDisabled {
			p.know(mesh.CodeUnreadable, name, fmt.Sprintf("ConfigMap %s/%s says %q, which is no duration: how long leaves live is not known", p.Namespace, configName, text), nil)
		}
		return 0
	}
	return d
}

// copyOf describes a place; its path is the field that managers are asked about.
func copyOf(o mesh.Object, kind, store, field string, path ...string) mesh.Copy {
	changed, _ := o.Metadata.ChangedAt(path...)
	return mesh.Copy{Object: o.Metadata.Ref(kind), Store: store, Field: field, ChangedAt: changed, Owners: ownersOf(o.Metadata, path...)}
}

func (s *survey) addCopy(p *plane, c mesh.Copy, pem string) {
	if strings.TrimSpace(pem) != "" {
		c.Trust = s.texts.TrustSet(pem, p.Release)
	}
	p.Copies = append(p.Copies, c)
}

// together is within what time the objects of one installation are made.
const together = time.Minute

func (s *survey) readRoots(p *plane) {
	var cm configMap
	about := "ConfigMap " + p.Namespace + "/" + rootsName
	switch err := s.c.Get(s.ctx, mesh.ConfigMaps, p.Namespace, rootsName, &cm); {
	case errors.Is(err, mesh.ErrNotFound):
		return // up to 2.10 there is none; later that is a finding, see uses
	case err != nil:
		p.rootsLost = true
		p.know(mesh.CodeOf(err), about, err.Error(), err)
		return
	}
	p.hasRoots = true
	pem, ok := cm.Data[rootsKey]
	path := "data"
	if !ok {
		var b []byte
		if b, ok = cm.BinaryData[rootsKey]; ok {
			pem, path = string(b), "binaryData"
		}
	}
	if !ok {
		p.know(mesh.CodeMissingCopy, about, "it has no key "+rootsKey, nil)
	}
	// What was made later than the rest of its control plane may have been there
	// before, with another text, and a node may have seen that one.
	if m := cm.Metadata; m.Original(path, rootsKey) && !m.CreationTimestamp.After(p.created.Add(together)) {
		p.since = m.CreationTimestamp
	}
	s.addCopy(p, copyOf(cm.Object, "ConfigMap", string(layout.StoreTrustRoots), path+`["`+rootsKey+`"]`, path, rootsKey), pem)
}

func (s *survey) readOverrides(p *plane) {
	var sec secret
	about := "Secret " + p.Namespace + "/" + overridesName
	switch err := s.c.Get(s.ctx, mesh.Secrets, p.Namespace, overridesName, &sec); {
	case errors.Is(err, mesh.ErrNotFound):
		return
	case err != nil:
		p.know(mesh.CodeOf(err), about, err.Error(), err)
		return
	}
	p.overrides = true
	c, err := layout.Values(string(sec.Data[overridesName]))
	if err != nil {
		p.know(mesh.CodeUnreadable, about, err.Error(), err)
	}
	field := `data["` + overridesName + `"].identityTrustAnchorsPEM`
	s.addCopy(p, copyOf(sec.Object, "Secret", string(layout.StoreOverrides), field, "data", overridesName), c.TrustAnchorsPEM)
}

func (s *survey) readIssuer(p *plane) {
	var sec secret
	about := "Secret " + p.Namespace + "/" + issuerName
	if err := s.c.Get(s.ctx, mesh.Secrets, p.Namespace, issuerName, &sec); err != nil {
		if !p.IdentityDisabled || !errors.Is(err, mesh.ErrNotFound) {
			p.know(mesh.CodeOf(err), about, err.Error(), err)
		}
		return
	}
	i, err := layout.IssuerSecret(sec.Data, p.Scheme)
	if err != nil {
		p.know(mesh.CodeUnreadable, about, err.Error(), err)
		return
	}
	changed, _ := sec.Metadata.ChangedAt("data", i.CertKey)
	out := &mesh.Issuer{
		Object: sec.Metadata.Ref("Secret"), Scheme: i.Scheme, CertKey: i.CertKey, PEM: i.ChainPEM, CAPEM: i.CAPEM,
		HasKey: i.HasKey, BothSchemes: i.BothSchemes, ChangedAt: changed, Owners: ownersOf(sec.Metadata, "data", i.CertKey),
	}
	out.Chain, out.Err = bundle.ReadIssuer([]byte(i.ChainPEM))
	p.Issuer = out
}

// finishControlPlanes adds what the workloads and pods of each control plane
// show, and says which copy counts for what.
func (s *survey) finishControlPlanes() {
	for _, i := range s.out.Installations {
		p := s.planes[i.Namespace]
		old := s.literalCopies(p)
		s.identitySettings(p)
		p.uses(old)
	}
}

// literalCopies adds the copies that Deployments of the control plane hold, up
// to 2.10, and reports whether identity has one.
func (s *survey) literalCopies(p *plane) (old bool) {
	for _, t := range s.templates {
		if t.Namespace != p.Namespace || t.PodLabels[labelComponent] == "" {
			continue
		}
		ref := mesh.ObjectRef{Kind: t.kind, Namespace: t.Namespace, Name: t.Name, UID: t.UID, ResourceVersion: t.ResourceVersion}
		add := func(store layout.Store, container, field, pem string, use mesh.Use) {
			c := mesh.Copy{Object: ref, Store: string(store), Container: container, Field: field, Uses: []mesh.Use{use}}
			s.addCopy(p, c, pem)
		}
		for _, c := range t.Containers {
			field := `spec.template.spec.containers["` + c.Name + `"]`
			if c.Init {
				field = `spec.template.spec.initContainers["` + c.Name + `"]`
			}
			switch c.Name {
			case layout.ProxyContainer:
				if e, n := lastEnv(c.Env, layout.ProxyAnchorsEnv); n > 0 && e.Ref == nil {
					add(layout.StoreProxyEnv, c.Name, field+`.env["`+e.Name+`"]`, e.Value, mesh.ControlPlane)
				}
			case identityContainer:
				if text, ok := flagOf(c.Args, flagIdentityRoots); ok {
					old = true
					add(layout.StoreIdentityFlag, c.Name, field+`.args["-`+flagIdentityRoots+`"]`, p.unbase64(text), mesh.IdentityRoots)
				}
				if e, n := lastEnv(c.Env, envIdentityRoots); n > 0 && e.Ref == nil {
					old = true
					add(layout.StoreIdentityEnv, c.Name, field+`.env["`+e.Name+`"]`, p.unbase64(e.Value), mesh.IdentityRoots)
				}
			}
		}
	}
	return old
}

func (p *plane) unbase64(text string) string {
	out, err := layout.DecodeBase64(text)
	if err != nil {
		p.know(mesh.CodeUnreadable, "anchors of linkerd-identity", "not valid base64", err)
	}
	return out
}

// identitySettings takes over what identity's processes were really told: a
// changed configuration changes nothing before they restart.
func (s *survey) identitySettings(p *plane) {
	for i := range s.out.Peers {
		peer := &s.out.Peers[i]
		if peer.Identity == nil || s.raw[i].plane != p.Namespace {
			continue
		}
		p.IssuanceLifetime = max(p.IssuanceLifetime, peer.Identity.IssuanceLifetime)
		p.ClockSkew = max(p.ClockSkew, peer.Identity.ClockSkew)
	}
}

// uses says what each copy counts for; see the package comment.
func (p *plane) uses(old bool) {
	global := p.config != nil && p.config.Layout == layout.LayoutGlobal
	modern := p.hasRoots || p.rootsLost || !old && !global
	for i := range p.Copies {
		c := &p.Copies[i]
		switch layout.Store(c.Store) {
		case layout.StoreLinkerdConfig:
			switch {
			case global:
				c.Uses = []mesh.Use{mesh.NewPods, mesh.IdentityRoots, mesh.NextUpgrade, mesh.ManualInjection}
			case modern:
				c.Uses = []mesh.Use{mesh.ManualInjection}
			default:
				c.Uses = []mesh.Use{mesh.NewPods, mesh.ManualInjection}
			}
		case layout.StoreTrustRoots:
			c.Uses = []mesh.Use{mesh.NewPods, mesh.IdentityRoots, mesh.ControlPlane}
		case layout.StoreOverrides:
			c.Uses = []mesh.Use{mesh.NextUpgrade}
		}
	}
	if modern && !p.hasRoots && !p.rootsLost && !p.IdentityDisabled {
		p.know(mesh.CodeMissingCopy, "ConfigMap "+p.Namespace+"/"+rootsName,
			"it is not there, and no older place holds what linkerd-identity trusts: new pods and a restarted control plane do not start", nil)
	}
	p.disagreements()
}

// disagreements notes copies that a reader would take other anchors from than
// from the one that counts for new pods.
func (p *plane) disagreements() {
	counts := p.CopiesFor(mesh.NewPods)
	if len(counts) == 0 || counts[0].Trust == nil {
		return
	}
	for i := range p.Copies {
		c := &p.Copies[i]
		if c.Trust == nil && p.ExternalCA {
			continue // empty where the anchors are made elsewhere
		}
		if c.Trust == nil {
			p.know(mesh.CodeDisagreement, c.Object.String(), fmt.Sprintf("%s holds no anchors, unlike %s", c.Field, counts[0].Object), nil)
		} else if c.Trust.ID != counts[0].Trust.ID {
			p.know(mesh.CodeDisagreement, c.Object.String(), fmt.Sprintf("%s holds other anchors than %s", c.Field, counts[0].Object), nil)
		}
	}
}

// lastEnv returns the entry of a variable that counts, the last one, and how
// many there are.
func lastEnv(env []wire.EnvVar, name string) (last wire.EnvVar, n int) {
	for _, e := range env {
		if e.Name == name {
			last, n = e, n+1
		}
	}
	return last, n
}

// flagOf returns the value of a flag in any form that Go's flag package takes;
// the last one counts.
func flagOf(args []string, name string) (value string, ok bool) {
	for i, arg := range args {
		flag := strings.TrimLeft(arg, "-")
		if flag == arg {
			continue
		}
		if v, found := strings.CutPrefix(flag, name+"="); found {
			value, ok = v, true
		} else if flag == name && i+1 < len(args) {
			value, ok = args[i+1], true
		}
	}
	return value, ok
}
