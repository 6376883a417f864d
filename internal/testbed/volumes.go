package testbed

import (
	"context"
	"io/fs"
	"maps"
	"path"
	"strings"

	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReadFile reads a file that is mounted into the container, by its absolute
// path, as the node has it now. Files of ConfigMaps, Secrets, the downward API,
// ServiceAccount tokens and projections of these are there; others are not:
// errors.Is(err, fs.ErrNotExist).
func (c *Container) ReadFile(ctx context.Context, name string) ([]byte, error) {
	mount := mountOf(&c.Spec, name)
	if mount == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	files, frozen := c.frozen[mount.MountPath]
	if !frozen {
		var err error
		if files, err = c.Pod.volume(ctx, mount.Name); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	relative := strings.TrimPrefix(strings.TrimPrefix(name, mount.MountPath), "/")
	content, ok := files[path.Join(mount.SubPath, relative)]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return content, nil
}

func mountOf(spec *corev1.Container, name string) *corev1.VolumeMount {
	var best *corev1.VolumeMount
	for i := range spec.VolumeMounts {
		m := &spec.VolumeMounts[i]
		under := name == m.MountPath || strings.HasPrefix(name, strings.TrimSuffix(m.MountPath, "/")+"/")
		if under && (best == nil || len(m.MountPath) > len(best.MountPath)) {
			best = m
		}
	}
	return best
}

// volume returns the files of a volume of the pod.
func (p *Pod) volume(ctx context.Context, name string) (map[string][]byte, error) {
	for i := range p.Object.Spec.Volumes {
		v := &p.Object.Spec.Volumes[i]
		if v.Name != name {
			continue
		}
		switch {
		case v.ConfigMap != nil:
			data, err := p.lookup(ctx, p.Node.Volumes, kindConfigMap, v.ConfigMap.Name, v.ConfigMap.Optional)
			return pick(data, v.ConfigMap.Items), err
		case v.Secret != nil:
			data, err := p.lookup(ctx, p.Node.Volumes, kindSecret, v.Secret.SecretName, v.Secret.Optional)
			return pick(data, v.Secret.Items), err
		case v.DownwardAPI != nil:
			return p.downward(v.DownwardAPI.Items)
		case v.Projected != nil:
			return p.projected(ctx, v.Projected.Sources)
		}
	}
	return nil, nil
}

func (p *Pod) projected(ctx context.Context, sources []corev1.VolumeProjection) (map[string][]byte, error) {
	out := make(map[string][]byte)
	for _, s := range sources {
		var files map[string][]byte
		var err error
		switch {
		case s.ConfigMap != nil:
			files, err = p.lookup(ctx, p.Node.Volumes, kindConfigMap, s.ConfigMap.Name, s.ConfigMap.Optional)
			files = pick(files, s.ConfigMap.Items)
		case s.Secret != nil:
			files, err = p.lookup(ctx, p.Node.Volumes, kindSecret, s.Secret.Name, s.Secret.Optional)
			files = pick(files, s.Secret.Items)
		case s.DownwardAPI != nil:
			files, err = p.downward(s.DownwardAPI.Items)
		case s.ServiceAccountToken != nil:
			var token string
			token, err = p.token(ctx, s.ServiceAccountToken)
			files = map[string][]byte{s.ServiceAccountToken.Path: []byte(token)}
		}
		if err != nil {
			return nil, err
		}
		maps.Copy(out, files)
	}
	return out, nil
}

func (p *Pod) downward(items []corev1.DownwardAPIVolumeFile) (map[string][]byte, error) {
	out := make(map[string][]byte)
	for _, item := range items {
		if item.FieldRef == nil {
			continue
		}
		value, err := p.field(item.FieldRef.FieldPath)
		if err != nil {
			return nil, err
		}
		out[item.Path] = []byte(value)
	}
	return out, nil
}

// token asks for a token that is bound to the pod, as a kubelet does.
func (p *Pod) token(ctx context.Context, s *corev1.ServiceAccountTokenProjection) (string, error) {
	request := &authnv1.TokenRequest{Spec: authnv1.TokenRequestSpec{
		ExpirationSeconds: s.ExpirationSeconds,
		BoundObjectRef:    &authnv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Object.Name, UID: p.Object.UID},
	}}
	if s.Audience != "" {
		request.Spec.Audiences = []string{s.Audience}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	got, err := p.Node.kubelet.client.CoreV1().ServiceAccounts(p.Object.Namespace).
		CreateToken(ctx, p.Object.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return got.Status.Token, nil
}

// pick maps keys to paths where a volume names some.
func pick(data map[string][]byte, items []corev1.KeyToPath) map[string][]byte {
	if len(items) == 0 {
		return data
	}
	out := make(map[string][]byte)
	for _, item := range items {
		if content, ok := data[item.Key]; ok {
			out[item.Path] = content
		}
	}
	return out
}

func configMapData(cm *corev1.ConfigMap) map[string][]byte {
	out := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		out[k] = []byte(v)
	}
	maps.Copy(out, cm.BinaryData)
	return out
}

func secretData(s *corev1.Secret) map[string][]byte {
	if s.Data == nil {
		return map[string][]byte{} // there, and empty
	}
	return s.Data
}
