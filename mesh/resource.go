package mesh

import (
	"encoding/json"
	"strings"
	"time"
)

// Resource is a kind of object at the API: group ("" for core), version, and
// the plural name.
type Resource struct{ Group, Version, Name string }

// The built-in resources that surveys read.
var (
	Namespaces      = Resource{"", "v1", "namespaces"}
	Services        = Resource{"", "v1", "services"}
	Pods            = Resource{"", "v1", "pods"}
	ConfigMaps      = Resource{"", "v1", "configmaps"}
	Secrets         = Resource{"", "v1", "secrets"}
	ServiceAccounts = Resource{"", "v1", "serviceaccounts"}
	Controllers     = Resource{"", "v1", "replicationcontrollers"}
	Deployments     = Resource{"apps", "v1", "deployments"}
	ReplicaSets     = Resource{"apps", "v1", "replicasets"}
	StatefulSets    = Resource{"apps", "v1", "statefulsets"}
	DaemonSets      = Resource{"apps", "v1", "daemonsets"}
	Jobs            = Resource{"batch", "v1", "jobs"}
	CronJobs        = Resource{"batch", "v1", "cronjobs"}
)

// Path returns the path of an object, or of the list where name is "".
func (r Resource) Path(namespace, name string) string {
	p := "/api/" + r.Version
	if r.Group != "" {
		p = "/apis/" + r.Group + "/" + r.Version
	}
	if namespace != "" {
		p += "/namespaces/" + namespace
	}
	p += "/" + r.Name
	if name != "" {
		p += "/" + name
	}
	return p
}

func (r Resource) describe(namespace, name string) string {
	switch {
	case name == "" && namespace == "":
		return r.Name
	case name == "":
		return r.Name + " in " + namespace
	case namespace == "":
		return r.Name + " " + name
	}
	return r.Name + " " + namespace + "/" + name
}

// Object is the metadata of an object, and, where it is a ConfigMap or Secret,
// its data. It is what the API server's JSON is decoded into.
type Object struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Metadata   ObjectMeta `json:"metadata"`
}

// ObjectMeta is the part of metav1.ObjectMeta that matters here.
type ObjectMeta struct {
	Namespace         string            `json:"namespace"`
	Name              string            `json:"name"`
	UID               string            `json:"uid"`
	ResourceVersion   string            `json:"resourceVersion"`
	CreationTimestamp time.Time         `json:"creationTimestamp"`
	DeletionTimestamp *time.Time        `json:"deletionTimestamp"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	OwnerReferences   []OwnerReference  `json:"ownerReferences"`
	ManagedFields     []ManagedFields   `json:"managedFields"`
}

// OwnerReference names an owner.
type OwnerReference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
	Controller bool   `json:"controller"`
}

// ManagedFields says who wrote which fields, and when.
type ManagedFields struct {
	Manager     string          `json:"manager"`
	Operation   string          `json:"operation"`
	Time        *time.Time      `json:"time"`
	Subresource string          `json:"subresource"`
	FieldsV1    json.RawMessage `json:"fieldsV1"`
}

// Ref names the object.
func (m ObjectMeta) Ref(kind string) ObjectRef {
	return ObjectRef{Kind: kind, Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion}
}

// ObjectRef names an object, and the state of it that was read.
type ObjectRef struct {
	Kind, Namespace, Name string
	UID, ResourceVersion  string
}

// String returns "ConfigMap linkerd/linkerd-config".
func (r ObjectRef) String() string {
	name := r.Name
	if r.Namespace != "" {
		name = r.Namespace + "/" + name
	}
	return strings.TrimSpace(r.Kind + " " + name)
}

// ManagersOf returns the entries whose fields include the path, given as keys
// ("data", "ca-bundle.crt"); an empty path matches every entry.
func (m ObjectMeta) ManagersOf(path ...string) []ManagedFields {
	var out []ManagedFields
	for _, e := range m.ManagedFields {
		fields, found := e.FieldsV1, true
		for _, key := range path {
			var level map[string]json.RawMessage
			if json.Unmarshal(fields, &level) != nil {
				found = false
				break
			}
			if fields, found = level["f:"+key]; !found {
				break
			}
		}
		if found {
			out = append(out, e)
		}
	}
	return out
}

// ChangedAt returns the latest moment at which the field can have changed, on
// the API server's clock: the server stamps a manager's entry whenever a write
// of his changes a value. ok is false where that cannot be told.
func (m ObjectMeta) ChangedAt(path ...string) (at time.Time, ok bool) {
	for _, e := range m.ManagersOf(path...) {
		if e.Time == nil {
			return time.Time{}, false
		}
		if e.Time.After(at) {
			at = *e.Time
		}
	}
	return at, !at.IsZero()
}

// Original reports whether the field is as it was when the object was created:
// one manager, one write, stamped before the object was. The server stamps the
// entries of a request first and the object that it creates afterwards, so both
// moments, which are to the second, are the same or a second apart.
func (m ObjectMeta) Original(path ...string) bool {
	entries := m.ManagersOf(path...)
	if len(entries) != 1 || entries[0].Time == nil || m.CreationTimestamp.IsZero() {
		return false
	}
	if entries[0].Manager == "ancient-changes" {
		return false // the server has put several writers together under this name
	}
	age := m.CreationTimestamp.Sub(*entries[0].Time)
	return age >= 0 && age <= time.Second
}
