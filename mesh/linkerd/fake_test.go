package linkerd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/windlass-mesh/windlass/mesh"
)

// now is the moment of these tests, by the API server's clock.
var now = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

// fakeAPI is as much of an API server as the adapter asks for, over objects in
// memory: get, list in pages with selectors, metadata only, JSON and protobuf,
// JSON patches with the check of UID and resourceVersion. What a real one does
// beyond that is tested against a real one.
type fakeAPI struct {
	t   testing.TB
	url string

	mu       sync.Mutex
	objects  map[string]map[string]any // by path
	order    []string
	groups   map[string][]string // versions served, beside the built-in ones
	rv       int
	requests []string
	// fault answers in the server's place where it returns a status.
	fault func(*http.Request) (status int, message string)
}

var plurals = map[string]string{
	"Namespace": "namespaces", "Service": "services", "Pod": "pods", "ConfigMap": "configmaps", "Secret": "secrets",
	"ServiceAccount": "serviceaccounts", "ReplicationController": "replicationcontrollers", "Deployment": "deployments",
	"ReplicaSet": "replicasets", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs", "CronJob": "cronjobs",
	"Link": "links", "ExternalWorkload": "externalworkloads", "Certificate": "certificates",
}

func newFake(t testing.TB, files ...string) *fakeAPI {
	t.Helper()
	f := &fakeAPI{t: t, objects: map[string]map[string]any{}, groups: map[string][]string{}, rv: 100}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	f.addYAML(`
apiVersion: v1
kind: Namespace
metadata: {name: kube-system, uid: cluster-uid}
---
apiVersion: v1
kind: Service
metadata: {name: kubernetes, namespace: default, uid: service-uid}
`)
	for _, file := range files {
		f.addFile(file)
	}
	return f
}

func (f *fakeAPI) addFile(file string) {
	f.t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(f.t, err)
	f.addYAML(string(b))
}

// release adds the control plane of a release as the layout package's fixtures
// have it, with the labels that charts put on its pods.
func (f *fakeAPI) release(name string) {
	f.t.Helper()
	f.addFile(filepath.Join("..", "..", "internal", "layout", "testdata", name+".yaml"))
	for path, o := range f.objects {
		if strings.Contains(path, "/namespaces/emojivoto/") {
			delete(f.objects, path) // a rendering of manual injection; tests make their own
			f.order = slices.DeleteFunc(f.order, func(p string) bool { return p == path })
		}
		if strings.Contains(path, "/deployments/linkerd-") {
			set := func(v any, keys ...string) { require.NoError(f.t, unstructured.SetNestedField(o, v, keys...)) }
			component := strings.TrimPrefix(path[strings.LastIndex(path, "/")+1:], "linkerd-")
			set(map[string]any{labelComponent: component, labelControlPlane: "linkerd"}, "spec", "template", "metadata", "labels")
		}
	}
}

func (f *fakeAPI) addYAML(text string) {
	f.t.Helper()
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var o map[string]any
		require.NoError(f.t, yaml.Unmarshal([]byte(doc), &o))
		if len(o) > 0 && o["metadata"] != nil {
			f.add(o)
		}
	}
}

// addObject adds a typed object.
func (f *fakeAPI) addObject(o runtime.Object) {
	f.t.Helper()
	gvks, _, err := scheme.Scheme.ObjectKinds(o)
	require.NoError(f.t, err)
	u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	require.NoError(f.t, err)
	u["apiVersion"], u["kind"] = gvks[0].ToAPIVersionAndKind()
	f.add(u)
}

