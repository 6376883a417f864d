package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"sigs.k8s.io/yaml"

	"github.com/windlass-mesh/windlass/bundle"
)

// print writes v as JSON or YAML, or calls text for people.
func (a *app) print(v any, text func(w io.Writer) error) error {
	var out bytes.Buffer
	switch a.output {
	case "json", "yaml":
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(v); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
		if a.output == "yaml" {
			y, err := yaml.JSONToYAML(out.Bytes())
			if err != nil {
				return fmt.Errorf("write YAML: %w", err)
			}
			out = *bytes.NewBuffer(y)
		}
	default:
		if err := text(&out); err != nil {
			return err
		}
	}
	_, err := a.Stdout.Write(out.Bytes())
	return err
}

// note writes a line for people to standard error.
func (a *app) note(format string, args ...any) {
	fmt.Fprintln(a.Stderr, visible(fmt.Sprintf(format, args...)))
}

// visible makes text that came from elsewhere (names in certificates and
// manifests, of files) fit for a terminal: no escape sequence, no second line,
// nothing that turns the order of what is read.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return utf8.RuneError
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// anchorJSON is one certificate in JSON. Its fields are part of the contract
// of the command line: add, never rename.
type anchorJSON struct {
	Subject    string   `json:"subject"`
	Issuer     string   `json:"issuer"`
	Serial     string   `json:"serial"`
	SHA256     string   `json:"sha256"`
	AnchorID   string   `json:"anchorId"`
	NotBefore  string   `json:"notBefore"`
	NotAfter   string   `json:"notAfter"`
	Key        string   `json:"key"`
	IsCA       bool     `json:"isCA"`
	SelfSigned bool     `json:"selfSigned"`
	MaxPathLen *int     `json:"maxPathLen"`
	From       []string `json:"from"`
}

func toJSON(c *bundle.Certificate, from []string) anchorJSON {
	start, end := c.Validity()
	j := anchorJSON{
		Subject: c.SubjectDN(), Issuer: c.IssuerDN(), SHA256: c.Fingerprint().String(), AnchorID: c.AnchorID().String(),
		NotBefore: start.UTC().Format(time.RFC3339), NotAfter: end.UTC().Format(time.RFC3339),
		Key: c.Key(), IsCA: c.IsCA(), SelfSigned: c.SelfSigned(), From: from,
	}
	if n := c.Serial(); n != nil {
		j.Serial = n.String()
	}
	if n, ok := c.MaxPathLen(); ok {
		j.MaxPathLen = &n
	}
	if j.From == nil {
		j.From = []string{}
	}
	return j
}

func bundleJSON(b *bundle.Bundle) []anchorJSON {
	out := make([]anchorJSON, 0, b.Len())
	for _, c := range b.Sorted() {
		out = append(out, toJSON(c, b.From(c.Fingerprint())))
	}
	return out
}

func orEmpty(f []bundle.Finding) []bundle.Finding {
	if f == nil {
		return []bundle.Finding{}
	}
	return f
}

// row is one line of a table, with a colour for the whole of it.
type row struct {
	cells []string
	paint func(string) string
}

// table aligns columns, then colours whole lines: colour codes inside the
// cells would count as width.
func table(w io.Writer, header []string, rows []row) error {
	var buf bytes.Buffer
	tw := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	if header != nil {
		fmt.Fprintln(tw, strings.Join(header, "\t"))
	}
	for _, r := range rows {
		cells := make([]string, len(r.cells))
		for i, c := range r.cells {
			cells[i] = visible(c)
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(buf.String(), "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, " ")
		n := i
		if header != nil {
			n--
		}
		if n >= 0 && n < len(rows) && rows[n].paint != nil {
			line = rows[n].paint(line)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// style paints text for a terminal, and leaves it alone for a pipe.
type style bool

func (a *app) outStyle() style { return style(a.StdoutIsTerminal && a.Getenv("NO_COLOR") == "") }
func (a *app) errStyle() style { return style(a.StderrIsTerminal && a.Getenv("NO_COLOR") == "") }

func (s style) paint(code, text string) string {
	if !s {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) bad(t string) string  { return s.paint("31", t) }
func (s style) warn(t string) string { return s.paint("33", t) }
func (s style) good(t string) string { return s.paint("32", t) }
func (s style) dim(t string) string  { return s.paint("2", t) }

func (s style) level(l bundle.Level) func(string) string {
	switch l {
	case bundle.LevelError:
		return s.bad
	case bundle.LevelWarning:
		return s.warn
	}
	return s.dim
}

// writeFindings writes findings for people, one a line and its hint below.
func writeFindings(w io.Writer, s style, findings []bundle.Finding) {
	for _, f := range findings {
		subject := ""
		if f.Subject != "" {
			subject = f.Subject + ": "
		}
		fmt.Fprintf(w, "%s %s: %s\n", s.level(f.Level)(string(f.Level)), f.Code, visible(subject+f.Message))
		if f.Hint != "" {
			fmt.Fprintf(w, "  %s\n", s.dim("hint: "+visible(f.Hint)))
		}
	}
}
