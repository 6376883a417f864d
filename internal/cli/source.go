package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/windlass-mesh/windlass/bundle"
)

// sourceHelp is what every command that takes a SOURCE says of it.
const sourceHelp = `A SOURCE is a PEM file, "-" for standard input, or a Kubernetes manifest in YAML
or JSON (one object, many documents, or a List) holding linkerd-config of any
release, linkerd-identity-trust-roots, linkerd-config-overrides, an issuer or TLS
Secret, Istio's cacerts or istio-ca-root-cert, or pods and workloads with an
injected proxy. What it is is told by its content, never by its name.`

// readSource reads one SOURCE argument.
func (a *app) readSource(arg string) (*bundle.Source, error) {
	data, name, err := a.readData(arg)
	if err != nil {
		return nil, err
	}
	src, err := bundle.ReadSource(name, data)
	if err != nil {
		return nil, withHints(err, "the source has to be PEM or a Kubernetes manifest in YAML or JSON")
	}
	return src, nil
}

func (a *app) readSources(names []string) ([]*bundle.Source, error) {
	var out []*bundle.Source
	for _, name := range names {
		s, err := a.readSource(name)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// readData reads a file or standard input, never more than a source may hold.
func (a *app) readData(arg string) (data []byte, name string, err error) {
	if ctx, ok := strings.CutPrefix(arg, "context:"); ok {
		if ctx == "" {
			return nil, "", usagef("context: names no context")
		}
		return nil, "", withHints(fmt.Errorf("read %s: live clusters are not read by this version", arg),
			fmt.Sprintf("kubectl --context %s get cm,secret,pod -A -o yaml | windlass ... -", ctx))
	}
	name = arg
	if arg == "-" {
		name = "standard input"
	}
	// A pipe or a terminal may keep us waiting for ever.
	data, err = interruptible(a.ctx, func() ([]byte, error) {
		if arg == "-" {
			return readBounded(name, a.Stdin)
		}
		return readFile(name)
	})
	return data, name, err
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError("read", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fileError("read", name, err)
	case info.Size() > bundle.MaxSourceSize && info.Mode().IsRegular():
		return nil, tooLarge(name)
	}
	return readBounded(name, f)
}

func readBounded(name string, in io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, bundle.MaxSourceSize+1))
	switch {
	case err != nil:
		return nil, fileError("read", name, err)
	case len(data) > bundle.MaxSourceSize:
		return nil, tooLarge(name)
	}
	return data, nil
}

// interruptible runs f and gives up on it when the context ends.
func interruptible(ctx context.Context, f func() ([]byte, error)) ([]byte, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := f()
		done <- result{data, err}
	}()
	select {
	case r := <-done:
		return r.data, r.err
	case <-ctx.Done():
		return nil, errors.New("interrupted; nothing was written")
	}
}

func tooLarge(name string) error {
	return withHints(fmt.Errorf("read %s: %w", name, bundle.ErrSourceTooLarge),
		"select what holds the anchors: `kubectl -n linkerd get cm,secret -o yaml`")
}

// anchorsOf reads the union of the anchors of several sources, strictly.
func (a *app) anchorsOf(sources []*bundle.Source) (*bundle.Bundle, []bundle.Finding, error) {
	var all []*bundle.Bundle
	var findings []bundle.Finding
	for _, s := range sources {
		b, err := s.Anchors()
		if err != nil {
			return nil, nil, explainAnchors(s, err)
		}
		all = append(all, b)
		findings = append(findings, s.Notes...)
		findings = append(findings, s.Disagreements()...)
	}
	return bundle.Merge(all...), findings, nil
}

// explainAnchors adds what can be done about a source whose anchors cannot be
// read.
func explainAnchors(s *bundle.Source, err error) error {
	if errors.Is(err, bundle.ErrNoCertificate) && s.Manifest {
		switch {
		case len(s.AnchorTexts()) > 0: // one of the places that hold anchors holds none
			return withHints(err, "that value is empty or a placeholder: correct it, or leave its object out; `windlass bundle lint` lists every such place")
		case len(s.ChainTexts()) > 0:
			return withHints(err, "it holds an issuer, which is no anchor: `windlass bundle verify --issuer` judges it")
		}
	}
	return explainSource(err)
}

// explainSource adds what can be done about a source that cannot be read.
func explainSource(err error) error {
	if errors.Is(err, bundle.ErrNoCertificate) {
		return withHints(err, "name a PEM file with certificates, or what `kubectl -n linkerd get cm,secret -o yaml` prints")
	}
	var bad *bundle.SourceError
	if !errors.As(err, &bad) {
		return withHints(err, "`windlass bundle lint` says what each reader makes of it")
	}
	if len(bad.Issues) == 1 && bad.Issues[0].Code == bundle.CodePrivateKeyPresent {
		return withHints(err, "name the file of the certificate; a key that stands in a bundle has to be taken out, and counts as leaked")
	}
	const most = 5
	hints := bad.Lines()[1:]
	if n := len(hints); n > most {
		hints = append(slices.Clone(hints[:most]), fmt.Sprintf("and %d more places", n-most))
	}
	for i := range hints {
		hints[i] = "also " + hints[i]
	}
	return withHints(err, append(hints, "`windlass bundle lint` lists everything; `windlass bundle show --read-as proxy` shows what a proxy makes of it")...)
}

// readOne reads the one certificate that a flag names: a PEM file, or any
// other SOURCE that holds exactly one.
func (a *app) readOne(flag, name string) (*x509.Certificate, error) {
	s, err := a.readSource(name)
	if err != nil {
		return nil, err
	}
	b, err := s.Anchors()
	if err != nil {
		return nil, explainAnchors(s, err)
	}
	if b.Len() != 1 {
		return nil, withHints(fmt.Errorf("read %s: --%s wants one certificate and it holds %d", name, flag, b.Len()),
			"`windlass bundle show` lists them; put the one that is meant into a file of its own")
	}
	cert, err := b.Certificates()[0].X509()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return cert, nil
}

// readIssuer reads an issuer and what stands above it out of a SOURCE, as
// linkerd-identity would.
func (a *app) readIssuer(name string) ([]*bundle.Certificate, error) {
	s, err := a.readSource(name)
	if err != nil {
		return nil, err
	}
	text, err := s.ChainText()
	if err != nil {
		return nil, explainSource(err)
	}
	certs, err := bundle.ReadIssuer(text.PEM)
	if err != nil {
		return nil, explainSource(fmt.Errorf("read %s: %w", text.From, err))
	}
	return certs, nil
}

// parsed is what package issuer takes. Certificates that were read as
// linkerd-identity reads them were all parsed by Go.
func parsed(certs []*bundle.Certificate) (out []*x509.Certificate, err error) {
	for _, c := range certs {
		p, err := c.X509()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
		out = append(out, p)
	}
	return out, nil
}
