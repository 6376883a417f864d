package wire

import "time"

// Interner keeps one copy of each text: names, images and trust bundles repeat
// themselves all over a cluster. The zero value is ready; it is not safe for
// concurrent use.
type Interner struct{ texts map[string]string }

// Text returns the one copy of b.
func (i *Interner) Text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := i.texts[string(b)]; ok { // no allocation for the look-up
		return s
	}
	if i.texts == nil {
		i.texts = make(map[string]string)
	}
	s := string(b)
	i.texts[s] = s
	return s
}

// Owner is an entry of ownerReferences.
type Owner struct {
	APIVersion, Kind, Name, UID string
	Controller                  bool
}

// Meta is the part of an object's metadata that is kept.
type Meta struct {
	Namespace, Name, UID, ResourceVersion string
	Created, Deleted                      time.Time // zero where unset
	Owners                                []Owner
	Labels, Annotations                   map[string]string // the wanted keys alone; nil for none
}

// Controller returns the owner that controls the object, nil for none.
func (m *Meta) Controller() *Owner {
	for i := range m.Owners {
		if m.Owners[i].Controller {
			return &m.Owners[i]
		}
	}
	return nil
}

// Decoder reads items. Its fields say what to keep; what they do not name is
// passed over. It is not safe for concurrent use.
type Decoder struct {
	Labels      map[string]bool
	Annotations map[string]bool
	Containers  map[string]bool // by name, in either list of a pod
	Env         map[string]bool // of those containers

	Interner
}

func (d *Decoder) meta(b []byte) (m Meta, err error) {
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			m.Name = string(f.v)
		case 3:
			m.Namespace = d.Text(f.v)
		case 5:
			m.UID = string(f.v)
		case 6:
			m.ResourceVersion = string(f.v)
		case 8:
			m.Created, err = timeOf(f.v)
		case 9:
			m.Deleted, err = timeOf(f.v)
		case 11:
			err = d.entry(f.v, d.Labels, &m.Labels)
		case 12:
			err = d.entry(f.v, d.Annotations, &m.Annotations)
		case 13:
			var o Owner
			o, err = d.owner(f.v)
			m.Owners = append(m.Owners, o)
		}
		if err != nil {
			return m, err
		}
	}
	return m, f.err
}

// entry reads an entry of a map of strings, and keeps it where it is wanted.
func (d *Decoder) entry(b []byte, wanted map[string]bool, into *map[string]string) error {
	var key, value []byte
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			key = f.v
		case 2:
			value = f.v
		}
	}
	if f.err == nil && wanted[string(key)] {
		if *into == nil {
			*into = make(map[string]string, 4)
		}
		(*into)[d.Text(key)] = d.Text(value)
	}
	return f.err
}

func (d *Decoder) owner(b []byte) (o Owner, err error) {
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			o.Kind = d.Text(f.v)
		case 3:
			o.Name = d.Text(f.v)
		case 4:
			o.UID = d.Text(f.v)
		case 5:
			o.APIVersion = d.Text(f.v)
		case 6:
			o.Controller = f.u != 0
		}
	}
	return o, f.err
}

// timeOf reads a metav1.Time; a zero one is the zero time.
func timeOf(b []byte) (time.Time, error) {
	var seconds, nanos uint64
	f := fields{b: b}
	for f.next() {
		switch f.num {
		case 1:
			seconds = f.u
		case 2:
			nanos = f.u
		}
	}
	if f.err != nil || seconds == 0 && nanos == 0 {
		return time.Time{}, f.err
	}
	return time.Unix(int64(seconds), int64(int32(nanos))).UTC(), nil
}

// Metadata reads the metadata of any object, PartialObjectMetadata included:
// all kinds have it as field 1.
func (d *Decoder) Metadata(b []byte) (m Meta, err error) {
	f := fields{b: b}
	for f.next() {
		if f.num == 1 {
			return d.meta(f.v)
		}
	}
	return m, f.err
}
