// Package wire reads lists of Kubernetes objects from the API server's protobuf
// as they arrive, and keeps only what the survey of a mesh needs.
//
// A meshed pod is some 12 KB on the wire: its managed fields, its volumes, its
// probes, sixty variables of its proxy and, among them, a copy of the trust
// bundle. Of all this a survey needs a few hundred bytes, and the bundles of ten
// thousand pods are a handful of texts. So an item is read into a buffer that
// the next one reuses, walked once, and what is kept is interned ([Interner]).
// No list is ever in memory as a whole, and the typed clientset, whose scheme
// costs every start of the program 5 ms and 16 MB of binary, is not linked.
//
// BenchmarkTenThousandPods, 104 MB of pods: 47 ms of CPU where client-go's types
// take 464, 23 MB allocated where they take 522, 13 MB kept where they keep 324.
//
// The format is that of k8s.io/apimachinery's protobuf serializer: the bytes
// "k8s\0", a runtime.Unknown whose raw field is the list, and in each list
// ListMeta as field 1 and the items as field 2. Field numbers are those of the
// generated.proto files of k8s.io/api v0.36; Kubernetes never renumbers them.
package wire
