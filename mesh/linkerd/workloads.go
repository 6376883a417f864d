package linkerd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/internal/wire"
)

// owned is a workload as read, and its kind.
type owned struct {
	kind string
	wire.Template
}

// apiVersionOf is the version that each built-in kind is read in.
var apiVersionOf = map[string]string{
	"Deployment": "apps/v1", "ReplicaSet": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1",
	"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1", "Pod": "v1",
}

// readWorkloads reads who owns the pods. Of ReplicaSets and Jobs, of which a
// cluster keeps many that are long over, only those that own a meshed pod are
// kept, and of those the metadata; of the others every template is looked at,
// for those that carry a proxy of their own.
func (s *survey) readWorkloads() {
	wanted := map[string]bool{} // UIDs of owners
	for i := range s.raw {
		if o := s.raw[i].owner; o != nil {
			wanted[o.UID] = true
		}
	}
	s.readOwners(mesh.ReplicaSets, "ReplicaSet", wanted)
	s.readOwners(mesh.Jobs, "Job", wanted)
	for _, t := range s.seen {
		if o := t.Controller(); o != nil {
			wanted[o.UID] = true
		}
	}
	for _, k := range []struct {
		resource mesh.Resource
		kind     string
	}{
		{mesh.Deployments, "Deployment"}, {mesh.StatefulSets, "StatefulSet"}, {mesh.DaemonSets, "DaemonSet"},
		{mesh.CronJobs, "CronJob"}, {mesh.Controllers, "ReplicationController"},
	} {
		first := len(s.templates)
		err := s.c.List(s.ctx, k.resource, mesh.ListOptions{}, func() { s.templates = s.templates[:first] }, func(b []byte) error {
			t, err := s.dec.Workload(k.kind, b)
			if err == nil && (wanted[t.UID] || len(t.Containers) > 0) {
				s.templates = append(s.templates, owned{k.kind, t})
			}
			return err
		})
		if s.unknown(k.resource.Name, err) {
			s.blind[k.kind] = true
		}
	}
	for _, t := range s.templates {
		s.seen[t.UID] = t
	}
}

// readOwners reads the metadata of those that own a meshed pod.
func (s *survey) readOwners(r mesh.Resource, kind string, wanted map[string]bool) {
	needed := false
	for i := range s.raw {
		needed = needed || s.raw[i].owner != nil && s.raw[i].owner.Kind == kind
	}
	if !needed {
		return
	}
	err := s.c.List(s.ctx, r, mesh.ListOptions{MetadataOnly: true}, func() {}, func(b []byte) error {
		m, err := s.dec.Metadata(b)
		if err == nil && wanted[m.UID] {
			s.seen[m.UID] = owned{kind, wire.Template{Meta: m, Replicas: -1}}
		}
		return err
	})
	if s.unknown(r.Name, err) {
		s.blind[kind] = true
	}
}

// attach finds the workload of a peer, making it when it is the first.
func (s *survey) attach(i int) {
	p, r := &s.out.Peers[i], &s.raw[i]
	w := s.workloadOf(p, r)
	w.Pods = append(w.Pods, i)
	w.Gateway = w.Gateway || r.gateway
	if w.Component == "" {
		w.Component = p.Component
	}
	p.Workload = w
}

