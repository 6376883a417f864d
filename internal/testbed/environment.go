package testbed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// The rules by which a container's environment is made are those of
// pkg/kubelet/kubelet_pods.go in Kubernetes 1.36. Only the variables that name
// the Services of the namespace are left out.

// environment resolves a container's environment as the node knows it now.
func (p *Pod) environment(ctx context.Context, spec *corev1.Container) (map[string]string, error) {
	env := make(map[string]string)
	for _, from := range spec.EnvFrom {
		var data map[string][]byte
		var err error
		switch {
		case from.ConfigMapRef != nil:
			data, err = p.lookup(ctx, p.Node.Env, kindConfigMap, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
		case from.SecretRef != nil:
			data, err = p.lookup(ctx, p.Node.Env, kindSecret, from.SecretRef.Name, from.SecretRef.Optional)
		}
		if err != nil {
			return nil, err
		}
		for k, v := range data {
			env[from.Prefix+k] = string(v)
		}
	}
	for _, e := range spec.Env {
		value, set, err := p.envValue(ctx, spec, e, env)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", e.Name, err)
		}
		if set {
			env[e.Name] = value
		}
	}
	return env, nil
}

func (p *Pod) envValue(ctx context.Context, spec *corev1.Container, e corev1.EnvVar, env map[string]string) (value string, set bool, err error) {
	switch from := e.ValueFrom; {
	case from == nil:
		return expand(e.Value, env), true, nil
	case from.FieldRef != nil:
		value, err = p.field(from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = resourceField(spec, from.ResourceFieldRef)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		r := from.ConfigMapKeyRef
		return p.envKey(ctx, kindConfigMap, r.Name, r.Key, r.Optional)
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		return p.envKey(ctx, kindSecret, r.Name, r.Key, r.Optional)
	default:
		return "", false, errors.New("this source of a value is not supported")
	}
}

func (p *Pod) envKey(ctx context.Context, kind, name, key string, optional *bool) (string, bool, error) {
	data, err := p.lookup(ctx, p.Node.Env, kind, name, optional)
	if err != nil {
		return "", false, err
	}
	value, ok := data[key]
	if !ok && (optional == nil || !*optional) {
		return "", false, fmt.Errorf("couldn't find key %s in %s %s/%s", key, kind, p.Object.Namespace, name)
	}
	return string(value), ok, nil
}

// lookup reads an object through a view; nil where it is optional and not there.
func (p *Pod) lookup(ctx context.Context, view *NodeView, kind, name string, optional *bool) (map[string][]byte, error) {
	data, ok, err := view.read(ctx, objectKey{kind, p.Object.Namespace, name})
	if err != nil {
		return nil, err
	}
	if !ok && (optional == nil || !*optional) {
		return nil, fmt.Errorf("%s %q not found", strings.ToLower(kind), name)
	}
	return data, nil
}

// field is a field of the pod as the downward API gives it.
func (p *Pod) field(fieldPath string) (string, error) {
	if name, key, ok := strings.Cut(strings.TrimSuffix(fieldPath, "']"), "['"); ok {
		switch name {
		case "metadata.labels":
			return p.Object.Labels[key], nil
		case "metadata.annotations":
			return p.Object.Annotations[key], nil
		}
	}
	switch fieldPath {
	case "metadata.name":
		return p.Object.Name, nil
	case "metadata.namespace":
		return p.Object.Namespace, nil
	case "metadata.uid":
		return string(p.Object.UID), nil
	case "metadata.labels":
		return quoted(p.Object.Labels), nil
	case "metadata.annotations":
		return quoted(p.Object.Annotations), nil
	case "spec.nodeName":
		return p.Node.Name, nil
	case "spec.serviceAccountName":
		return p.Object.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return p.IP, nil
	case "status.hostIP", "status.hostIPs":
		return nodeIP, nil
	}
	return "", fmt.Errorf("field %s is not supported", fieldPath)
}

func quoted(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%s\n", k, strconv.Quote(m[k]))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// resourceField gives a request or limit in units of its divisor, rounded up;
// a limit that is not set is what the node has.
func resourceField(spec *corev1.Container, ref *corev1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	var list corev1.ResourceList
	switch kind {
	case "limits":
		list = spec.Resources.Limits
	case "requests":
		list = spec.Resources.Requests
	default:
		return "", fmt.Errorf("resource %s is not supported", ref.Resource)
	}
	q, ok := list[corev1.ResourceName(name)]
	if !ok && kind == "limits" {
		q = nodeCapacity[corev1.ResourceName(name)]
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	milli := divisor.MilliValue()
	return strconv.FormatInt((q.MilliValue()+milli-1)/milli, 10), nil
}

// expand replaces $(NAME) by what is in env and keeps references to what is
// not; $$ is a dollar sign that starts no reference.
func expand(s string, env map[string]string) string {
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			out.WriteString(s)
			return out.String()
		}
		out.WriteString(s[:i])
		s = s[i:]
		if name, rest, ok := strings.Cut(s[2:], ")"); s[1] == '(' && ok {
			if value, known := env[name]; known {
				out.WriteString(value)
			} else {
				out.WriteString("$(" + name + ")")
			}
			s = rest
			continue
		}
		if s[1] == '$' {
			out.WriteByte('$')
		} else {
			out.WriteString(s[:2])
		}
		s = s[2:]
	}
}
