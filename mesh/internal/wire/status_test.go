package wire_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/windlass-mesh/windlass/mesh/internal/wire"
	"github.com/windlass-mesh/windlass/mesh/internal/wiretest"
)

func TestARefusalInProtobufIsRead(t *testing.T) {
	refusal := wiretest.Encode(&metav1.Status{Status: "Failure", Message: "pods is forbidden", Reason: "Forbidden", Code: 403})
	message, ok := wire.StatusMessage(refusal)
	assert.True(t, ok)
	assert.Equal(t, "pods is forbidden", message)
	for _, other := range [][]byte{nil, []byte("k8s\x00"), []byte(`{"kind":"Status"}`), refusal[:len(refusal)/2], wiretest.Encode(&corev1.Pod{Spec: corev1.PodSpec{NodeName: "x"}})} {
		_, ok := wire.StatusMessage(other)
		assert.False(t, ok, "%q", other)
	}
}
