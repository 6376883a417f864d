package layout

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// isJSON reports whether a text is one JSON value, and an object.
func isJSON(text string) bool {
	return strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") && json.Valid([]byte(text))
}

// editJSON sets the string at a path of a JSON object.
func editJSON(text string, path []string, value string) (string, error) {
	object := strings.IndexByte(text, '{')
	for i, name := range path {
		start, end, found, err := memberOf(text, object, name)
		switch {
		case err != nil:
			return "", err
		case found && i == len(path)-1:
			return text[:start] + quoteJSON(value) + text[end:], nil
		case found && text[start] == '{':
			object = start
		case found && text[start:end] == "null":
			return text[:start] + wrapJSON(path[i+1:], value) + text[end:], nil
		case found:
			return "", fmt.Errorf("%w: %s is not an object", ErrEdit, name)
		default:
			return insertJSON(text, object, name, wrapJSON(path[i+1:], value)), nil
		}
	}
	return "", fmt.Errorf("%w: no path", ErrEdit)
}

// memberOf returns where the value of a member stands in the object that begins
// at an offset. The last one of a name counts.
func memberOf(text string, object int, name string) (start, end int, found bool, err error) {
	dec := json.NewDecoder(strings.NewReader(text[object:]))
	dec.UseNumber()
	if _, err := dec.Token(); err != nil {
		return 0, 0, false, err
	}
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return 0, 0, false, err
		}
		at := object + int(dec.InputOffset())
		at += strings.IndexByte(text[at:], ':') + 1
		at += len(text[at:]) - len(strings.TrimLeft(text[at:], " \t\r\n"))
		var skipped json.RawMessage
		if err := dec.Decode(&skipped); err != nil {
			return 0, 0, false, err
		}
		if k == name {
			start, end, found = at, object+int(dec.InputOffset()), true
		}
	}
	return start, end, found, nil
}

// insertJSON puts a member first into an object, on a line of its own where the
// others stand so.
func insertJSON(text string, object int, name, value string) string {
	rest := text[object+1:]
	space := rest[:len(rest)-len(strings.TrimLeft(rest, " \t\r\n"))]
	member := quoteJSON(name) + ":" + value
	if strings.HasPrefix(rest[len(space):], "}") {
		return text[:object+1] + member + rest
	}
	return text[:object+1] + space + member + "," + rest
}

// wrapJSON puts a string below further names.
func wrapJSON(path []string, value string) string {
	out := quoteJSON(value)
	for i := len(path) - 1; i >= 0; i-- {
		out = "{" + quoteJSON(path[i]) + ":" + out + "}"
	}
	return out
}

func quoteJSON(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // writing a string to memory cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}
