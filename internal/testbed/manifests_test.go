package testbed_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestADefinitionAndItsObjectsInOneStream(t *testing.T) {
	ctx, c, namespace := place(t)
	objects, err := c.Apply(ctx, namespace, []byte(`# a comment alone
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: anchors.testbed.example.com}
spec:
  group: testbed.example.com
  scope: Namespaced
  names: {kind: Anchor, plural: anchors}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: testbed.example.com/v1
kind: Anchor
metadata: {name: a}
spec: {weight: 7}
---
`))
	require.NoError(t, err)
	require.Len(t, objects, 2)
	require.Equal(t, namespace, objects[1].GetNamespace())

	resource, err := c.Resource(ctx, objects[1], "")
	require.NoError(t, err)
	got, err := resource.Get(ctx, "a", metav1.GetOptions{})
	require.NoError(t, err)
	weight, _, err := unstructured.NestedInt64(got.Object, "spec", "weight")
	require.NoError(t, err)
	require.EqualValues(t, 7, weight)

	again, err := c.Apply(ctx, "elsewhere", []byte("apiVersion: testbed.example.com/v1\nkind: Anchor\nmetadata: {name: a, namespace: "+namespace+"}\nspec: {weight: 8}\n"))
	require.NoError(t, err)
	require.Equal(t, got.GetUID(), again[0].GetUID(), "an object's own namespace counts")
	_, err = c.Apply(ctx, namespace, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Wrong}\n"))
	require.ErrorContains(t, err, "apply ConfigMap Wrong")
}
