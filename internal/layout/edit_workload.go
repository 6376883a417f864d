package layout

import (
	"encoding/json"
	"fmt"
	"strings"
)

// FieldEdit is one string of an object to be replaced.
type FieldEdit struct {
	Pointer string // RFC 6901
	Old     string
	New     string
	// OldText is the PEM that Old holds, decoded.
	OldText string
}

// EditWorkload returns the edits that give the proxies and linkerd-identity of a
// workload of the control plane, as Linkerd up to 2.10 makes them, other
// anchors: the literal env of linkerd-proxy, and identity's own copy in its
// flag (2.9) or env (2.10). Values taken by reference stay. The object is its
// JSON; what is up to date already gives no edit.
func EditWorkload(object []byte, anchors string) ([]FieldEdit, error) {
	if err := plainText(anchors); err != nil {
		return nil, err
	}
	var o struct {
		Spec struct {
			Template struct {
				Spec map[string]json.RawMessage `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(object, &o); err != nil {
		return nil, fmt.Errorf("the workload does not parse: %w", err)
	}
	var out []FieldEdit
	for _, list := range []string{"initContainers", "containers"} {
		var containers []editContainer
		if raw, ok := o.Spec.Template.Spec[list]; ok {
			if err := json.Unmarshal(raw, &containers); err != nil {
				return nil, fmt.Errorf("%s does not parse: %w", list, err)
			}
		}
		for i, c := range containers {
			edits, err := c.edits(fmt.Sprintf("/spec/template/spec/%s/%d", list, i), anchors)
			if err != nil {
				return nil, err
			}
			out = append(out, edits...)
		}
	}
	return out, nil
}

type editContainer struct {
	Name string `json:"name"`
	Env  []struct {
		Name      string          `json:"name"`
		Value     *string         `json:"value"`
		ValueFrom json.RawMessage `json:"valueFrom"`
	} `json:"env"`
	Command []string `json:"command"`
	Args    []string `json:"args"`
}

func (c editContainer) edits(at, anchors string) (out []FieldEdit, err error) {
	add := func(pointer, old, text, decoded string) {
		if text != old {
			out = append(out, FieldEdit{at + pointer, old, text, decoded})
		}
	}
	last := map[string]int{}
	for i, e := range c.Env {
		last[e.Name] = i + 1
	}
	for i, e := range c.Env {
		if last[e.Name] != i+1 || e.Value == nil || len(e.ValueFrom) > 0 && string(e.ValueFrom) != "null" {
			continue
		}
		pointer := fmt.Sprintf("/env/%d/value", i)
		switch {
		case e.Name == ProxyAnchorsEnv && c.Name == ProxyContainer:
			add(pointer, *e.Value, endLike(*e.Value, anchors), *e.Value)
		case e.Name == identityAnchorsEnv:
			text, was, err := reencode(*e.Value, anchors)
			if err != nil {
				return nil, fmt.Errorf("%s%s: %w", at, pointer, err)
			}
			add(pointer, *e.Value, text, was)
		}
	}
	for _, list := range []struct {
		name string
		args []string
	}{{"command", c.Command}, {"args", c.Args}} {
		for i, arg := range list.args {
			flag := strings.TrimLeft(arg, "-")
			if flag == arg || !strings.HasPrefix(flag, identityAnchorsFlag) {
				continue
			}
			switch value, ok := strings.CutPrefix(flag[len(identityAnchorsFlag):], "="); {
			case ok:
				text, was, err := reencode(value, anchors)
				if err != nil {
					return nil, fmt.Errorf("%s/%s/%d: %w", at, list.name, i, err)
				}
				add(fmt.Sprintf("/%s/%d", list.name, i), arg, arg[:len(arg)-len(value)]+text, was)
			case flag == identityAnchorsFlag && i+1 < len(list.args):
				text, was, err := reencode(list.args[i+1], anchors)
				if err != nil {
					return nil, fmt.Errorf("%s/%s/%d: %w", at, list.name, i+1, err)
				}
				add(fmt.Sprintf("/%s/%d", list.name, i+1), list.args[i+1], text, was)
			}
		}
	}
	return out, nil
}

// reencode replaces a text in base64 with another, and leaves it as it is where
// it holds that one already. It returns the old text too, decoded.
func reencode(old, text string) (encoded, was string, err error) {
	decoded, ok := decodeBase64(old)
	if !ok {
		return "", "", fmt.Errorf("%w: not valid base64", ErrEdit)
	}
	if text = endLike(decoded, text); text == decoded {
		return old, decoded, nil
	}
	return encodeBase64(text), decoded, nil
}
