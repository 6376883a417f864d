package linkerd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
)

// annotationExpiry stands on the issuer Secret of 2.5 to 2.10.
const annotationExpiry = "linkerd.io/identity-issuer-expiry"

// ApplyOptions tune Apply.
type ApplyOptions struct {
	// DryRun has the API server judge every write and keep none.
	DryRun bool
}

// Written is an object that Apply came to.
type Written struct {
	Object  mesh.ObjectRef // in its new state
	Changed bool           // false where it held the text already
}

// Apply carries a plan out. Before anything is written every object is read
// again and has to be as the survey saw it, not owned by a reconciler, and its
// text editable; so that what can be known to fail fails before the first write.
// Then the objects are written one by one. An error comes with what was written
// until then: survey, prove and plan again. Conflicts are mesh.ErrConflict.
//
// A workload's resourceVersion changes with its status, so of workloads the
// text that is to be replaced has to be the one that was seen.
func Apply(ctx context.Context, c *mesh.Client, p *Plan, o ApplyOptions) ([]Written, error) {
	if err := p.Err(); err != nil {
		return nil, err
	}
	prepared := make([]prepared, 0, len(p.Writes))
	for _, w := range p.Writes {
		ready, err := prepare(ctx, c, w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.Object, err)
		}
		prepared = append(prepared, ready)
	}
	var done []Written
	for _, ready := range prepared {
		if len(ready.ops) == 0 {
			done = append(done, Written{Object: ready.ref})
			continue
		}
		var after mesh.Object
		if err := c.Patch(ctx, ready.resource, ready.ref, ready.ops, mesh.PatchOptions{DryRun: o.DryRun}, &after); err != nil {
			return done, fmt.Errorf("%s: %w", ready.ref, err)
		}
		done = append(done, Written{Object: after.Metadata.Ref(ready.ref.Kind), Changed: true})
	}
	return done, nil
}

// prepared is a write that waits for the others.
type prepared struct {
	resource mesh.Resource
	ref      mesh.ObjectRef
	ops      []mesh.PatchOp
}

func prepare(ctx context.Context, c *mesh.Client, w Write) (prepared, error) {
	switch w.Object.Kind {
	case "ConfigMap":
		return prepareConfigMap(ctx, c, w)
	case "Secret":
		return prepareSecret(ctx, c, w)
	case "Deployment":
		return prepareWorkload(ctx, c, w)
	}
	return prepared{}, fmt.Errorf("%w: a %s is not written", ErrRefused, w.Object.Kind)
}

// unchanged holds an object against the state that was surveyed.
func unchanged(seen mesh.ObjectRef, now mesh.ObjectMeta, immutable bool) error {
	switch {
	case now.UID != seen.UID:
		return fmt.Errorf("%w: it was deleted and made again", mesh.ErrConflict)
	case now.ResourceVersion != seen.ResourceVersion:
		return fmt.Errorf("%w", mesh.ErrConflict)
	case now.DeletionTimestamp != nil:
		return fmt.Errorf("%w: it is being deleted", ErrRefused)
	case immutable:
		return fmt.Errorf("%w: it is marked immutable", ErrRefused)
	}
	return nil
}

// stillFree is asked of workloads, of which a survey does not read what shows an
// owner. Of the others an unchanged resourceVersion says as much.
func stillFree(m mesh.ObjectMeta) error {
	if o := mesh.ActiveOwner(ownersOf(m)); o != nil {
		return fmt.Errorf("%w: %w: %s (%s)", ErrRefused, ErrOwned, o.Tool, o.Why)
	}
	return nil
}