func (f *fakeAPI) add(o map[string]any) {
	f.t.Helper()
	u := unstructured.Unstructured{Object: o}
	kind := u.GetKind()
	plural, ok := plurals[kind]
	if !ok {
		return // webhook configurations and the like
	}
	if u.GetAPIVersion() == "extensions/v1beta1" {
		u.SetAPIVersion("apps/v1")
	}
	gv, err := schema.ParseGroupVersion(u.GetAPIVersion())
	require.NoError(f.t, err)
	if (strings.HasSuffix(gv.Group, ".linkerd.io") || gv.Group == certManagerGroup) && !slices.Contains(f.groups[gv.Group], gv.Version) {
		f.groups[gv.Group] = append(f.groups[gv.Group], gv.Version)
	}
	path := mesh.Resource{Group: gv.Group, Version: gv.Version, Name: plural}.Path(u.GetNamespace(), u.GetName())
	f.rv++
	if u.GetUID() == "" {
		u.SetUID("uid-of-" + typesUID(path))
	}
	if u.GetResourceVersion() == "" {
		u.SetResourceVersion(strconv.Itoa(f.rv))
	}
	if created := u.GetCreationTimestamp(); created.IsZero() {
		u.SetCreationTimestamp(metav1.NewTime(now.Add(-24 * time.Hour)))
	}
	if _, ok := f.objects[path]; !ok {
		f.order = append(f.order, path)
	}
	f.objects[path] = u.Object
}

func (f *fakeAPI) client() *mesh.Client {
	f.t.Helper()
	c, err := mesh.NewClient(&rest.Config{Host: f.url}, mesh.Options{PageSize: 3, Timeout: 5 * time.Second, Wait: noWait})
	require.NoError(f.t, err)
	return c
}

func (f *fakeAPI) survey(o Options) *mesh.Survey {
	f.t.Helper()
	return Survey(f.t.Context(), &mesh.Cluster{Name: "test", Client: f.client()}, o)
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Date", now.Format(http.TimeFormat))
	f.requests = append(f.requests, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery)
	if f.fault != nil {
		if status, message := f.fault(r); status != 0 {
			f.status(w, status, message)
			return
		}
	}
	switch parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/"); {
	case len(parts) == 2 && parts[0] == "apis":
		f.discovery(w, parts[1])
	case f.objects[r.URL.Path] != nil && r.Method == http.MethodPatch:
		f.patch(w, r)
	case f.objects[r.URL.Path] != nil:
		f.json(w, f.objects[r.URL.Path])
	case slices.Contains(listable, parts[len(parts)-1]):
		f.list(w, r)
	default:
		f.status(w, http.StatusNotFound, parts[len(parts)-1]+" not found")
	}
}

var listable = func() (out []string) {
	for _, p := range plurals {
		out = append(out, p)
	}
	return out
}()

func (f *fakeAPI) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fakeAPI) status(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "message": message, "code": code})
}

func (f *fakeAPI) discovery(w http.ResponseWriter, group string) {
	if len(f.groups[group]) == 0 {
		f.status(w, http.StatusNotFound, "the server could not find the requested resource")
		return
	}
	var versions []any
	for _, v := range f.groups[group] {
		versions = append(versions, map[string]any{"version": v})
	}
	f.json(w, map[string]any{"kind": "APIGroup", "versions": versions})
}

func (f *fakeAPI) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var found []unstructured.Unstructured
	base, plural := filepath.Split(r.URL.Path)
	for _, path := range f.order {
		o := unstructured.Unstructured{Object: f.objects[path]}
		dir, _ := filepath.Split(path)
		if strings.HasPrefix(path, base) && strings.HasSuffix(strings.TrimSuffix(dir, "/"), "/"+plural) && selected(o, q.Get("labelSelector"), q.Get("fieldSelector")) {
			found = append(found, o)
		}
	}
	from, _ := strconv.Atoi(q.Get("continue"))
	next := ""
	if limit, _ := strconv.Atoi(q.Get("limit")); limit > 0 && len(found) > from+limit {
		found, next = found[:from+limit], strconv.Itoa(from+limit)
	}
	f.items(w, r, found[from:], next)
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

