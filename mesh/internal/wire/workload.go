package wire

import "google.golang.org/protobuf/encoding/protowire"

// Template is a pod template and what surrounds it in its workload.
type Template struct {
	Meta // the workload's

	Replicas    int  // as asked for; 1 where the spec leaves it out
	HasReplicas bool // false for kinds that have no such number
	Paused      bool // a paused Deployment, a suspended CronJob
	OnDelete    bool // updateStrategy OnDelete
	Partition   int  // of a StatefulSet's rolling update

	PodLabels, PodAnnotations map[string]string // the wanted ones, of the template
	PodSpec
}

// shape is where a kind keeps what a Template holds; 0 is nowhere.
type shape struct {
	replicas, template, paused, strategy, jobTemplate protowire.Number
}

var shapes = map[string]shape{
	"Deployment":            {replicas: 1, template: 3, paused: 7},
	"StatefulSet":           {replicas: 1, template: 3, strategy: 7},
	"DaemonSet":             {template: 2, strategy: 3},
	"ReplicaSet":            {replicas: 1, template: 3},
	"ReplicationController": {replicas: 1, template: 3},
	"Job":                   {template: 6, paused: 10},
	"CronJob":               {jobTemplate: 5, paused: 4},
}

// Workload reads an object of one of the kinds that make pods: Deployment,
// StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob. Any
// other kind gives its metadata alone.
func (d *Decoder) Workload(kind string, b []byte) (t Template, err error) {
	s := shapes[kind]
	t.Replicas, t.HasReplicas = 1, s.replicas != 0
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			t.Meta, err = d.meta(f.v)
		case 2:
			err = d.workloadSpec(&t, s, f.v)
		}
		if err != nil {
			return t, err
		}
	}
	return t, f.err
}

func (d *Decoder) workloadSpec(t *Template, s shape, b []byte) (err error) {
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case s.replicas:
			t.Replicas = int(int32(f.u))
		case s.paused:
			t.Paused = f.u != 0
		case s.template:
			err = d.template(t, f.v)
		case s.strategy:
			err = updateStrategy(t, f.v)
		case s.jobTemplate:
			job := fields{b: f.v}
			for job.next() {
				if job.num == 2 {
					if err = d.workloadSpec(t, shape{template: shapes["Job"].template}, job.v); err != nil {
						return err
					}
				}
			}
			err = job.err
		}
		if err != nil {
			return err
		}
	}
	return f.err
}

func (d *Decoder) template(t *Template, b []byte) (err error) {
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			var m Meta
			m, err = d.meta(f.v)
			t.PodLabels, t.PodAnnotations = m.Labels, m.Annotations
		case 2:
			t.PodSpec, err = d.podSpec(f.v)
		}
		if err != nil {
			return err
		}
	}
	return f.err
}

// updateStrategy reads that of a StatefulSet or a DaemonSet; the latter has no
// partition.
func updateStrategy(t *Template, b []byte) error {
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			t.OnDelete = string(f.v) == "OnDelete"
		case 2:
			rolling := fields{b: f.v}
			for rolling.next() {
				if rolling.num == 1 && rolling.v == nil {
					t.Partition = int(int32(rolling.u))
				}
			}
			if rolling.err != nil {
				return rolling.err
			}
		}
	}
	return f.err
}
