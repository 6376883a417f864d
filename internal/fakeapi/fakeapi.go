// Package fakeapi is as much of an API server as a survey asks for, over objects
// in memory: get, lists in pages with the selectors that surveys use, metadata
// only, JSON and protobuf. Tests import it that need answers of many kinds fast;
// what a real API server does is tested against real ones.
package fakeapi

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// API is one API server.
type API struct {
	Name string
	URL  string
	CA   []byte // PEM
	// Fault answers in the server's place where it returns a status.
	Fault func(*http.Request) (status int, message string)

	now     time.Time
	mu      sync.Mutex
	objects map[string]map[string]any // by path
	order   []string
	groups  map[string][]string // versions served of custom groups
	rv      int
}

var kinds = map[string]string{
	"Namespace": "namespaces", "Service": "services", "Pod": "pods", "ConfigMap": "configmaps", "Secret": "secrets",
	"ServiceAccount": "serviceaccounts", "ReplicationController": "replicationcontrollers", "Deployment": "deployments",
	"ReplicaSet": "replicasets", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs", "CronJob": "cronjobs",
	"Link": "links", "ExternalWorkload": "externalworkloads",
}

// Start serves a cluster of the name, whose clock stands at now, until the test
// ends.
func Start(t testing.TB, name string, now time.Time) *API {
	a := New(name, now)
	t.Cleanup(a.Serve())
	return a
}

// Serve serves it over TLS on loopback until the function returned is called.
func (a *API) Serve() (stop func()) {
	server := httptest.NewUnstartedServer(a)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that hang up
	server.StartTLS()
	a.URL = server.URL
	a.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return func() {
		server.CloseClientConnections()
		server.Close()
	}
}