func (f *fakeAPI) items(w http.ResponseWriter, r *http.Request, found []unstructured.Unstructured, next string) {
	metaOnly := strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadataList")
	if !strings.Contains(r.Header.Get("Accept"), "protobuf") {
		items := []any{}
		for _, o := range found {
			if metaOnly {
				items = append(items, map[string]any{"metadata": o.Object["metadata"]})
				continue
			}
			items = append(items, o.Object)
		}
		f.json(w, map[string]any{"kind": "List", "metadata": map[string]any{"continue": next}, "items": items})
		return
	}
	var out runtime.Object
	if metaOnly {
		list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}, ListMeta: metav1.ListMeta{Continue: next}}
		for _, o := range found {
			var m metav1.PartialObjectMetadata
			require.NoError(f.t, runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"metadata": o.Object["metadata"]}, &m))
			list.Items = append(list.Items, m)
		}
		out = list
	} else {
		_, plural := filepath.Split(r.URL.Path)
		for kind, p := range plurals {
			if p != plural {
				continue
			}
			gv := schema.GroupVersion{Version: "v1"}
			if strings.HasPrefix(r.URL.Path, "/apis/") {
				gv.Group = strings.Split(r.URL.Path, "/")[2]
			}
			typed, err := scheme.Scheme.New(gv.WithKind(kind + "List"))
			require.NoError(f.t, err)
			items := []any{}
			for _, o := range found {
				items = append(items, o.Object)
			}
			raw, err := json.Marshal(map[string]any{"metadata": map[string]any{"continue": next}, "items": items})
			require.NoError(f.t, err)
			require.NoError(f.t, json.Unmarshal(raw, typed))
			typed.GetObjectKind().SetGroupVersionKind(gv.WithKind(kind + "List"))
			out = typed
		}
	}
	w.Header().Set("Content-Type", "application/vnd.kubernetes.protobuf")
	require.NoError(f.t, protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(out, w))
}

func (f *fakeAPI) patch(w http.ResponseWriter, r *http.Request) {
	var ops []mesh.PatchOp
	require.NoError(f.t, json.NewDecoder(r.Body).Decode(&ops))
	var o map[string]any
	raw, err := json.Marshal(f.objects[r.URL.Path])
	require.NoError(f.t, err)
	require.NoError(f.t, json.Unmarshal(raw, &o))
	was := unstructured.Unstructured{Object: f.objects[r.URL.Path]}
	for _, op := range ops {
		if !applyOp(o, op) {
			f.status(w, http.StatusUnprocessableEntity, "testing value "+op.Path+" failed: test failed")
			return
		}
	}
	u := unstructured.Unstructured{Object: o}
	if u.GetUID() != was.GetUID() {
		f.status(w, http.StatusUnprocessableEntity, "metadata.uid: Invalid value: field is immutable")
		return
	}
	if u.GetResourceVersion() != was.GetResourceVersion() {
		f.status(w, http.StatusConflict, "the object has been modified")
		return
	}
	f.rv++
	u.SetResourceVersion(strconv.Itoa(f.rv))
	if r.URL.Query().Get("dryRun") != "All" {
		f.objects[r.URL.Path] = o
	}
	f.json(w, o)
}

// applyOp carries out one operation; false is a failed test.
func applyOp(o any, op mesh.PatchOp) bool {
	parts := strings.Split(strings.TrimPrefix(op.Path, "/"), "/")
	for i, p := range parts {
		p = strings.NewReplacer("~1", "/", "~0", "~").Replace(p)
		last := i == len(parts)-1
		switch v := o.(type) {
		case map[string]any:
			if !last {
				o = v[p]
				continue
			}
			if _, ok := v[p]; op.Op == "replace" && !ok {
				return false
			}
			if op.Op == "test" {
				return fmt.Sprint(v[p]) == fmt.Sprint(op.Value)
			}
			v[p] = op.Value
		case []any:
			n, err := strconv.Atoi(p)
			if err != nil || n >= len(v) {
				return false
			}
			if !last {
				o = v[n]
				continue
			}
			v[n] = op.Value
		default:
			return false
		}
	}
	return true
}

// data returns the data of a ConfigMap or Secret as the server holds it.
func (f *fakeAPI) data(path string) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, _ := f.objects[path]["data"].(map[string]any)
	return d
}