func (s *survey) workloadOf(p *mesh.Peer, r *rawTrust) *mesh.Workload {
	switch {
	case r.static:
		return s.workload("v1", "Pod", p.Namespace, p.Name, p.UID, func(w *mesh.Workload) {
			w.Method, w.Why = mesh.RestartRecreate, "a static pod: its node's kubelet runs it from a file there"
		})
	case r.owner == nil:
		return s.workload("v1", "Pod", p.Namespace, p.Name, p.UID, func(w *mesh.Workload) {
			w.Method, w.Why = mesh.RestartRecreate, "a pod without an owner: once deleted nobody makes it again"
		})
	}
	o := *r.owner
	// A ReplicaSet and a Job are steps on the way, where somebody owns them.
	if builtIn(o) && (o.Kind == "ReplicaSet" || o.Kind == "Job") {
		t, ok := s.seen[o.UID]
		switch {
		case !ok:
			return s.hidden(p.Namespace, o)
		case t.Controller() != nil:
			o = *t.Controller()
		case o.Kind == "ReplicaSet":
			return s.workload(o.APIVersion, o.Kind, p.Namespace, o.Name, o.UID, func(w *mesh.Workload) {
				w.Method, w.Why = mesh.RestartDelete, "a ReplicaSet of its own does not replace running pods"
			})
		default:
			return s.workload(o.APIVersion, o.Kind, p.Namespace, o.Name, o.UID, func(w *mesh.Workload) {
				w.Method, w.Why = mesh.RestartWhenDone, "a Job: its pods keep their anchors until they end"
			})
		}
	}
	if !builtIn(o) {
		return s.workload(o.APIVersion, o.Kind, p.Namespace, o.Name, o.UID, func(w *mesh.Workload) {
			w.Method, w.Why = mesh.RestartForeign, "owned by "+o.Kind+" "+o.Name+" ("+o.APIVersion+"): only its own controller can restart it"
		})
	}
	t, ok := s.seen[o.UID]
	if !ok {
		return s.hidden(p.Namespace, o)
	}
	return s.fromTemplate(t)
}

func (s *survey) hidden(namespace string, o wire.Owner) *mesh.Workload {
	why := "it is not there any more, or was made while the survey ran"
	if s.blind[o.Kind] {
		why = "objects of this kind could not be listed"
	}
	return s.workload(o.APIVersion, o.Kind, namespace, o.Name, o.UID, func(w *mesh.Workload) {
		w.Method, w.Why = mesh.RestartUnknown, "its owner could not be seen: "+why
	})
}

func builtIn(o wire.Owner) bool {
	version, ok := apiVersionOf[o.Kind]
	if !ok || o.Kind == "Pod" {
		return false
	}
	group, _, _ := strings.Cut(o.APIVersion, "/")
	want, _, _ := strings.Cut(version, "/")
	return group == want
}

func (s *survey) workload(version, kind, namespace, name, uid string, fill func(*mesh.Workload)) *mesh.Workload {
	if w, ok := s.workloads[uid]; ok {
		return w
	}
	w := &mesh.Workload{APIVersion: version, Kind: kind, Namespace: namespace, Name: name, UID: uid, Replicas: -1}
	fill(w)
	s.workloads[uid] = w
	s.out.Workloads = append(s.out.Workloads, w)
	return w
}

// fromTemplate makes the workload of a template, with what a restart of it
// takes.
func (s *survey) fromTemplate(t owned) *mesh.Workload {
	return s.workload(apiVersionOf[t.kind], t.kind, t.Namespace, t.Name, t.UID, func(w *mesh.Workload) {
		if t.HasReplicas {
			w.Replicas = t.Replicas
		}
		w.Component = t.PodLabels[labelComponent]
		w.Gateway = t.PodAnnotations[annotationGateway] == "true"
		w.Method, w.Why = methodOf(t)
	})
}

// methodOf says what it takes to renew the pods of a workload: what stands in
// the way, the hardest first.
func methodOf(t owned) (mesh.Method, string) {
	// The control plane's own templates carry their proxies by design.
	if hasProxy(t) && t.PodLabels[labelComponent] == "" {
		return mesh.RestartReinject, "the proxy is baked into its template, anchors included: a restart changes nothing, it has to be injected again"
	}
	if o := t.Controller(); o != nil {
		return mesh.RestartForeign, fmt.Sprintf("owned by %s %s (%s), which may undo a restart", o.Kind, o.Name, o.APIVersion)
	}
	switch {
	case t.kind == "CronJob" && t.Paused:
		return mesh.RestartNextRun, "suspended: the next run, whenever that is, is given new anchors"
	case t.kind == "CronJob":
		return mesh.RestartNextRun, "the next run is given new anchors; a running one keeps its own"
	case t.kind == "ReplicationController":
		return mesh.RestartDelete, "a ReplicationController does not replace running pods"
	case t.Paused:
		return mesh.RestartUnpause, "paused: nothing rolls out until it is resumed"
	case t.OnDelete:
		return mesh.RestartDelete, "updateStrategy OnDelete: each pod has to be deleted"
	case t.Partition > 0:
		return mesh.RestartPartition, fmt.Sprintf("partition %d: pods with a lower number are not updated", t.Partition)
	}
	return mesh.RestartRolling, ""
}

