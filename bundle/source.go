package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/windlass-mesh/windlass/internal/layout"
)

// MaxSourceSize is the largest source, in bytes, that ReadSource takes: more
// than the pods of a cluster of ten thousand need, and little enough that a
// wrong file does not exhaust the machine.
const MaxSourceSize = 64 << 20

var (
	// ErrNoCertificate means that a source holds no certificate of the kind
	// asked for. The error says what was looked for.
	ErrNoCertificate = errors.New("no certificate found")
	// ErrSourceTooLarge means that a source exceeds MaxSourceSize.
	ErrSourceTooLarge = fmt.Errorf("larger than %d MiB", MaxSourceSize>>20)
)

// Source is a PEM file or a Kubernetes manifest and the certificate texts that
// were found in it.
type Source struct {
	// Name is what errors and origins call the source, a file name say.
	Name string
	// Manifest is true for Kubernetes objects, false for a PEM file.
	Manifest bool
	// Notes are observations about the place, not about certificates.
	Notes []Finding

	anchors, chains []Text
	externalCA      bool // a control plane in it gets its trust roots from outside of the chart
}

// Text is one PEM text and where it stands.
type Text struct {
	PEM  []byte // as its consumer gets it; shared, not to be changed
	From string // source, object and field
	// Line of the source at which the text begins, from 1. Exact is true where
	// line n of the text is line Line+n-1 of the source.
	Line  int
	Exact bool
}

// at words a line of the text as a place in the source.
func (t Text) at(line int) string {
	if t.Exact {
		return fmt.Sprintf("line %d", t.Line+line-1)
	}
	return fmt.Sprintf("line %d (line %d of the value there)", t.Line, line)
}

// ReadSource reads a source, telling PEM from manifests by content. It fails
// where a manifest does not parse; whether it holds certificates is asked by
// Anchors and Chains.
func ReadSource(name string, data []byte) (*Source, error) {
	if len(data) > MaxSourceSize {
		return nil, fmt.Errorf("read %s: %w", name, ErrSourceTooLarge)
	}
	s := &Source{Name: name, Manifest: layout.IsManifest(data)}
	if !s.Manifest {
		text := Text{PEM: data, From: name, Line: 1, Exact: true}
		s.anchors, s.chains = []Text{text}, []Text{text}
		return s, nil
	}
	m, err := layout.Read(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, hiddenError{err})
	}
	s.anchors, s.chains = s.texts(m.Anchors()), s.texts(m.Chains())
	for _, n := range m.Notes {
		s.externalCA = s.externalCA || n.Code == layout.NoteExternalCA
		level := LevelInfo
		switch n.Code {
		case layout.NotePrivateKey:
			continue // the text itself is judged
		case layout.NoteDuplicateEnv, layout.NoteUnresolved, layout.NoteProxyWithout, layout.NoteNotPEM,
			layout.NoteBothNesting, layout.NoteLegacyIgnored, layout.NoteDuplicateKey, layout.NoteWrongKind, layout.NoteEnvExpansion:
			level = LevelWarning
		}
		s.Notes = append(s.Notes, Finding{
			Level: level, Code: CodeSourceNote, Message: printable(n.Message),
			Subject: fmt.Sprintf("%s line %d: %s", name, n.Line, printable(strings.TrimSpace(n.Object.String()+" "+n.Field))),
		})
	}
	return s, nil
}

// texts takes over what was found. Identical texts share their memory, as they
// do in the manifest: a thousand pods may refer to one large ConfigMap.
func (s *Source) texts(found []layout.Text) []Text {
	texts := make([]Text, len(found))
	shared := make(map[string][]byte)
	for i, t := range found {
		text, ok := shared[t.PEM]
		if !ok {
			text = []byte(t.PEM)
			shared[t.PEM] = text
		}
		texts[i] = Text{PEM: text, From: s.Name + ": " + printable(t.From()), Line: t.Line, Exact: t.Exact}
	}
	return texts
}

// hiddenError is an error whose text cannot steer a terminal: it may name
// objects of a foreign manifest.
type hiddenError struct{ err error }

func (e hiddenError) Error() string { return printable(e.err.Error()) }
func (e hiddenError) Unwrap() error { return e.err }

// AnchorTexts returns the texts that anchors are taken from: what stores
// anchors for the proxies, each copy by itself.
func (s *Source) AnchorTexts() []Text { return slices.Clone(s.anchors) }

// ChainTexts returns the texts that chains are taken from: issuer Secrets, else
// other TLS Secrets.
func (s *Source) ChainTexts() []Text { return slices.Clone(s.chains) }

