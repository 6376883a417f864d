package testbed

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExpandFollowsKubernetes(t *testing.T) {
	env := map[string]string{"A": "a", "REF": "$(A)", "EMPTY": ""}
	for in, want := range map[string]string{
		"":              "",
		"plain":         "plain",
		"$(A)":          "a",
		"x$(A)y$(A)":    "xaya",
		"$(EMPTY)":      "",
		"$(NOT)":        "$(NOT)",
		"$$(A)":         "$(A)",
		"$$$(A)":        "$a",
		"$$":            "$",
		"$":             "$",
		"$A":            "$A",
		"$(A":           "$(A",
		"$(REF)":        "$(A)",
		`{"ns":"$(A)"}`: `{"ns":"a"}`,
	} {
		require.Equal(t, want, expand(in, env), "%q", in)
	}
}

func TestAddressesAreUniqueAndGivenAgain(t *testing.T) {
	h := hosts{number: 3, cluster: 2, used: make(map[int]bool)}
	seen := make(map[string]bool)
	for range 4000 {
		pod, loopback := h.take()
		require.False(t, seen[pod])
		require.Equal(t, pod[2:], loopback[3:])
		seen[pod] = true
		require.Contains(t, pod, "10.131.")
	}
	for pod := range seen {
		h.give("127" + pod[2:])
	}
	require.Empty(t, h.used)
}