// Kubeconfig is one with a context for each cluster, the first the current one.
func Kubeconfig(clusters ...*API) string {
	type m = map[string]any
	var contexts, servers []any
	for _, a := range clusters {
		contexts = append(contexts, m{"name": a.Name, "context": m{"cluster": a.Name, "user": "x"}})
		servers = append(servers, m{"name": a.Name, "cluster": m{"server": a.URL, "certificate-authority-data": a.CA}})
	}
	text, err := json.Marshal(m{"apiVersion": "v1", "kind": "Config", "current-context": clusters[0].Name,
		"contexts": contexts, "clusters": servers, "users": []any{m{"name": "x", "user": m{"token": "t"}}}})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// New returns a cluster of the name, whose clock stands at now, for a server
// that the caller runs.
func New(name string, now time.Time) *API {
	a := &API{Name: name, now: now, objects: map[string]map[string]any{}, groups: map[string][]string{}, rv: 100}
	a.Add(fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: kube-system, uid: uid-of-%[1]s}
---
apiVersion: v1
kind: Service
metadata: {name: kubernetes, namespace: default, uid: service-of-%[1]s}
`, name))
	return a
}

// Edit changes the data of an object in place.
func (a *API) Edit(path string, edit func(data map[string]any)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	edit(a.objects[path]["data"].(map[string]any))
}

// AddRelease adds a rendered control plane as fixtures have it, with the labels
// that charts put on its pods, and nothing of other namespaces.
func (a *API) AddRelease(manifest string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for doc := range strings.SplitSeq(manifest, "\n---\n") {
		u := parse(doc)
		if ns := u.GetNamespace(); u.Object["metadata"] == nil || ns != "" && ns != "linkerd" {
			continue
		}
		if component, ok := strings.CutPrefix(u.GetName(), "linkerd-"); ok && u.GetKind() == "Deployment" {
			labels := map[string]any{"linkerd.io/control-plane-component": component, "linkerd.io/control-plane-ns": "linkerd"}
			if err := unstructured.SetNestedMap(u.Object, labels, "spec", "template", "metadata", "labels"); err != nil {
				panic(err)
			}
		}
		a.add(u)
	}
}

func parse(doc string) unstructured.Unstructured {
	var o map[string]any
	if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
		panic(fmt.Sprintf("%v in\n%s", err, doc))
	}
	return unstructured.Unstructured{Object: o}
}

// Add adds the objects of a manifest, of the kinds that surveys read; what does
// not parse panics.
func (a *API) Add(manifest string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for doc := range strings.SplitSeq(manifest, "\n---\n") {
		if u := parse(doc); u.Object["metadata"] != nil {
			a.add(u)
		}
	}
}

func (a *API) add(u unstructured.Unstructured) {
	plural, ok := kinds[u.GetKind()]
	if !ok {
		return // nobody here asks for it
	}
	if u.GetAPIVersion() == "extensions/v1beta1" {
		u.SetAPIVersion("apps/v1") // up to 2.6
	}
	gv, err := schema.ParseGroupVersion(u.GetAPIVersion())
	if err != nil {
		panic(err)
	}
	if strings.HasSuffix(gv.Group, ".linkerd.io") && !slices.Contains(a.groups[gv.Group], gv.Version) {
		a.groups[gv.Group] = append(a.groups[gv.Group], gv.Version)
	}
	at := "/api/v1"
	if gv.Group != "" {
		at = "/apis/" + gv.String()
	}
	if u.GetNamespace() != "" {
		at += "/namespaces/" + u.GetNamespace()
	}
	at += "/" + plural + "/" + u.GetName()
	a.rv++
	if u.GetUID() == "" {
		u.SetUID("uid-of-" + schemaUID(at))
	}
	u.SetResourceVersion(strconv.Itoa(a.rv))
	if created := u.GetCreationTimestamp(); created.IsZero() {
		u.SetCreationTimestamp(metav1.NewTime(a.now.Add(-30 * 24 * time.Hour)))
	}
	if len(u.GetManagedFields()) == 0 {
		u.SetManagedFields(managed(u))
	}
	if _, ok := a.objects[at]; !ok {
		a.order = append(a.order, at)
	}
	a.objects[at] = u.Object
}

// managed says that all data was written when the object was created.
func managed(u unstructured.Unstructured) []metav1.ManagedFieldsEntry {
	data, _, _ := unstructured.NestedMap(u.Object, "data")
	if len(data) == 0 {
		return nil
	}
	fields := map[string]any{}
	for k := range data {
		fields["f:"+k] = map[string]any{}
	}
	raw, err := json.Marshal(map[string]any{"f:data": fields})
	if err != nil {
		panic(err)
	}
	created := u.GetCreationTimestamp()
	return []metav1.ManagedFieldsEntry{{Manager: "kubectl", Operation: "Update", FieldsType: "FieldsV1", Time: &created, FieldsV1: metav1.NewFieldsV1(string(raw))}}
}

// ServeHTTP answers.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Date", a.now.UTC().Format(http.TimeFormat))
	if a.Fault != nil {
		if status, message := a.Fault(r); status != 0 {
			answer(w, status, message)
			return
		}
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	switch {
	case len(parts) == 2 && parts[0] == "apis" && len(a.groups[last]) > 0:
		var versions []any
		for _, v := range a.groups[last] {
			versions = append(versions, map[string]any{"version": v})
		}
		writeJSON(w, http.StatusOK, map[string]any{"kind": "APIGroup", "versions": versions})
	case a.objects[r.URL.Path] != nil:
		writeJSON(w, http.StatusOK, a.objects[r.URL.Path])
	case kindOf(last) != "":
		a.list(w, r, last)
	default:
		answer(w, http.StatusNotFound, last+" not found")
	}
}

func kindOf(plural string) string {
	for kind, p := range kinds {
		if p == plural {
			return kind
		}
	}
	return ""
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

func answer(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"kind": "Status", "message": message, "code": status})
}

func (a *API) list(w http.ResponseWriter, r *http.Request, plural string) {
	q := r.URL.Query()
	base := strings.TrimSuffix(r.URL.Path, plural)
	found := []unstructured.Unstructured{}
	for _, at := range a.order {
		o := unstructured.Unstructured{Object: a.objects[at]}
		if strings.HasPrefix(at, base) && path.Base(path.Dir(at)) == plural && selected(o, q.Get("labelSelector"), q.Get("fieldSelector")) {
			found = append(found, o)
		}
	}
	from, _ := strconv.Atoi(q.Get("continue"))
	next := ""
	if limit, _ := strconv.Atoi(q.Get("limit")); limit > 0 && len(found) > from+limit {
		found, next = found[:from+limit], strconv.Itoa(from+limit)
	}
	items, accept := found[from:], r.Header.Get("Accept")
	meta := strings.Contains(accept, "PartialObjectMetadataList")
	raw := []any{}
	for _, o := range items {
		if meta {
			raw = append(raw, map[string]any{"metadata": o.Object["metadata"]})
		} else {
			raw = append(raw, o.Object)
		}
	}
	list := map[string]any{"kind": "List", "metadata": map[string]any{"continue": next}, "items": raw}
	if !strings.Contains(accept, "protobuf") {
		writeJSON(w, http.StatusOK, list)
		return
	}
	if err := writeProtobuf(w, r, plural, list, meta); err != nil {
		answer(w, http.StatusInternalServerError, err.Error())
	}
}

func writeProtobuf(w http.ResponseWriter, r *http.Request, plural string, list map[string]any, meta bool) error {
	var out runtime.Object = &metav1.PartialObjectMetadataList{}
	gvk := schema.GroupVersionKind{Group: "meta.k8s.io", Version: "v1", Kind: "PartialObjectMetadataList"}
	if !meta {
		gvk = schema.GroupVersionKind{Version: "v1", Kind: kindOf(plural) + "List"}
		if strings.HasPrefix(r.URL.Path, "/apis/") {
			gvk.Group = strings.Split(r.URL.Path, "/")[2]
		}
		var err error
		if out, err = scheme.Scheme.New(gvk); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return err
	}
	out.GetObjectKind().SetGroupVersionKind(gvk)
	w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
	return protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(out, w)
}

func selected(o unstructured.Unstructured, labels, fields string) bool {
	if key, value, ok := strings.Cut(labels, "="); labels != "" {
		got, has := o.GetLabels()[key]
		if !has || ok && got != value {
			return false
		}
	}
	switch key, value, _ := strings.Cut(fields, "="); key {
	case "metadata.name":
		return o.GetName() == value
	case "type":
		got, _, _ := unstructured.NestedString(o.Object, "type")
		return got == value
	}
	return true
}
