package wire

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/mesh/internal/wiretest"
)

var now = wiretest.Now

const (
	anchorsEnv = wiretest.AnchorsEnv
	nameEnv    = wiretest.NameEnv
)

func decoder() *Decoder {
	set := func(names ...string) map[string]bool {
		m := map[string]bool{}
		for _, n := range names {
			m[n] = true
		}
		return m
	}
	return &Decoder{
		Labels:      set("linkerd.io/control-plane-ns", "linkerd.io/control-plane-component"),
		Annotations: set("linkerd.io/proxy-version", "linkerd.io/trust-root-sha256"),
		Containers:  set("linkerd-proxy", "identity"),
		Env:         set(anchorsEnv, nameEnv),
	}
}

func protobufOf(t testing.TB, o runtime.Object) []byte {
	t.Helper()
	return wiretest.Encode(o)
}

func podList(t testing.TB, n, bundles, anchors int) *corev1.PodList {
	t.Helper()
	lab := testca.New(now)
	var texts []string
	for range bundles {
		text := ""
		for a := range anchors {
			text += lab.Root(fmt.Sprintf("root %d", a)).PEM()
		}
		texts = append(texts, text)
	}
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "12345", Continue: "more"}}
	for i := range n {
		list.Items = append(list.Items, wiretest.Injected(i, texts[i%len(texts)]))
	}
	return list
}

func readPods(t testing.TB, d *Decoder, data []byte) ([]Pod, ListMeta) {
	t.Helper()
	var pods []Pod
	meta, err := ReadList(bytes.NewReader(data), func(b []byte) error {
		p, err := d.Pod(b)
		pods = append(pods, p)
		return err
	})
	require.NoError(t, err)
	return pods, meta
}
