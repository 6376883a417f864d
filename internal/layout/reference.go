package layout

// resolve fills in the values taken by reference from the ConfigMaps of the
// same manifest, and drops those that it does not have, with a note: that a
// manifest holds only a part of a cluster is no error.
func (r *reader) resolve() {
	if len(r.references) == 0 {
		return
	}
	texts := r.m.Texts
	r.m.Texts = make([]Text, 0, len(texts))
	next := 0
	for i, t := range texts {
		if next == len(r.references) || r.references[next].text != i {
			r.m.Texts = append(r.m.Texts, t)
			continue
		}
		ref := r.references[next]
		next++
		l, origin, why := r.referred(t.Object.Namespace, ref)
		switch {
		case why != "":
			r.noteOn(t.Object, NoteUnresolved, ref.line, t.Field, ref.ref.String()+": "+why)
		case blank(l.text):
			r.noteOn(t.Object, NoteEmpty, l.line, t.Field, "no trust anchors: "+origin.String()+" is empty")
		default:
			t.Via = origin
			r.keep(t, l)
		}
	}
}

// referred returns the text of a reference, or why there is none.
func (r *reader) referred(namespace string, ref reference) (l located, from *Origin, why string) {
	if ref.ref.Kind != "ConfigMap" {
		return l, nil, "only values from ConfigMaps are followed"
	}
	cm := r.configMaps[objectKey{namespace, ref.ref.Name}]
	if cm == nil && namespace != "" {
		cm = r.configMaps[objectKey{"", ref.ref.Name}]
	}
	if cm == nil && namespace == "" {
		cm = r.configMaps[objectKey{"*", ref.ref.Name}]
	}
	if cm == nil {
		return l, nil, "not in this manifest"
	}
	field := key("data", ref.ref.Key)
	l, seen := cm.values[ref.ref.Key]
	if !seen {
		r.document, r.object, r.src = ref.document, cm.object, cm.src
		var ok bool
		if l, ok = r.text(cm.src, r.get(cm.data, ref.ref.Key), field); !ok {
			return l, nil, "the ConfigMap in this manifest has no such key"
		}
		if cm.values == nil {
			cm.values = map[string]located{}
		}
		cm.values[ref.ref.Key] = l
	}
	return l, &Origin{cm.object, field}, ""
}
