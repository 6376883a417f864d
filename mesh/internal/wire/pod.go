package wire

import "time"

// EnvVar is one variable of a container.
type EnvVar struct {
	Name, Value string
	Ref         *KeyRef // nil for a literal value
}

// KeyRef is where a variable takes its value from.
type KeyRef struct {
	Kind      string // ConfigMap, Secret; "other" for what is neither
	Name, Key string
}

// Container is one of a pod's containers.
type Container struct {
	Name, Image string
	Init        bool
	Always      bool // restartPolicy Always: with Init, a native sidecar
	Args        []string
	Env         []EnvVar // the wanted ones, in order, repeated ones included

	// From the pod's status, zero in a template.
	Running   bool
	Ready     bool
	Restarts  int
	StartedAt time.Time // of the running process
}

// PodSpec is a pod's spec, or that of a template.
type PodSpec struct {
	Node, ServiceAccount string
	HostNetwork          bool
	Containers           []Container // the wanted ones
}

// Pod is one pod.
type Pod struct {
	Meta
	PodSpec
	Phase, IP string
}

// Pod reads a v1 Pod.
func (d *Decoder) Pod(b []byte) (p Pod, err error) {
	var status []byte
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			p.Meta, err = d.meta(f.v)
		case 2:
			p.PodSpec, err = d.podSpec(f.v)
		case 3:
			status = f.v
		}
		if err != nil {
			return p, err
		}
	}
	if f.err != nil {
		return p, f.err
	}
	return p, d.status(&p, status)
}

func (d *Decoder) podSpec(b []byte) (s PodSpec, err error) {
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 2, 20:
			err = d.container(&s, f.v, f.num == 20)
		case 8:
			s.ServiceAccount = d.Text(f.v)
		case 10:
			s.Node = d.Text(f.v)
		case 11:
			s.HostNetwork = f.u != 0
		}
		if err != nil {
			return s, err
		}
	}
	return s, f.err
}

// container reads a container if its name is wanted. The name comes first on
// the wire, so the others cost one comparison.
func (d *Decoder) container(s *PodSpec, b []byte, init bool) error {
	var c Container
	named := false
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			if !d.Containers[string(f.v)] {
				return nil
			}
			c.Name, named = d.Text(f.v), true
		case 2:
			c.Image = d.Text(f.v)
		case 4:
			c.Args = append(c.Args, d.Text(f.v))
		case 7:
			if err := d.env(&c, f.v); err != nil {
				return err
			}
		case 24:
			c.Always = string(f.v) == "Always"
		}
	}
	if f.err == nil && named {
		c.Init = init
		s.Containers = append(s.Containers, c)
	}
	return f.err
}

func (d *Decoder) env(c *Container, b []byte) error {
	var e EnvVar
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			if !d.Env[string(f.v)] {
				return nil
			}
			e.Name = d.Text(f.v)
		case 2:
			e.Value = d.Text(f.v)
		case 3:
			ref, err := d.valueFrom(f.v)
			if err != nil {
				return err
			}
			e.Ref = ref
		}
	}
	if f.err == nil && e.Name != "" {
		c.Env = append(c.Env, e)
	}
	return f.err
}

func (d *Decoder) valueFrom(b []byte) (*KeyRef, error) {
	ref := &KeyRef{Kind: "other"}
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 3:
			ref.Kind = "ConfigMap"
		case 4:
			ref.Kind = "Secret"
		default:
			continue
		}
		sel := fields{b: f.v}
		for sel.next() {
			switch sel.num {
			case 1:
				local := fields{b: sel.v}
				for local.next() {
					if local.num == 1 {
						ref.Name = d.Text(local.v)
					}
				}
				sel.err = local.err
			case 2:
				ref.Key = d.Text(sel.v)
			}
		}
		if sel.err != nil {
			return nil, sel.err
		}
	}
	return ref, f.err
}

func (d *Decoder) status(p *Pod, b []byte) (err error) {
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			p.Phase = d.Text(f.v)
		case 6:
			p.IP = string(f.v)
		case 8, 10:
			err = d.containerStatus(p, f.v, f.num == 10)
		}
		if err != nil {
			return err
		}
	}
	return f.err
}

func (d *Decoder) containerStatus(p *Pod, b []byte, init bool) (err error) {
	var name []byte
	var got Container
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			if name = f.v; !d.Containers[string(name)] {
				return nil
			}
		case 2:
			state := fields{b: f.v}
			for state.next() {
				if state.num != 2 {
					continue
				}
				got.Running = true
				running := fields{b: state.v}
				for running.next() {
					if running.num == 1 {
						if got.StartedAt, err = timeOf(running.v); err != nil {
							return err
						}
					}
				}
				state.err = running.err
			}
			if state.err != nil {
				return state.err
			}
		case 4:
			got.Ready = f.u != 0
		case 5:
			got.Restarts = int(int32(f.u))
		}
	}
	for i := range p.Containers {
		if c := &p.Containers[i]; c.Init == init && c.Name == string(name) {
			c.Running, c.Ready, c.Restarts, c.StartedAt = got.Running, got.Ready, got.Restarts, got.StartedAt
		}
	}
	return f.err
}
