package testbed

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// FieldManager owns the fields that Apply sets.
const FieldManager = "windlass-testbed"

// Apply makes the objects of a YAML stream as they stand there, in their order,
// by server-side apply, and returns them as the API server has them. Objects
// that need a namespace and name none go to the given one. After a
// CustomResourceDefinition it waits until the API serves it, so that objects of
// the new kind can follow in the same stream.
func (c *Cluster) Apply(ctx context.Context, namespace string, manifests []byte) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, fmt.Errorf("apply: %w", err)
		}
		var o unstructured.Unstructured
		if err := yaml.Unmarshal(doc, &o.Object); err != nil {
			return out, fmt.Errorf("apply: %w", err)
		}
		if len(o.Object) == 0 {
			continue // nothing but comments
		}
		got, err := c.apply(ctx, namespace, &o)
		if err != nil {
			return out, fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		out = append(out, got)
	}
}

func (c *Cluster) apply(ctx context.Context, namespace string, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := c.Resource(ctx, o, namespace)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	force := true
	got, err := resource.Patch(ctx, o.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: FieldManager, Force: &force})
	if err != nil || o.GetKind() != "CustomResourceDefinition" {
		return got, err
	}
	err = Until(ctx, func(ctx context.Context) (bool, error) {
		if got, err = resource.Get(ctx, o.GetName(), metav1.GetOptions{}); err != nil {
			return false, err
		}
		// It is null at first, which NestedSlice takes for a mistake.
		conditions, _, _ := unstructured.NestedSlice(got.Object, "status", "conditions")
		for _, c := range conditions {
			if m, ok := c.(map[string]any); ok && m["type"] == "Established" && m["status"] == "True" {
				return true, nil
			}
		}
		return false, nil
	})
	return got, err
}

// Resource returns the dynamic client for an object's kind, in the object's
// namespace or else the given one. A kind that was defined a moment ago may not
// be served yet, so an unknown one is asked for until ctx is done or a few
// seconds passed.
func (c *Cluster) Resource(ctx context.Context, o *unstructured.Unstructured, namespace string) (dynamic.ResourceInterface, error) {
	c.mapperMu.Lock()
	defer c.mapperMu.Unlock()
	if c.mapper == nil {
		c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.Client.Discovery()))
	}
	kind := o.GroupVersionKind()
	var mapping *meta.RESTMapping
	tries := 0
	err := Until(ctx, func(context.Context) (bool, error) {
		var err error
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if tries++; meta.IsNoMatchError(err) && tries < 100 {
			c.mapper.Reset()
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	resource := c.Dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return resource, nil
	}
	if o.GetNamespace() != "" {
		namespace = o.GetNamespace()
	}
	return resource.Namespace(namespace), nil
}

// splitResource parts "pods/portforward" into resource and subresource.
func splitResource(s string) (resource, subresource string) {
	resource, subresource, _ = strings.Cut(s, "/")
	return resource, subresource
}
