package wire

import "google.golang.org/protobuf/encoding/protowire"

// StatusMessage returns the message of a metav1.Status: to a request for
// protobuf an API server explains its refusal in protobuf, too. ok is false for
// anything else.
func StatusMessage(b []byte) (message string, ok bool) {
	const magic = "k8s\x00"
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return "", false
	}
	// runtime.Unknown, whose first field is the TypeMeta.
	unknown := fields{b: b[len(magic):]}
	var kind string
	var raw []byte
	for unknown.next() {
		switch unknown.num {
		case 1:
			kind = stringField(unknown.v, 2)
		case unknownRaw:
			raw = unknown.v
		}
	}
	if unknown.err != nil || kind != "Status" {
		return "", false
	}
	return stringField(raw, 3), true
}

// stringField returns a field of a message, "" where it has none.
func stringField(b []byte, num protowire.Number) (out string) {
	f := fields{b: b}
	for f.next() {
		if f.num == num {
			out = string(f.v)
		}
	}
	return out
}