func hasProxy(t owned) bool {
	for _, c := range t.Containers {
		if c.Name == layout.ProxyContainer {
			return true
		}
	}
	return false
}

// latent adds the classes of the proxies that templates carry, at however many
// replicas: they may come to life without the injector being asked.
func (s *survey) latent() {
	for _, t := range s.templates {
		if !hasProxy(t) {
			continue
		}
		w := s.fromTemplate(t)
		for i := range t.Containers {
			c := &t.Containers[i]
			if c.Name != layout.ProxyContainer {
				continue
			}
			r := rawTrust{plane: t.PodLabels[labelControlPlane], release: t.PodAnnotations[annotationProxyVersion]}
			r.fromProxy(c)
			if r.plane == "" && len(s.out.Installations) == 1 {
				r.plane = s.out.Installations[0].Namespace // a hand-made template without labels
			}
			if r.ref != nil && t.PodLabels[labelComponent] != "" {
				continue // takes what the ConfigMap holds when it starts: no class of its own
			}
			trust, why, _ := s.trustOf(&r, t.Namespace, nil)
			class := s.class(r.plane, r.release, trust, why)
			class.Latent++
			w.Literal = append(w.Literal, class)
		}
	}
}

// readExternalWorkloads reads the workloads outside of the cluster (virtual
// machines). Their anchors are out of reach: each is a peer whose trust set is
// unknown.
func (s *survey) readExternalWorkloads() {
	r, err := s.served("workload.linkerd.io", "externalworkloads", "v1beta1", "v1alpha1")
	if errors.Is(err, mesh.ErrNoCRD) {
		return // nothing can be there
	}
	type external struct {
		mesh.Object
		Spec struct {
			MeshTLS struct {
				Identity   string `json:"identity"`
				ServerName string `json:"serverName"`
			} `json:"meshTLS"`
			WorkloadIPs []struct {
				IP string `json:"ip"`
			} `json:"workloadIPs"`
		} `json:"spec"`
	}
	var found []external
	if err == nil {
		err = s.c.ListJSON(s.ctx, r, mesh.ListOptions{}, func() { found = nil }, decode(&found))
	}
	s.unknown("ExternalWorkloads", err)
	plane := ""
	if len(s.out.Installations) == 1 {
		plane = s.out.Installations[0].Namespace
	}
	for _, e := range found {
		p := mesh.Peer{Namespace: e.Metadata.Namespace, Name: e.Metadata.Name, UID: e.Metadata.UID, External: true,
			Created: e.Metadata.CreationTimestamp, Deleting: e.Metadata.DeletionTimestamp != nil, TLSName: e.Spec.MeshTLS.ServerName}
		if len(e.Spec.WorkloadIPs) > 0 {
			p.IP = e.Spec.WorkloadIPs[0].IP
		}
		p.Class = s.class(plane, "", nil, "runs outside of the cluster: its anchors are where it was installed")
		p.Class.Peers++
		p.Workload = s.workload(r.Group+"/"+r.Version, "ExternalWorkload", p.Namespace, p.Name, p.UID, func(w *mesh.Workload) {
			w.Method, w.Why = mesh.RestartExternal, "outside of the cluster: whoever runs it has to restart it"
		})
		p.Workload.Pods = append(p.Workload.Pods, len(s.out.Peers))
		s.out.Peers = append(s.out.Peers, p)
	}
}