// Anchors returns the union of the anchors the source stores. Reading is
// strict, as Parse is; an error names the place and the line.
func (s *Source) Anchors() (*Bundle, error) {
	union := New()
	for _, c := range s.copies(union) {
		if bad := errorsOf(c.issues); len(bad) > 0 {
			return nil, &SourceError{Text: c.Text, ParseError: &ParseError{Issues: bad}}
		}
		if s.Manifest && c.held.Len() == 0 {
			return nil, fmt.Errorf("read %s: %s: %w in it", c.From, c.at(1), ErrNoCertificate)
		}
		for _, cert := range c.held.certs {
			union.note(cert, c.places)
		}
	}
	if union.Len() == 0 {
		return nil, s.nothing("trust anchors")
	}
	return union, nil
}

// SourceError is a ParseError and the text of the source it is about.
type SourceError struct {
	Text Text
	*ParseError
}

// Unwrap returns the ParseError.
func (e *SourceError) Unwrap() error { return e.ParseError }

// Error names the place, the line of the source, and what stands there.
func (e *SourceError) Error() string {
	first := e.Issues[0]
	s := fmt.Sprintf("read %s: %s: %s", e.Text.From, e.Text.at(first.Line), first.Message)
	if n := len(e.Issues); n > 1 {
		s += fmt.Sprintf(" (and %d more)", n-1)
	}
	return s
}

// Lines gives every issue with its line of the source.
func (e *SourceError) Lines() []string {
	var lines []string
	for _, i := range e.Issues {
		lines = append(lines, e.Text.at(i.Line)+": "+i.Message)
	}
	return lines
}

func (s *Source) nothing(what string) error {
	if !s.Manifest {
		return fmt.Errorf("read %s: %w: looked for CERTIFICATE blocks (PEM) or a Kubernetes manifest that holds %s", s.Name, ErrNoCertificate, what)
	}
	if s.externalCA {
		return fmt.Errorf("read %s: %w: this Linkerd gets its trust roots from outside of its chart (identity.externalCA): add ConfigMap linkerd-identity-trust-roots to the source", s.Name, ErrNoCertificate)
	}
	return fmt.Errorf("read %s: %w: looked for %s in %s", s.Name, ErrNoCertificate, what, strings.Join(layout.Wanted(), ", "))
}

// Chain returns the one chain the source holds, first certificate first, read
// leniently: a certificate that Go refuses is still in it. It fails where
// there is no chain, or where several differ.
func (s *Source) Chain() ([]*Certificate, error) {
	text, err := s.ChainText()
	if err != nil {
		return nil, err
	}
	chain, err := ReadChain(text.PEM)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", text.From, err)
	}
	return chain, nil
}

// ChainText returns the text of the one chain the source holds.
func (s *Source) ChainText() (Text, error) {
	if len(s.chains) == 0 {
		return Text{}, s.nothing("a certificate chain")
	}
	for _, t := range s.chains[1:] {
		if !bytes.Equal(bytes.TrimSpace(t.PEM), bytes.TrimSpace(s.chains[0].PEM)) {
			return Text{}, fmt.Errorf("read %s: it holds several chains that differ (%s; %s): give one of them alone", s.Name, s.chains[0].From, t.From)
		}
	}
	if chain, err := ReadChain(s.chains[0].PEM); err == nil && len(chain) == 0 {
		return Text{}, s.nothing("a certificate chain")
	}
	return s.chains[0], nil
}

// AnchorsAs returns the anchors in the order and the number in which the
// consumer that follows the rules gets them, read as it reads. For the proxy
// rules, certificates that a release's proxies pass over are still in it:
// Verify passes over them, by release, and says so.
//
// Of several texts (a whole manifest) the first is taken as it is, and the
// others add what is new in them. The error is the consumer's reason for
// taking nothing of a text.
func (s *Source) AnchorsAs(rules Rules) ([]*Certificate, error) {
	var all []*Certificate
	seen, read := New(), make(map[string]bool)
	for i, t := range s.anchors {
		if read[string(t.PEM)] {
			continue // most pods carry the same text
		}
		read[string(t.PEM)] = true
		certs, err := readAll(t.PEM, rules, seen)
		if err != nil {
			if s.Manifest {
				err = fmt.Errorf("%s: %w", t.From, err)
			}
			return nil, err
		}
		for _, c := range certs {
			if fresh := seen.put(c); fresh || i == 0 {
				all = append(all, c)
			}
		}
	}
	if len(all) == 0 {
		return nil, s.nothing("trust anchors")
	}
	return all, nil
}

func readAll(text []byte, rules Rules, known *Bundle) ([]*Certificate, error) {
	if rules == Identity {
		r := readAsIdentity(text, known)
		return r.Certificates, r.Err
	}
	sections, err := readSections(text, known)
	if err == nil && len(sections) == 0 {
		err = errNoTrustRoots
	}
	return certificatesOf(sections), err
}