func prepareConfigMap(ctx context.Context, c *mesh.Client, w Write) (prepared, error) {
	var cm configMap
	if err := c.Get(ctx, mesh.ConfigMaps, w.Object.Namespace, w.Object.Name, &cm); err != nil {
		return prepared{}, err
	}
	if err := unchanged(w.Object, cm.Metadata, cm.Immutable); err != nil {
		return prepared{}, err
	}
	out := prepared{resource: mesh.ConfigMaps, ref: w.Object}
	if layout.Store(w.Store) == layout.StoreTrustRoots {
		// Both the old and the new form of the text are told from the old one.
		text := layout.TrustRoots(cm.Data[rootsKey], w.edit.Anchors)
		switch old, ok := cm.Data[rootsKey]; {
		case ok && old == text:
		case ok:
			out.ops = append(out.ops, mesh.PatchOp{Op: "replace", Path: mesh.Pointer("data", rootsKey), Value: text})
		case cm.BinaryData[rootsKey] != nil:
			return out, fmt.Errorf("%w: the anchors stand in binaryData", ErrRefused)
		case cm.Data == nil:
			out.ops = append(out.ops, mesh.PatchOp{Op: "add", Path: "/data", Value: map[string]string{rootsKey: text}})
		default:
			out.ops = append(out.ops, mesh.PatchOp{Op: "add", Path: mesh.Pointer("data", rootsKey), Value: text})
		}
		return out, nil
	}
	changed, err := layout.EditConfig(cm.Data, w.edit)
	for _, k := range keysOf(changed) {
		out.ops = append(out.ops, mesh.PatchOp{Op: "replace", Path: mesh.Pointer("data", k), Value: changed[k]})
	}
	return out, err
}

func prepareSecret(ctx context.Context, c *mesh.Client, w Write) (prepared, error) {
	var sec secret
	if err := c.Get(ctx, mesh.Secrets, w.Object.Namespace, w.Object.Name, &sec); err != nil {
		return prepared{}, err
	}
	if err := unchanged(w.Object, sec.Metadata, sec.Immutable); err != nil {
		return prepared{}, err
	}
	out := prepared{resource: mesh.Secrets, ref: w.Object}
	if w.issuer == nil {
		text := string(sec.Data[overridesName])
		edited, err := layout.EditValues(text, w.edit)
		if err != nil {
			return out, err
		}
		if edited != text {
			out.ops = append(out.ops, mesh.PatchOp{Op: "add", Path: mesh.Pointer("data", overridesName), Value: []byte(edited)})
		}
		return out, nil
	}
	changed, err := layout.EditIssuer(sec.Data, w.scheme, w.issuer.ChainPEM, w.issuer.KeyPEM, w.issuer.CAPEM)
	if err != nil {
		return out, err
	}
	for _, k := range keysOf(changed) {
		if string(sec.Data[k]) != string(changed[k]) {
			out.ops = append(out.ops, mesh.PatchOp{Op: "add", Path: mesh.Pointer("data", k), Value: changed[k]})
		}
	}
	if _, ok := sec.Metadata.Annotations[annotationExpiry]; ok && len(out.ops) > 0 {
		out.ops = append(out.ops, mesh.PatchOp{Op: "replace", Path: mesh.Pointer("metadata", "annotations", annotationExpiry), Value: w.expiry})
	}
	return out, nil
}

func prepareWorkload(ctx context.Context, c *mesh.Client, w Write) (prepared, error) {
	var raw json.RawMessage
	if err := c.Get(ctx, mesh.Deployments, w.Object.Namespace, w.Object.Name, &raw); err != nil {
		return prepared{}, err
	}
	var o mesh.Object
	if err := json.Unmarshal(raw, &o); err != nil {
		return prepared{}, err
	}
	if o.Metadata.UID != w.Object.UID {
		return prepared{}, fmt.Errorf("%w: it was deleted and made again", mesh.ErrConflict)
	}
	if err := stillFree(o.Metadata); err != nil {
		return prepared{}, err
	}
	edits, err := layout.EditWorkload(raw, w.edit.Anchors)
	if err != nil {
		return prepared{}, err
	}
	out := prepared{resource: mesh.Deployments, ref: o.Metadata.Ref("Deployment")}
	for _, e := range edits {
		if !slices.Contains(w.olds, e.OldText) && strings.TrimSpace(e.OldText) != "" {
			return out, fmt.Errorf("%w: %s", mesh.ErrConflict, e.Pointer)
		}
		out.ops = append(out.ops, mesh.PatchOp{Op: "replace", Path: e.Pointer, Value: e.New})
	}
	return out, nil
}

func keysOf[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
