package layout

import "strings"

// redact blanks the body of every private key in a PEM text: letters and digits
// become "A", all else stays. It reports whether there was one.
func redact(text string) (string, bool) {
	const begin, end, label = "-----BEGIN ", "-----END ", "PRIVATE KEY"
	if !strings.Contains(text, label) {
		return text, false
	}
	var out []byte
	for at := 0; ; {
		i := strings.Index(text[at:], begin)
		if i < 0 {
			break
		}
		i += at + len(begin)
		line := text[i:]
		if nl := strings.IndexAny(line, "\r\n"); nl >= 0 {
			line = line[:nl]
		}
		at = i
		l := strings.Index(line, label)
		if l < 0 {
			continue
		}
		body := i + l + len(label)
		stop := len(text)
		if j := strings.Index(text[body:], end); j >= 0 {
			stop = body + j
		}
		if out == nil {
			out = []byte(text)
		}
		// The rest of the label's own line goes too: a PEM squeezed into one
		// line has the key there. The label of "PGP PRIVATE KEY BLOCK" is lost
		// with it, to no harm.
		for k := body; k < stop; k++ {
			if c := out[k]; c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '+' || c == '/' {
				out[k] = 'A'
			}
		}
		at = stop
	}
	if out == nil {
		return text, false
	}
	return string(out), true
}
