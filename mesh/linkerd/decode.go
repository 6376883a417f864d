package linkerd

import (
	"encoding/json"
	"fmt"

	"github.com/windlass-mesh/windlass/mesh"
)

type configMap struct {
	mesh.Object
	Data       map[string]string `json:"data"`
	BinaryData map[string][]byte `json:"binaryData"`
	Immutable  bool              `json:"immutable"`
}

type secret struct {
	mesh.Object
	Data      map[string][]byte `json:"data"`
	Type      string            `json:"type"`
	Immutable bool              `json:"immutable"`
}

// decode returns a function that appends each item of a list.
func decode[T any](into *[]T) func(json.RawMessage) error {
	return func(raw json.RawMessage) error {
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("an item does not parse: %w", err)
		}
		*into = append(*into, v)
		return nil
	}
}
