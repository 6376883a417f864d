// Package examples holds the manifests that the README and the demo use.
package examples

import "embed"

// Manifests are two clusters as `kubectl get -o yaml` shows them: old-cluster.yaml
// (Linkerd 2.7) and new-cluster.yaml (Linkerd 2.14). They hold certificates only.
//
//go:embed old-cluster.yaml new-cluster.yaml
var Manifests embed.FS
